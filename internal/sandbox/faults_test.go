package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/sandbox"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/store/storetest"
)

// recorded is a sandbox that keeps its record.
func recorded(t *testing.T, opts sandbox.Options) *bundle {
	t.Helper()
	if opts.DatabaseURL == "" {
		opts.DatabaseURL = filled.Copy(t)
	}
	return newBundle(t, opts)
}

func (b *bundle) fault(system, rule string) {
	b.t.Helper()
	r := b.do(http.MethodPut, "/_sandbox/faults/"+system, rule)
	require.Equal(b.t, http.StatusOK, r.status, string(r.body))
}

func (b *bundle) calls(system string, since int64) []record.Entry {
	b.t.Helper()
	r := b.do(http.MethodGet, fmt.Sprintf("/_sandbox/calls/%s?since=%d", system, since), "")
	require.Equal(b.t, http.StatusOK, r.status, string(r.body))
	var list []record.Entry
	require.NoError(b.t, json.Unmarshal(r.body, &list))
	return list
}

const upsertOne = "msx_specifications(msx_productnumber='P',msx_attribute='A')"

func TestDropAfterCommitAppliesTheWriteAndCutsTheConnection(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	b.fault("dataverse", `{"drop_after_commit":true,"count":1,"method":"PATCH"}`)
	_, err := b.try(http.MethodPatch, dataversePath+upsertOne, `{"msx_value":"1"}`)
	require.Error(t, err, "the answer must not arrive")
	row := b.dataverse(http.MethodGet, upsertOne, "")
	require.Equal(t, http.StatusOK, row.status, "the effect is there, and the fault is used up")
	calls := b.calls("dataverse", 0)
	require.Len(t, calls, 2)
	require.Equal(t, []any{"PATCH", 204, "drop"}, []any{calls[0].Method, calls[0].Status, calls[0].Fault})
	require.Equal(t, record.Digest([]byte(`{"msx_value":"1"}`)), calls[0].BodySHA256)
	require.Equal(t, dataversePath+upsertOne, calls[0].Path)
	require.Equal(t, "patchbay", calls[0].User)
}

func TestStatusFaultsAnswerInsteadOfTheSystem(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	b.fault("dataverse", `{"status":429,"retry_after":9,"count":1,"path":"msx_"}`)
	require.Equal(t, http.StatusOK, b.dataverse(http.MethodGet, "WhoAmI", "").status, "the path does not match")
	throttled := b.dataverse(http.MethodPatch, upsertOne, `{"msx_value":"1"}`)
	require.Equal(t, http.StatusTooManyRequests, throttled.status)
	require.Equal(t, "9", throttled.header.Get("Retry-After"))
	require.Equal(t, "0x80072322", throttled.code(t))
	require.Equal(t, http.StatusNotFound, b.dataverse(http.MethodGet, upsertOne, "").status, "nothing was applied")

	b.fault("oracle", `{"status":500}`)
	broken := b.oracle(http.MethodGet, "itemsV2", "")
	require.Equal(t, http.StatusInternalServerError, broken.status)
	require.Empty(t, broken.body, "Oracle's 500 has no body")
	require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, "/_sandbox/faults/oracle", "").status)
	require.Equal(t, http.StatusOK, b.oracle(http.MethodGet, "itemsV2?limit=1", "").status)
	require.Equal(t, 500, b.calls("oracle", 0)[0].Status)
}

func TestRateHitsTheSameCallsAgainAfterAReset(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	run := func() (pattern []int) {
		b.fault("oracle", `{"status":503,"rate":0.3}`)
		for range 60 {
			pattern = append(pattern, b.oracle(http.MethodGet, "itemsV2?limit=1&fields=ItemNumber", "").status)
		}
		return pattern
	}
	first := run()
	hits := 0
	for _, status := range first {
		if status == http.StatusServiceUnavailable {
			hits++
		}
	}
	require.InDelta(t, 18, hits, 12)
	require.Equal(t, http.StatusNoContent, b.do(http.MethodPost, "/_sandbox/reset", "").status)
	require.Empty(t, b.calls("oracle", 0))
	require.Equal(t, first, run())
}

func TestSeveralRulesEachFailOneProductAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.fault("oracle", `[
		{"match":"ItemNumber='REFUSED'","status":400},
		{"match":"AWAY","status":503,"retry_after":4,"count":1},
		{"match":"AWAY","status":500},
		{"method":"DELETE","status":405}]`)
	read := func(number string) reply {
		return b.oracle(http.MethodGet, "itemsV2?fields=ItemNumber&q=ItemNumber%3D%27"+number+"%27", "")
	}
	require.Equal(t, http.StatusBadRequest, read("REFUSED").status, "the query is matched as a person reads it")
	first := read("AWAY")
	require.Equal(t, http.StatusServiceUnavailable, first.status)
	require.Equal(t, "4", first.header.Get("Retry-After"))
	require.Equal(t, http.StatusInternalServerError, read("AWAY").status, "a rule that is used up leaves the call to the next")
	require.Equal(t, http.StatusOK, read("AS54888").status, "the others are well")

	b.fault("dataverse", `{"match":"P-POISONED","status":500}`)
	write := func(number string) int {
		body := `{"Targets":[` + target("", "msx_productnumber='"+number+"',msx_attribute='A'", `,"msx_value":"1"`) + `]}`
		return b.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple", body).status
	}
	require.Equal(t, http.StatusInternalServerError, write("P-POISONED"), "a body is matched too")
	require.Equal(t, http.StatusNoContent, write("P-1"))

	var all struct {
		Oracle    []struct{ Matched, Struck int }
		Dataverse struct{ Matched, Struck int }
	}
	require.NoError(t, json.Unmarshal(b.do(http.MethodGet, "/_sandbox/faults", "").body, &all))
	require.Equal(t, []struct{ Matched, Struck int }{{1, 1}, {1, 1}, {1, 1}, {0, 0}}, all.Oracle)
	require.Equal(t, struct{ Matched, Struck int }{1, 1}, all.Dataverse, "one rule is one object")
	page := b.page("/_sandbox/")
	require.Equal(t, 5, strings.Count(page, `class="bad rule"`), "the page shows every rule")
	b.fault("oracle", `{"status":404}`)
	require.NotContains(t, string(b.do(http.MethodGet, "/_sandbox/faults/oracle", "").body), "AWAY", "what is put replaces all")
	require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, "/_sandbox/faults/oracle", "").status)
	require.Equal(t, http.StatusOK, read("AWAY").status)
}

func TestCallsAreCountedByOperationAlsoInTheLeanSandbox(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.oracle(http.MethodGet, "itemsV2?limit=1", "")
		b.oracle(http.MethodGet, "itemsV2/300100071987001", "")
		b.dataverse(http.MethodPatch, upsertOne, `{"msx_value":"1"}`)
		b.dataverse(http.MethodPatch, "msx_specifications(msx_productnumber='a%2Fb',msx_attribute='c')", `{"msx_value":"1"}`)
		b.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple", `{"Targets":[]}`)
		b.dataverse(http.MethodGet, "WhoAmI", "")
		counts := func() (all map[string]map[string]int) {
			require.NoError(t, json.Unmarshal(b.do(http.MethodGet, "/_sandbox/counts", "").body, &all))
			return all
		}
		require.Equal(t, map[string]map[string]int{
			"oracle":    {"GET itemsV2": 2},
			"sap":       {},
			"dataverse": {"PATCH msx_specifications": 2, "POST Microsoft.Dynamics.CRM.UpsertMultiple": 1, "GET WhoAmI": 1},
			"login":     {"POST token": 1},
			"ibm":       {}, "graph": {}, "maersk": {}, "dataverse-de": {}, "dataverse-fr": {}, "bureau": {}, "dataverse-ch": {},
			"model": {},
			"mail":  {},
		}, counts())
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPost, "/_sandbox/reset", "").status)
		require.Empty(t, counts()["oracle"])
	})
}

func TestBodyFaultsSpoilTheAnswerOnly(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	b.fault("oracle", `{"body":"malformed"}`)
	r := b.oracle(http.MethodGet, "itemsV2?limit=2", "")
	require.Equal(t, http.StatusOK, r.status)
	require.False(t, json.Valid(r.body))
	b.fault("oracle", `{"body":"truncated"}`)
	_, err := b.try(http.MethodGet, oraclePath+"itemsV2?limit=2", "")
	require.Error(t, err, "the body ends before its length")
	b.fault("oracle", `{"body":"login"}`)
	r = b.oracle(http.MethodGet, "itemsV2?limit=2", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, r.header.Get("Content-Type"), "text/html")
	b.fault("oracle", `{"body":"html","status":502}`)
	require.Equal(t, http.StatusBadGateway, b.oracle(http.MethodGet, "itemsV2?limit=2", "").status)
}

func TestControlsRefuseWhatTheyDoNotUnderstand(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for path, body := range map[string]string{
		"/_sandbox/faults/nope": `{"status":500}`, "/_sandbox/faults/oracle": `{"stats":500}`,
	} {
		require.GreaterOrEqual(t, b.do(http.MethodPut, path, body).status, 400, path)
	}
	for _, body := range []string{`{}`, `{"status":200}`, `{"status":500,"rate":2}`, `{"body":"nope"}`, `{"latency_ms":-1}`} {
		require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/faults/oracle", body).status, body)
	}
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/_sandbox/calls/oracle", "").status, "lean keeps no record")
	require.Equal(t, "AS54888", b.do(http.MethodGet, "/_sandbox/samples/product-specs", "").json(t)["product_id"])
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/_sandbox/samples/nope", "").status)
	require.Contains(t, string(b.do(http.MethodGet, "/_sandbox/", "").body), "<h2>Systems</h2>")
}

func TestRecordAndRowsSurviveARestart(t *testing.T) {
	t.Parallel()
	url := storetest.Empty(t)
	first := recorded(t, sandbox.Options{DatabaseURL: url})
	require.Equal(t, http.StatusNoContent, first.dataverse(http.MethodPatch, upsertOne, `{"msx_value":"1"}`).status)
	second := recorded(t, sandbox.Options{DatabaseURL: url})
	second.token = first.token
	require.Equal(t, "1", second.dataverse(http.MethodGet, upsertOne, "").json(t)["msx_value"], "an old token is still good")
	calls := second.calls("dataverse", 0)
	require.Len(t, calls, 2)
	require.EqualValues(t, 2, calls[1].N, "numbers go on")
	require.Contains(t, string(second.do(http.MethodGet, "/_sandbox/", "").body), "PATCH")
	_, err := sandbox.New(t.Context(), sandbox.Options{DatabaseURL: url, Seed: 7, Products: products})
	require.ErrorContains(t, err, "was seeded with")
}

// A reader that goes on from the last number it saw must not miss a call that
// was numbered earlier and committed later.
func TestReadersOfTheRecordMissNothingUnderLoad(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	const writers, each = 8, 25
	var group errgroup.Group
	done := make(chan struct{})
	for w := range writers {
		group.Go(func() error {
			for i := range each {
				path := fmt.Sprintf("%smsx_specifications(msx_productnumber='%d',msx_attribute='%d')", dataversePath, w, i%5)
				r, err := b.try(http.MethodPatch, path, `{"msx_value":"1"}`)
				if err != nil || r.status != http.StatusNoContent {
					return fmt.Errorf("status %d: %w", r.status, err)
				}
			}
			return nil
		})
	}
	go func() { defer close(done); _ = group.Wait() }() // looked at below
	var seen, last int64
	for finished := false; ; {
		list := b.calls("dataverse", last)
		for _, e := range list {
			require.Equal(t, last+1, e.N, "no gap that fills later")
			last = e.N
			seen++
		}
		if finished && len(list) == 0 {
			break
		}
		select {
		case <-done:
			finished = true
		default:
		}
	}
	require.EqualValues(t, writers*each, seen)
	require.NoError(t, group.Wait())
}

func TestConcurrentUpsertsOfOneKeyMakeOneRow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var group errgroup.Group
		for i := range 12 {
			group.Go(func() error {
				r, err := b.try(http.MethodPatch, dataversePath+upsertOne, fmt.Sprintf(`{"msx_value":"%d"}`, i))
				if err == nil && r.status != http.StatusNoContent {
					err = fmt.Errorf("status %d: %s", r.status, r.body)
				}
				return err
			})
		}
		require.NoError(t, group.Wait())
		require.Len(t, values(t, b.dataverse(http.MethodGet, filter("msx_specifications", "msx_productnumber eq 'P'"), "")), 1)
	})
}

func TestTokensEndSoonerAtSpeed(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true, Speed: 3599})
	require.Eventually(t, func() bool { return b.dataverse(http.MethodGet, "WhoAmI", "").status == http.StatusUnauthorized }, time.Minute, 20*time.Millisecond)
	b.token = b.signIn("patchbay")
	require.Equal(t, http.StatusOK, b.dataverse(http.MethodGet, "WhoAmI", "").status)
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 10})
	require.NoError(t, err)
	defer s.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return s.Run(ctx, listener) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + listener.Addr().String() + "/_sandbox/")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	stop()
	require.NoError(t, group.Wait())
}
