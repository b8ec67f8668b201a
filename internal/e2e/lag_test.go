package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// sharing is `patchbay dev` with the two regions de and fr of the example, whose
// organisations hold the same by now.
type sharing struct {
	regional
	tokens map[string]string    // of the organisations, by region
	conns  map[string]*pgx.Conn // by address
}

// db is one connection as the owner of the server, for as long as all parts run.
func (s *sharing) db(address string) *pgx.Conn {
	s.t.Helper()
	if s.conns[address] == nil {
		conn, err := pgx.Connect(s.t.Context(), address)
		require.NoError(s.t, err)
		s.conns[address] = conn
	}
	return s.conns[address]
}

// judge is the stand-in's own database.
func (s *sharing) judge() *pgx.Conn { s.t.Helper(); return s.db(sibling(s.t, s.Database, "sandbox")) }

// One environment serves all of it, in this order: each leaves the regions equal.
func TestASynchronizationIsWokenHeldAndWatched(t *testing.T) { //nolint:tparallel // its parts change one environment in turn
	t.Parallel()
	s := &sharing{regional{start(t, dataDir(t), "--regions", "de,fr")}, map[string]string{}, map[string]*pgx.Conn{}}
	t.Cleanup(func() {
		for _, conn := range s.conns {
			_ = conn.Close(context.WithoutCancel(t.Context()))
		}
	})
	s.await("the regions to hold the same", 90*time.Second, func() bool {
		for _, region := range []string{"de", "fr"} {
			got := s.standing(region)
			for _, table := range got.Tables {
				if table.Records < 20 || table.Loading || table.Open[""] > 0 || table.Open[flow.SyncWaiting] > 0 {
					return false
				}
			}
		}
		return true
	})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *sharing)
	}{
		{"what is on hold for days neither goes nor comes and is not lost", heldForDays},
		{"a late region is an alert until it has caught up", lateRegion},
		{"a webhook wakes a synchronization and a lost one loses nothing", wokenByWebhooks},
	} {
		t.Run(test.name, func(t *testing.T) { s.t = t; test.run(t, s) })
	}
}

func (s *sharing) standing(region string) (got flow.SyncStanding) {
	s.t.Helper()
	s.do(http.MethodGet, s.Regions[region].HTTP+"/v1/flows/account-sync/regions", nil, "", &got)
	return got
}

// token is a person's at the organisation of a region.
func (s *sharing) token(region string) string {
	s.t.Helper()
	if s.tokens[region] == "" {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"service-desk-" + region}, "client_secret": {"sandbox-secret-" + region}, "scope": {s.Sandbox + "/dataverse-" + region + "/.default"}}
		answer, err := http.PostForm(s.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
		require.NoError(s.t, err)
		defer answer.Body.Close()
		var token struct {
			AccessToken string `json:"access_token"`
		}
		require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&token))
		s.tokens[region] = token.AccessToken
	}
	return s.tokens[region]
}

// rename is what a person of a region does to an account there.
func (s *sharing) rename(region, number, name string) {
	s.t.Helper()
	resp := s.do(http.MethodPatch, s.Sandbox+"/dataverse-"+region+"/api/data/v9.2/accounts(accountnumber='"+number+"')",
		http.Header{"Authorization": {"Bearer " + s.token(region)}}, fmt.Sprintf(`{"name":%q}`, name), nil)
	require.Less(s.t, resp.StatusCode, 300)
}

// named is the name of an account in the tables of the stand-in, which are the judge.
func (s *sharing) named(region, number string) (name string) {
	s.t.Helper()
	require.NoError(s.t, s.judge().QueryRow(s.t.Context(), `select name from dataverse_`+region+`.account where accountnumber = $1`, number).Scan(&name))
	return name
}

// sibling is another database of a server.
func sibling(t *testing.T, address, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Path = "/" + database
	return u.String()
}

func (s *sharing) page(region, path string) string {
	s.t.Helper()
	answer, err := http.Get(s.Regions[region].HTTP + path)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return string(b)
}

// One organisation refuses every write for a while: what is late there, and what stops it,
// is told in its region as long as it lasts, and nowhere else.
func lateRegion(t *testing.T, s *sharing) {
	s.fault("dataverse-fr", `{"status":503,"rate":1}`)
	s.rename("de", "DE-1001", "Late")
	codes := func(region string) map[string]string {
		all := map[string]string{}
		for _, a := range s.standing(region).Alerts {
			if !strings.HasSuffix(a.Code, "ch") { // which does not run: what waits for it is late, and that is told, too
				all[a.Code] = a.Text
			}
		}
		return all
	}
	require.Empty(t, codes("fr"))
	begun := time.Now()
	s.await("told that fr is late and stopped", 120*time.Second, func() bool {
		found := codes("fr")
		_, late := found["sync.lag:de>fr"]
		return late && len(found) > 1
	})
	t.Logf("told after %s, of %v", time.Since(begun).Round(100*time.Millisecond), codes("fr"))
	require.Regexp(t, `^account is [0-9ms]+ behind on its way from de to fr, where 30s are promised`, codes("fr")["sync.lag:de>fr"])
	require.Empty(t, codes("de"), "de has given it away")
	require.Contains(t, s.page("fr", "/"), "behind on its way from de to fr")
	require.Regexp(t, `patchbay_sync_lag_seconds\{flow="account-sync",from="de",table="account",to="fr"\} [3-9]\d`, s.page("fr", "/metrics"))
	stdout, stderr, status := s.cli("regions", "--server", s.Regions["fr"].HTTP, "account-sync")
	require.Zero(t, status, stderr)
	require.Regexp(t, `(?m)^alert since \d+s ago: account is .* behind on its way from de to fr`, stdout)
	require.Regexp(t, `(?m)^de +fr +account +1 +[0-9ms]+ .*late`, stdout)
	require.NotContains(t, stdout, "Late", "no alert shows a value")

	s.heal("dataverse-fr")
	begun = time.Now()
	defer func() { t.Logf("over after %s but for %v", time.Since(begun).Round(100*time.Millisecond), codes("fr")) }()
	s.await("over", 150*time.Second, func() bool { return len(codes("fr")) == 0 })
	require.Equal(t, "Late", s.named("fr", "DE-1001"))
	var open, over int
	require.NoError(t, s.db(s.Regions["fr"].Database).QueryRow(t.Context(),
		`select count(*) filter (where resolved_at is null), count(*) filter (where code = 'sync.lag:de>fr' and resolved_at is not null) from alert where kind = 'regions' and code not like '%ch'`).Scan(&open, &over))
	require.Zero(t, open)
	require.Equal(t, 1, over, "it was one alert while it lasted")
}

// polls counts how often an organisation was asked for the accounts that changed.
func (s *sharing) polls(region string) (n int) {
	s.t.Helper()
	for _, c := range s.calls("dataverse-"+region, http.MethodGet, "/accounts") {
		if strings.HasSuffix(c.Path, "/accounts") && strings.Contains(c.Query, "deltatoken") {
			n++
		}
	}
	return n
}

// arrives tells how long it takes until an edit of de is in the tables of fr.
func (s *sharing) arrives(number, name string, within time.Duration) time.Duration {
	s.t.Helper()
	begun := time.Now()
	s.rename("de", number, name)
	s.await(name+" in fr", within, func() bool { return s.named("fr", number) == name })
	return time.Since(begun)
}

// A webhook wakes the export, which else asks every 15 seconds; where webhooks are lost
// the asking finds what they would have told, and goes on more often.
func wokenByWebhooks(t *testing.T, s *sharing) {
	s.await("few polls of an idle table", 90*time.Second, func() bool {
		before := s.polls("de")
		idle := time.Now()
		s.await("ten seconds", 30*time.Second, func() bool { return time.Since(idle) > 10*time.Second })
		return s.polls("de")-before <= 1
	})
	var took []time.Duration
	for i := range 3 {
		took = append(took, s.arrives("DE-1002", fmt.Sprintf("Woken %d", i), 14*time.Second).Round(10*time.Millisecond))
	}
	t.Logf("with webhooks an edit arrives after %v", took)
	require.Less(t, min(took[0], took[1], took[2]), 5*time.Second, "well under the 15 seconds of a poll")

	// The organisation tells nobody any more.
	var steps struct {
		Value []struct {
			ID string `json:"sdkmessageprocessingstepid"`
		} `json:"value"`
	}
	bearer := http.Header{"Authorization": {"Bearer " + s.token("de")}}
	at := s.Sandbox + "/dataverse-de/api/data/v9.2/sdkmessageprocessingsteps"
	s.do(http.MethodGet, at+"?$select=sdkmessageprocessingstepid", bearer, "", &steps)
	require.Len(t, steps.Value, 12, "four tables, three types of change")
	for _, step := range steps.Value {
		require.Less(t, s.do(http.MethodDelete, at+"("+step.ID+")", bearer, "", nil).StatusCode, 300)
	}
	first := s.arrives("DE-1003", "Untold", 40*time.Second)
	second := s.arrives("DE-1003", "Untold again", 40*time.Second)
	t.Logf("without webhooks the first edit arrives after %s, the next after %s", first.Round(10*time.Millisecond), second.Round(10*time.Millisecond))
	before := s.polls("de")
	idle := time.Now()
	s.await("five seconds", 30*time.Second, func() bool { return time.Since(idle) > 5*time.Second })
	require.GreaterOrEqual(t, s.polls("de")-before, 2, "what is not told of is asked for often")
}

// A table that is on hold for days goes neither out nor in, and all of it comes after; so
// does what is between two regions when one of them holds the other. The others go on.
func heldForDays(t *testing.T, s *sharing) {
	hold := func(what string, args ...string) {
		t.Helper()
		_, stderr, status := s.cli(append([]string{what, "--server", s.Regions["de"].HTTP, "account-sync"}, args...)...)
		require.Zero(t, status, stderr)
		done := time.Now() // what is on hold is looked up once in a second
		s.await("a second", 20*time.Second, func() bool { return time.Since(done) > time.Second })
	}
	called := func(region, number, value string) { // of a contact, in a table that nobody holds
		t.Helper()
		resp := s.do(http.MethodPatch, s.Sandbox+"/dataverse-"+region+"/api/data/v9.2/contacts(msx_contactnumber='"+number+"')",
			http.Header{"Authorization": {"Bearer " + s.token(region)}}, fmt.Sprintf(`{"fullname":%q}`, value), nil)
		require.Less(t, resp.StatusCode, 300)
	}
	contact := func(region, number string) (name string) {
		require.NoError(t, s.judge().QueryRow(t.Context(), `select fullname from dataverse_`+region+`.contact where msx_contactnumber = $1`, number).Scan(&name))
		return name
	}
	age := func() { // all that is under way is five days older
		for _, region := range []string{"de", "fr"} {
			db := s.db(s.Regions[region].Database)
			for _, sql := range []string{`update egress.batch set made_at = made_at - interval '5 days', oldest = oldest - interval '5 days'`,
				`update egress.acknowledged set at = at - interval '5 days'`, `update replica_pending set since = since - interval '5 days'`,
				`update replica_pause set at = at - interval '5 days'`, `update replica_received set at = at - interval '5 days'`} {
				_, err := db.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
		}
	}

	hold("hold", "--table", "account", "--reason", "an audit")
	s.rename("de", "DE-1004", "Out of a held table")
	s.rename("fr", "FR-1004", "Into a held table")
	called("de", "DE-C1001", "Goes on")
	called("fr", "FR-C1001", "Comes on")
	s.await("the other table", 60*time.Second, func() bool { return contact("fr", "DE-C1001") == "Goes on" && contact("de", "FR-C1001") == "Comes on" })
	s.await("the held edit at the border", 60*time.Second, func() bool {
		var n int
		require.NoError(t, s.db(s.Regions["de"].Database).QueryRow(t.Context(), `select count(*) from egress.batch b where "table" = 'account' and batch > (select min(batch) from egress.acknowledged a where a."table" = b."table")`).Scan(&n))
		return n > 0
	})
	age()
	require.NotEqual(t, "Out of a held table", s.named("fr", "DE-1004"))
	require.NotEqual(t, "Into a held table", s.named("de", "FR-1004"))
	for _, l := range s.standing("de").Links {
		require.Equal(t, l.Table == "account", l.Paused, "%s from %s to %s", l.Table, l.From, l.To)
	}
	hold("resume", "--table", "account")
	s.await("all of it", 60*time.Second, func() bool {
		return s.named("fr", "DE-1004") == "Out of a held table" && s.named("de", "FR-1004") == "Into a held table"
	})

	hold("hold", "--region", "fr", "--reason", "they move")
	s.rename("de", "DE-1005", "To a held region")
	called("fr", "FR-C1002", "From a held region")
	s.await("what waits on both sides", 60*time.Second, func() bool {
		var out, in int
		require.NoError(t, s.db(s.Regions["de"].Database).QueryRow(t.Context(), `select count(*) from egress.batch b where "table" = 'account' and batch > (select min(batch) from egress.acknowledged a where a."table" = b."table")`).Scan(&out))
		require.NoError(t, s.db(s.Regions["fr"].Database).QueryRow(t.Context(), `select count(*) from egress.batch b where "table" = 'contact' and batch > (select min(batch) from egress.acknowledged a where a."table" = b."table")`).Scan(&in))
		return out > 0 && in > 0
	})
	age()
	require.NotEqual(t, "To a held region", s.named("fr", "DE-1005"))
	require.NotEqual(t, "From a held region", contact("de", "FR-C1002"))
	hold("resume", "--region", "fr")
	s.await("all of it again", 60*time.Second, func() bool {
		return s.named("fr", "DE-1005") == "To a held region" && contact("de", "FR-C1002") == "From a held region"
	})
}
