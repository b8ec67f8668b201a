package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const letters = `{"letters":[
	{"run_id":"abc","flow":"specs","state":"dead","reason":"rejected","problem":{"code":"write.refused","detail":"the target refused 2 of 5 writes"},
	 "died_at":"2026-01-31T10:00:02Z","effects":{"done":3,"refused":2}},
	{"run_id":"def","flow":"specs","state":"dead","reason":"deadline","problem":{"code":"run.deadline","detail":"not in time"},"died_at":"2026-01-31T10:00:03Z"}],
	"next":""}`

func TestDeadLettersAreAList(t *testing.T) {
	t.Parallel()
	var asked string
	stdout, stderr, status := patchbay(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery
		fmt.Fprint(w, strings.Replace(letters, `"next":""`, `"next":"cursor"`, 1))
	}, "dead", "--flow", "specs", "--since", "2026-01-31", "--reason", "rejected", "--limit", "2")
	require.Equal(t, exitOK, status, stderr)
	require.Equal(t, "flow=specs&limit=2&reason=rejected&since=2026-01-31T00%3A00%3A00Z&state=dead", asked)
	require.Contains(t, stdout, "write.refused: the target refused 2 of 5 writes  3 done, 2 refused\n")
	require.Contains(t, stdout, "run.deadline: not in time")
	require.Equal(t, "There are more: --before cursor\n", stderr)
}

func TestALetterSaysWhatCanBeDone(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := patchbay(t.Context(), t, answering(map[string]string{"/v1/dead/abc": `{"run_id":"abc","flow":"specs","state":"dead",
		"reason":"rejected","problem":{"code":"write.refused","detail":"no"},"params":{"product_id":"AS1"},"plan_digest":"0123456789abcdef","changed":true,
		"died_at":"2026-01-31T10:00:02Z","times":2,"effects":{"done":3,"refused":2,"in_doubt":1},
		"account":{"run_id":"abc","flow":"specs","status":"failed","dead":true,"steps":[{"name":"writing","at":"2026-01-31T10:00:01Z","took_ms":842,
		"effects":[{"target":"crm.t 1","state":"confirmed"},{"target":"crm.t 2","state":"refused","reason":"too long","todo":"put it right"},
		{"target":"crm.t 3","state":"refused","reason":"too long","todo":"put it right"}]}]}}`}), "dead", "abc")
	require.Equal(t, exitOK, status, stderr)
	for _, want := range []string{"rejected, 2 times by now", "0123456789ab; the flow has changed since", "product_id=AS1", "run abc  specs  failed, a dead letter",
		"confirmed crm.t 1\n", "refused   crm.t 2: too long\n"} {
		require.Contains(t, stdout, want)
	}
	require.Equal(t, 1, strings.Count(stdout, "→ put it right"), "one word of advice for those that need the same")
	require.Contains(t, stderr, "patchbay redrive abc\n      as it was: 3 writes already there, not sent again; 1 in doubt, read back before anything is sent; 2 sent again\n")
}

// redriving serves the list above and answers decisions; bodies are what it was sent.
func redriving(bodies *[]string, answer func(n int, runs []string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			b, _ := io.ReadAll(r.Body)
			*bodies = append(*bodies, string(b))
			var in struct{ Runs []string }
			_ = json.Unmarshal(b, &in)
			fmt.Fprint(w, answer(len(*bodies), in.Runs))
		case r.URL.Path == "/v1/dead":
			fmt.Fprint(w, letters)
		case r.URL.Path == "/v1/dead/abc":
			fmt.Fprint(w, `{"run_id":"abc","flow":"specs"}`)
		default:
			fmt.Fprint(w, `{"flow":"specs","params":[{"name":"product_id","type":"string"},{"name":"depth","type":"int"}]}`)
		}
	}
}

func redriven(runs []string) string {
	var results []string
	for _, id := range runs {
		results = append(results, fmt.Sprintf(`{"run_id":%q,"outcome":"redriven","redrive":{"run_id":%q,"into":%q,"plan_digest":"0123456789abcdef","effects":{"done":3}}}`, id, id, id))
	}
	return `{"results":[` + strings.Join(results, ",") + `]}`
}

func TestManyAreRedrivenAtAPaceAndWhatIsCrowdedAgain(t *testing.T) {
	t.Parallel()
	var bodies []string
	stdout, stderr, status := patchbay(t.Context(), t, redriving(&bodies, func(n int, runs []string) string {
		if n == 2 {
			return `{"results":[{"run_id":"def","outcome":"refused","code":"queue.full","detail":"500 runs of specs wait already","retry":true}]}`
		}
		return redriven(runs)
	}), "redrive", "--flow", "specs", "--rate", "1")
	require.Equal(t, exitOK, status, stderr)
	require.Len(t, bodies, 3)
	require.JSONEq(t, `{"runs":["abc"],"current":false,"plan":false}`, bodies[0], "one a second")
	require.JSONEq(t, `{"runs":["def"],"current":false,"plan":false}`, bodies[2])
	require.Equal(t, "abc  redriven as it was, under the plan it has, 0123456789ab; 3 writes already there, not sent again\n", strings.SplitAfter(stdout, "\n")[0])
	require.Equal(t, "waiting: 500 runs of specs wait already\n", stderr)
}

func TestARedriveWithOtherParametersKeepsTheirTypes(t *testing.T) {
	t.Parallel()
	var bodies []string
	_, stderr, status := patchbay(t.Context(), t, redriving(&bodies, func(_ int, runs []string) string { return redriven(runs) }),
		"redrive", "--set", "product_id=AS1,AS2", "--set", "depth=7", "--unset", "gone", "--plan", "abc")
	require.Equal(t, exitOK, status, stderr)
	require.JSONEq(t, `{"runs":["abc"],"set":{"product_id":"AS1,AS2","depth":7,"gone":null},"current":false,"plan":true}`, bodies[0])
}

func TestARefusedDecisionIsStatus1(t *testing.T) {
	t.Parallel()
	var bodies []string
	refuse := func(int, []string) string {
		return `{"results":[{"run_id":"abc","outcome":"refused","code":"dead.redriven","detail":"run abc was redriven by ann"}]}`
	}
	for _, args := range [][]string{{"redrive", "abc"}, {"dead", "--dismiss", "by hand", "abc"}} {
		stdout, stderr, status := patchbay(t.Context(), t, redriving(&bodies, refuse), args...)
		require.Equal(t, exitFailed, status)
		require.Equal(t, "abc  refused: dead.redriven: run abc was redriven by ann\n", stdout)
		require.Equal(t, "patchbay: 1 of 1 letter refused\n", stderr)
	}
	require.JSONEq(t, `{"runs":["abc"],"reason":"by hand"}`, bodies[1])
	stdout, _, status := patchbay(t.Context(), t, redriving(&bodies, refuse), "redrive", "--json", "abc")
	require.Equal(t, exitFailed, status)
	require.True(t, json.Valid([]byte(stdout)))
}

func TestMistakesAboutDeadLettersSayWhatToGive(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"dead --limit 0":                   "--limit 0: give a whole number from 1 to 200",
		"dead --state alive":               "--state alive: give one of dead, redriven, dismissed",
		"dead --since soon":                "--since soon: give a time such as 2026-01-31T10:00:00Z, or how long ago, such as 15m, 24h, 7d",
		"dead a b":                         "name one letter to look at, not 2",
		"dead --dismiss why":               "name the letters to put aside: patchbay dead --dismiss REASON RUN…",
		"dead --dismiss= a":                "--dismiss needs a reason",
		"redrive":                          "name the runs, or choose them: patchbay redrive RUN…",
		"redrive --flow f a":               "name runs or choose them by --flow, --reason, --since and --until, not both",
		"redrive --rate 0 a":               "--rate 0: give a whole number from 1 to 1000",
		"redrive --all --set a=b":          "--set and --unset need runs of one flow: give --flow, or name the runs",
		"redrive --until yesterday --all":  "--until yesterday: give a time",
		"redrive --server nowhere --all":   `--server "nowhere" is not a URL such as`,
		"redrive --sett a=b --flow x":      "there is no flag --sett; see patchbay redrive --help",
		"explain a b":                      "name one key, for example: patchbay explain AS54888",
		"dead --server http://[::1 --json": `--server "http://[::1" is not a URL`,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var out, note bytes.Buffer
			status := execute(t.Context(), append([]string{"patchbay"}, strings.Fields(line)...), &out, &note)
			require.Equal(t, exitUsage, status, note.String())
			require.Empty(t, out.String())
			require.Equal(t, 1, strings.Count(note.String(), "\n"), note.String())
			require.True(t, strings.HasPrefix(note.String(), "patchbay: "+want), note.String())
		})
	}
}
