package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// count is a number from the environment: a full count takes longer than CI has.
func count(t *testing.T, name string, least int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return least
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

type capsuleAnswer struct {
	Decision string
	Verified bool
	Equal    bool
	Computed int
	Problem  struct{ Code, Detail string }
}

// CAPSULES=10000 TAMPERED=1000 are the full counts.
func TestStoredCapsulesComputeTheSameAndTamperedOnesAreFound(t *testing.T) {
	t.Parallel()
	b := lending(t)
	n, tampered := count(t, "CAPSULES", 4), count(t, "TAMPERED", 24)
	var runs []string
	for i := range n {
		nr := fmt.Sprint("c-", i)
		b.applies(nr, fmt.Sprintf("income = %d", 2000+i), fmt.Sprintf("account: card_use = %d", i%110), fmt.Sprintf("report: arrears = %d", i%3), "amount = 9000")
		runs = append(runs, b.press(nr))
	}
	dir := t.TempDir()
	public := filepath.Join(dir, "key.pub")
	resp, err := http.Get(b.HTTP + "/v1/capsule-key")
	require.NoError(t, err)
	var key bytes.Buffer
	_, err = key.ReadFrom(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, os.WriteFile(public, key.Bytes(), 0o600))
	ask := func(args ...string) (a capsuleAnswer, status int) {
		t.Helper()
		out, errs, status := b.cli(append([]string{"capsule"}, append(args, "--json")...)...)
		require.NoError(t, json.Unmarshal([]byte(out), &a), errs)
		return a, status
	}
	var file string
	var text []byte
	for i, run := range runs {
		ended := b.ended(run)
		file = filepath.Join(dir, fmt.Sprint(i))
		_, errs, status := b.cli("capsule", "export", run, "-o", file, "--server", b.HTTP)
		require.Zero(t, status, errs)
		text, err = os.ReadFile(file)
		require.NoError(t, err)
		a, status := ask("rerun", file, "--key", public)
		require.Zero(t, status, "%+v", a)
		require.True(t, a.Verified && a.Equal, "%+v", a)
		require.Equal(t, string(ended.Result.Decision), a.Decision)
	}
	a, status := ask("verify", file, "--key", public)
	require.Zero(t, status)
	require.True(t, a.Verified)

	random := rand.New(rand.NewPCG(3, 4))
	changed := filepath.Join(dir, "changed")
	for range tampered {
		touched := bytes.Clone(text)
		touched[random.IntN(len(touched))] ^= 1 << random.IntN(7)
		require.NoError(t, os.WriteFile(changed, touched, 0o600))
		a, status := ask("verify", changed, "--key", public)
		require.Equal(t, 2, status)
		require.Regexp(t, `^capsule\.(format|key|signature)$`, a.Problem.Code)
	}

	// Without its key a capsule is still computed again, and what differs has a name.
	for want, touch := range map[string]func(capsule map[string]any){
		"capsule.differs": func(c map[string]any) {
			for _, one := range c["computed"].([]any) {
				if done := one.(map[string]any); done["name"] == "risk.score" {
					done["output"].(map[string]any)["score"].(map[string]any)["points"] = 999
				}
			}
		},
		"capsule.decision": func(c map[string]any) { c["decision"].(map[string]any)["outcome"] = "expire" },
		"capsule.rules":    func(c map[string]any) { c["rules"].(map[string]any)["flow"] = "another" },
	} {
		var whole map[string]any
		numbers := json.NewDecoder(bytes.NewReader(text))
		numbers.UseNumber()
		require.NoError(t, numbers.Decode(&whole))
		touch(whole["capsule"].(map[string]any))
		var touched bytes.Buffer
		e := json.NewEncoder(&touched)
		e.SetEscapeHTML(false)
		require.NoError(t, e.Encode(whole))
		require.NoError(t, os.WriteFile(changed, bytes.TrimSpace(touched.Bytes()), 0o600))
		a, status := ask("rerun", changed)
		require.Equal(t, 2, status)
		require.Equal(t, want, a.Problem.Code, a.Problem.Detail)
		if want == "capsule.differs" {
			require.Contains(t, a.Problem.Detail, "output.score.points")
		}
	}
	for _, no := range []string{"none", public} {
		_, errs, status := b.cli("capsule", "verify", no, "--key", public)
		require.Equal(t, 2, status, errs)
	}
}
