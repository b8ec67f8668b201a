package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// What was decided is decided once, also where it could not be written: redriving the run writes
// that decision, whatever the figures are by now.
func TestARedriveWritesTheDecisionThatWasMade(t *testing.T) {
	t.Parallel()
	b := lending(t)
	exec := func(sql string) {
		t.Helper()
		_, err := b.sql.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	exec(`alter table written add constraint closed check (outcome <> 'approve')`)
	b.applies("once")
	id := b.press("once")
	var run flow.Run
	b.await("failed", time.Minute, func() bool {
		b.do(http.MethodGet, b.HTTP+"/v1/runs/"+id, nil, "", &run)
		return run.Status == flow.Failed
	})
	require.Empty(t, b.written("once"))
	capsule := func() (file json.RawMessage) {
		t.Helper()
		require.Equal(t, http.StatusOK, b.do(http.MethodGet, b.HTTP+"/v1/runs/"+id+"/capsule", nil, "", &file).StatusCode)
		return file
	}
	sealed := capsule()

	exec(`alter table written drop constraint closed`)
	exec(`update report set arrears = 3, inquiries = 9`) // nobody would approve it now
	redrive := func(more string) (outcome, code, into string) {
		t.Helper()
		var told struct {
			Results []struct {
				Outcome, Code string
				Redrive       struct{ Into string }
			}
		}
		resp := b.do(http.MethodPost, b.HTTP+"/v1/dead/redrive", nil, `{"runs":["`+id+`"]`+more+`}`, &told)
		require.Less(t, resp.StatusCode, 300)
		require.Len(t, told.Results, 1)
		return told.Results[0].Outcome, told.Results[0].Code, told.Results[0].Redrive.Into
	}
	outcome, code, _ := redrive(`,"current":true`)
	require.Equal(t, []string{"refused", "dead.decided"}, []string{outcome, code})
	outcome, _, into := redrive("")
	require.Equal(t, []string{"redriven", id}, []string{outcome, into})
	require.Equal(t, flow.Approve, b.ended(id).Result.Decision)
	require.Equal(t, []string{"approve"}, b.written("once"))
	require.Equal(t, string(sealed), string(capsule()))
}
