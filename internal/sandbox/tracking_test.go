package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
)

func lean(speed float64) sandbox.Options { return sandbox.Options{Lean: true, Speed: speed} }

// follow reads change tracking from a link to its delta link.
func (b *bundle) follow(t *testing.T, link string, size int) (rows []map[string]any, deleted []string, delta string) {
	t.Helper()
	for link != "" {
		got := b.do(http.MethodGet, link, "", "Prefer", fmt.Sprintf("odata.track-changes,odata.maxpagesize=%d", size))
		require.Equal(t, http.StatusOK, got.status, string(got.body))
		body := got.json(t)
		for _, one := range body["value"].([]any) {
			row := one.(map[string]any)
			if row["reason"] == "deleted" {
				deleted = append(deleted, fmt.Sprint(row["id"]))
				continue
			}
			require.Empty(t, deleted, "what was deleted stands at the end")
			rows = append(rows, row)
		}
		link, _ = body["@odata.nextLink"].(string)
		if delta, _ = body["@odata.deltaLink"].(string); delta != "" {
			require.Empty(t, link)
		}
	}
	require.NotEmpty(t, delta)
	return rows, deleted, delta
}

func TestChangeTrackingTellsEverythingThenWhatChanged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		rows, deleted, delta := b.follow(t, dataversePath+"incidents?$select=title", 70)
		require.Len(t, rows, 300)
		require.Empty(t, deleted)
		require.Contains(t, delta, "$deltatoken=")

		id := fmt.Sprint(rows[7]["incidentid"])
		gone := fmt.Sprint(rows[9]["incidentid"])
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+id+")", `{"title":"one"}`).status)
		require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, dataversePath+"incidents("+gone+")", "").status)
		count := b.do(http.MethodGet, strings.Replace(delta, "incidents?", "incidents/$count?", 1), "")
		require.Equal(t, "\ufeff2", string(count.body))
		rows, deleted, later := b.follow(t, delta, 70)
		require.Equal(t, []string{gone}, deleted)
		require.Len(t, rows, 1)
		require.Equal(t, "one", rows[0]["title"])
		again, _, _ := b.follow(t, delta, 70)
		require.Len(t, again, 1, "a token may be used again")

		// An upsert under the id of a deleted row is a row again.
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+gone+")", `{"title":"back","customerid_account@odata.bind":"/accounts(00a00000-5eed-4000-8000-000000000001)"}`).status)
		rows, deleted, _ = b.follow(t, later, 70)
		require.Empty(t, deleted)
		require.Len(t, rows, 1)
	})
}

func TestATokenThatIsTooOldSaysThatAFullReadIsDue(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	_, _, delta := b.follow(t, dataversePath+"tasks?$select=subject", 500)
	expired := func(link string) {
		t.Helper()
		got := b.do(http.MethodGet, link, "")
		require.Equal(t, http.StatusBadRequest, got.status)
		require.Equal(t, "0x80044352", got.code(t))
	}
	expired(strings.Replace(delta, "%2F20", "%2F19", 1))
	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/dataverse", `{"expire_tokens":true,"count":1}`).status)
	expired(delta)
	b.follow(t, delta, 500)
	require.Equal(t, http.StatusNoContent, b.do(http.MethodPost, "/_sandbox/reset", "").status)
	expired(delta)
	for _, option := range []string{"$filter=subject eq 'x'", "$orderby=subject", "$top=3", "$expand=ownerid($select=fullname)"} {
		got := b.do(http.MethodGet, dataversePath+"tasks?$select=subject&"+option, "", "Prefer", "odata.track-changes")
		require.Equal(t, http.StatusBadRequest, got.status, option)
		require.Contains(t, string(got.body), "isn't supported when Change Tracking is enabled")
	}
	require.Equal(t, http.StatusBadRequest, b.do(http.MethodGet, dataversePath+"serviceendpoints?$select=name", "", "Prefer", "odata.track-changes").status)
}

// Numbers are drawn in one order and committed in another: whoever reads on must not pass over a change that was under way.
func TestChangeTrackingMissesNothingThatIsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ids := []string{}
		rows, _, delta := b.follow(t, dataversePath+"contacts?$select=jobtitle", 5000)
		for _, row := range rows[:8] {
			ids = append(ids, fmt.Sprint(row["contactid"]))
		}
		ctx, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for _, id := range ids {
			writers.Go(func() {
				for n := range 25 {
					if r, err := b.try(http.MethodPatch, dataversePath+"contacts("+id+")", fmt.Sprintf(`{"jobtitle":"%02d"}`, n)); err != nil || r.status != http.StatusNoContent {
						t.Errorf("writing: %v %d", err, r.status)
						return
					}
				}
			})
		}
		go func() { writers.Wait(); stop() }()
		latest := map[string]string{}
		for done := false; !done; {
			done = ctx.Err() != nil // one reading more after the last write
			rows, _, delta = b.follow(t, delta, 3)
			for _, row := range rows {
				latest[fmt.Sprint(row["contactid"])] = fmt.Sprint(row["jobtitle"])
			}
		}
		for _, id := range ids {
			require.Equal(t, "24", latest[id])
		}
	})
}
