package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/egress"
	"patchbay/internal/flow"
	"patchbay/internal/mirror"
	"patchbay/internal/replica"
	"patchbay/internal/store/storetest"
)

// shore is the border and the memory of one region of a company.
type shore struct {
	owner   string
	roles   []egress.PeerRole
	peer    *egress.Peer // the other region's border
	side    mirror.Side
	halt    func()
	replica *replica.Replica
}

// shores share accounts between the organisations of de and fr.
func shores(c *company, sync *flow.Sync) map[string]*shore {
	c.t.Helper()
	all := map[string]*shore{}
	other := map[string]string{"de": "fr", "fr": "de"}
	for name := range other {
		d := storetest.NewDatabase(c.t)
		s := &shore{owner: d.Owner, roles: []egress.PeerRole{{Region: other[name], Role: egress.RoleOf(c.t.Name(), d.Owner, other[name]), Password: "secret"}}, halt: func() {}}
		db := storetest.Open(c.t, d.App)
		s.replica = replica.New(db, egress.New(db))
		s.side = mirror.Side{System: c.regions[name], Replica: s.replica, Poll: 50 * time.Millisecond, Place: replica.Place{Flow: "account-sync", Region: name}}
		all[name] = s
		c.t.Cleanup(func() { s.halt() })
	}
	for name, s := range all {
		c.apply(s, sync)
		s.halt()
		u, err := url.Parse(s.owner)
		require.NoError(c.t, err)
		u.User = url.UserPassword(s.roles[0].Role, "secret")
		peer, err := egress.Dial(c.t.Context(), u.String())
		require.NoError(c.t, err)
		c.t.Cleanup(peer.Close)
		all[other[name]].peer = peer
	}
	for _, s := range all {
		c.apply(s, sync)
	}
	return all
}

// apply puts a plan in force in a region, and goes on with it.
func (c *company) apply(s *shore, sync *flow.Sync) {
	c.t.Helper()
	s.halt()
	plan := &flow.Plan{Flow: "account-sync", Pattern: flow.Synchronization, Sync: sync}
	require.NoError(c.t, egress.Prepare(c.t.Context(), s.owner, s.side.Place.Region, plan, s.roles))
	s.side.Place.Sync = sync
	ctx, stop := context.WithCancel(c.t.Context())
	done := make(chan struct{}, 2)
	side, end := s.side, time.Now().Add(time.Hour)
	go func() { side.Export(ctx, end); done <- struct{}{} }()
	go func() {
		if s.peer != nil {
			side.Import(ctx, s.roles[0].Region, s.peer, end)
		}
		done <- struct{}{}
	}()
	s.halt = func() { stop(); <-done; <-done; s.halt = func() {} }
}

func accounts(columns ...flow.SyncColumn) *flow.Sync {
	return &flow.Sync{Regions: []flow.Region{{Name: "de", Connection: "dataverse-de"}, {Name: "fr", Connection: "dataverse-fr"}},
		Tables:   []flow.SyncTable{{Name: "account", Key: byAccount, Columns: columns}},
		Conflict: []flow.ConflictRule{{Rule: flow.RuleLatest}}, Skew: time.Minute, MaxRow: 64 << 10}
}

// An organisation that is asked for one more column is asked anew: what is there crosses
// where a backfill is declared, and does not where it is not.
func TestABackfillOfAnOrganisation(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	name := flow.SyncColumn{Name: "name", Type: flow.String}
	all := shores(c, accounts(name))
	equal := func(column string) func() bool {
		return func() bool {
			return c.number(`SELECT count(*) FROM dataverse_de.account d FULL JOIN dataverse_fr.account f USING (accountnumber) WHERE d.`+column+` IS DISTINCT FROM f.`+column) == 0
		}
	}
	require.Eventually(t, equal("name"), 60*time.Second, 100*time.Millisecond)
	phones := c.number(`SELECT count(*) FROM dataverse_de.account WHERE telephone1 IS NOT NULL`) + c.number(`SELECT count(*) FROM dataverse_fr.account WHERE telephone1 IS NOT NULL`)
	require.Positive(t, phones)
	mails := c.number(`SELECT count(*) FROM dataverse_fr.account WHERE emailaddress1 IS NOT NULL`)

	edit := accounts(name, flow.SyncColumn{Name: "telephone1", Type: flow.String, Backfill: true}, flow.SyncColumn{Name: "emailaddress1", Type: flow.String})
	for _, s := range all {
		c.apply(s, edit)
	}
	require.Eventually(t, equal("telephone1"), 60*time.Second, 100*time.Millisecond)
	require.Equal(t, phones, c.number(`SELECT count(*) FROM dataverse_fr.account WHERE telephone1 IS NOT NULL`))
	require.Equal(t, mails, c.number(`SELECT count(*) FROM dataverse_fr.account WHERE emailaddress1 IS NOT NULL`), "what is there of a column without a backfill stays")
	de := c.regions["de"]
	keys := numbers("accountnumber", "DE-1001")
	row := keys[0]
	row["emailaddress1"] = "new@example.com"
	_, err := de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: []connector.Row{row}}, versions(t, de, "account", byAccount, keys))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return c.number(`SELECT count(*) FROM dataverse_fr.account WHERE accountnumber = 'DE-1001' AND emailaddress1 = 'new@example.com'`) == 1
	}, 30*time.Second, 100*time.Millisecond, "and what changes of it crosses")

	// What is not allowed any more is not even asked for.
	for _, s := range all {
		c.apply(s, accounts(name))
	}
	before := len(c.asked("de"))
	row["name"] = "Renamed"
	_, err = de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: []connector.Row{row}}, versions(t, de, "account", byAccount, keys))
	require.NoError(t, err)
	require.Eventually(t, equal("name"), 30*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool { return len(c.asked("de")) > before+20 }, 30*time.Second, 100*time.Millisecond)
	for _, query := range c.asked("de")[before+20:] {
		require.NotContains(t, query, "telephone1")
	}
}

// asked are the queries of an organisation's readers.
func (c *company) asked(region string) (queries []string) {
	c.t.Helper()
	res, err := http.Get(c.url + "/_sandbox/calls/dataverse-" + region + "?limit=10000")
	require.NoError(c.t, err)
	defer res.Body.Close()
	var calls []struct{ Method, Query string }
	require.NoError(c.t, json.NewDecoder(res.Body).Decode(&calls))
	for _, call := range calls {
		if call.Method == http.MethodGet {
			queries = append(queries, call.Query)
		}
	}
	return queries
}

func TestAPlanSaysWhatAnEditDoesToWhatCrosses(t *testing.T) {
	t.Parallel()
	plan := func(s *flow.Sync) *flow.Plan { return &flow.Plan{Flow: "account-sync", Sync: s} }
	name, phone := flow.SyncColumn{Name: "name"}, flow.SyncColumn{Name: "phone", Backfill: true}
	require.Empty(t, syncEdits(plan(accounts(name)), plan(accounts(name))))
	require.Equal(t, []string{"account.phone is newly allowed, and what is there crosses too (backfill), beside what changes"}, syncEdits(plan(accounts(name)), plan(accounts(name, phone))))
	require.Contains(t, syncEdits(plan(accounts(name, phone)), plan(accounts(name)))[0], "account.phone is not allowed any more: nothing of it is read or crosses")
	phone.Backfill = false
	require.Contains(t, syncEdits(plan(accounts(name)), plan(accounts(name, phone)))[0], "and not what is there")
	other := accounts(name)
	other.Tables[0].Name = "contact"
	require.Len(t, syncEdits(plan(accounts(name)), plan(other)), 2)
	other = accounts(name)
	other.Regions = other.Regions[:1]
	require.Contains(t, syncEdits(plan(accounts(name)), plan(other))[0], "region fr has no part any more")
}
