package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
	"patchbay/internal/inbox"
	"patchbay/internal/journal"
	"patchbay/internal/replica"
	"patchbay/internal/review"
	"patchbay/internal/run"
	"patchbay/internal/stage"
	"patchbay/internal/topic"
)

// serve answers for a region over HTTP until the test ends, and gives its address.
func (s *shared) serve(region string) string {
	s.t.Helper()
	db := s.dbs[region]
	plans := run.NewPlans(db)
	_, err := plans.Apply(s.t.Context(), []*flow.Plan{s.plan}, nil, "test")
	require.NoError(s.t, err)
	told := explainer{journal.New(db), inbox.New(db, plans, nil, inbox.Options{}), topic.New(db, plans), stage.New(db), review.New(db),
		borders{plans: plans, replica: s.sides[region].Replica, border: s.bords[region], region: region}}
	server := httpapi.NewServer(httpapi.Options{Explainer: told, Dev: true})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, ln) }()
	s.t.Cleanup(func() { stop(); <-ended })
	return "http://" + ln.Addr().String()
}

// told waits until what is told of a key has an entry, and gives it. Meanwhile something is
// done, again and again: what was on its way already may get through.
func (s *shared) told(at, key, what, reason string, meanwhile ...func()) (found flow.Entry) {
	s.t.Helper()
	var last string
	look := func() bool {
		for _, do := range meanwhile {
			do()
		}
		res, err := http.Get(at + "/v1/explain/" + url.PathEscape(key))
		require.NoError(s.t, err)
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		require.NoError(s.t, err)
		last = res.Status + " " + string(body)
		var story struct {
			Entries []flow.Entry `json:"entries"`
		}
		require.NoError(s.t, json.Unmarshal(body, &story), last)
		for _, e := range story.Entries {
			if e.What == what && e.Reason == reason {
				found = e
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(2 * time.Minute); !look(); {
		require.True(s.t, time.Now().Before(end), "%s %s of %s; last: %s", what, reason, key, last)
		select {
		case <-s.t.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return found
}

// Whatever keeps a record from being everywhere is told by its business key, with a reason
// and what to do, in the region where that is: of the record itself, and of its whole table.
func TestWhatKeepsASharedRecordIsToldByItsKey(t *testing.T) {
	t.Parallel()
	s := newShared(t, "de", "fr")
	s.plan.Sync.MaxRow = 100
	s.plan.Sync.Conflict = append(s.plan.Sync.Conflict, flow.ConflictRule{Table: "account", Column: "telephone1", Rule: flow.RuleHold})
	s.exec(`CREATE FUNCTION dataverse_fr.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := left(NEW.name, 12); RETURN NEW; END $$`)
	s.exec(`CREATE TRIGGER cut BEFORE INSERT OR UPDATE ON dataverse_fr.account FOR EACH ROW EXECUTE FUNCTION dataverse_fr.cut()`)
	s.fill("de", 3, 0)
	s.write("de", "BIG", "name", strings.Repeat("long ", 30))
	s.write("de", "CUT", "name", "A name that is long")
	s.write("de", "BOTH", "telephone1", "+49")
	s.write("fr", "BOTH", "telephone1", "+33")
	de, fr := s.serve("de"), s.serve("fr")
	require.Equal(t, "nothing is known here of a record with this key; this may be why", s.note(de, "T1"))
	s.work()

	check := func(e flow.Entry, code, why, do string) {
		t.Helper()
		if code != "" {
			require.Equal(t, code, e.Detail["code"])
		}
		require.Contains(t, e.Detail["why"], why)
		require.Contains(t, e.Detail["do"], do)
	}
	check(s.told(de, "BIG", "record", "oversize"), replica.CodeOversize, "more bytes than max_row", "raise max_row")
	check(s.told(fr, "CUT", "record", "truncated"), "connector.truncated", "name", "patchbay resume account-sync --table account")
	held := s.told(fr, "BOTH", "record", "held")
	require.Contains(t, held.Detail["do"], "patchbay conflicts account-sync")
	require.Contains(t, held.Detail["story"], "telephone1 was written in 2 ways")
	require.Equal(t, "account", s.told(fr, "T1", "record", "applied").Detail["table"])

	_, err := s.sides["de"].Replica.ObserveNow(t.Context(), s.sides["de"].Place, "account", []replica.Observed{{ID: "another", Key: []string{`"T2"`}, Values: make([][]byte, 2), At: time.Now()}})
	require.NoError(t, err)
	check(s.told(de, "T2", "record", "rejected"), replica.CodeKeyTwice, "same key", "change the key")

	require.NoError(t, s.sides["fr"].Replica.Pause(t.Context(), s.sides["fr"].Place, replica.Paused{Table: "account", By: "somebody", Why: "a reason"}))
	check(s.told(fr, "T3", "table", "on_hold"), "on_hold", "somebody: a reason", "patchbay resume account-sync --table account")
	n := 0
	under := s.told(de, "T3", "record", "in_flight", func() { n++; s.write("de", "T3", "telephone1", fmt.Sprint("+49 under way ", n)) })
	check(under, "", "region fr has not fetched it", "patchbay regions account-sync")
	require.Equal(t, "fr", under.Detail["to"])

	s.faults("de", `{"expire_tokens":true,"path":"/accounts","count":1}`)
	check(s.told(de, "T3", "table", "connector.cursor_expired"), "connector.cursor_expired", "", "read from the beginning")
	s.exec(`UPDATE dataverse_de.account SET name = 'Behind', modifiedon = now() - interval '1 day', versionnumber = nextval('dataverse_de.row_version') WHERE accountnumber = 'T1'`)
	s.write("de", "T2", "name", "Wakes the sandbox")
	check(s.told(de, "T1", "table", "sync.clock_behind"), "sync.clock_behind", "older than what they replaced", "set the clock")
}

// note is what is said beside the trouble of tables of a key that is not known.
func (s *shared) note(at, key string) string {
	s.t.Helper()
	require.NoError(s.t, s.sides["de"].Replica.Report(s.t.Context(), s.sides["de"].Place, replica.PartExport, "", map[string]*fault.Fault{
		"account": fault.New(fault.Conflict, "connector.cursor_expired", "the token is gone", nil)}))
	e := s.told(at, key, "table", "connector.cursor_expired")
	text, _ := e.Detail["note"].(string)
	return text
}
