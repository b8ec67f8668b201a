package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/mirror"
	"patchbay/internal/replica"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// shared are regions of the company that share accounts and contacts, worked on by
// goroutines of the test, without Temporal.
type shared struct {
	*company
	plan  *flow.Plan
	sides map[string]*mirror.Side
	bords map[string]*egress.Egress
	peers map[string]map[string]*egress.Peer // by region, and by the one that it reads
	dbs   map[string]*store.Store
}

func newShared(t *testing.T, names ...string) *shared {
	t.Helper()
	s := &shared{company: newCompany(t), sides: map[string]*mirror.Side{}, bords: map[string]*egress.Egress{}, peers: map[string]map[string]*egress.Peer{}, dbs: map[string]*store.Store{}}
	s.plan = &flow.Plan{Flow: "account-sync", Pattern: flow.Synchronization, Sync: &flow.Sync{
		Tables: []flow.SyncTable{
			{Name: "account", Key: byAccount, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}, {Name: "telephone1", Type: flow.String}}},
			{Name: "contact", Key: byContact, Columns: []flow.SyncColumn{{Name: "fullname", Type: flow.String}, {Name: "parentcustomerid", Type: flow.String, Refers: "account"}}},
		},
		Conflict: []flow.ConflictRule{{Rule: flow.RuleLatest}}, Skew: time.Minute, MaxRow: 64 << 10,
	}}
	for _, name := range names {
		s.plan.Sync.Regions = append(s.plan.Sync.Regions, flow.Region{Name: name, Connection: "dataverse-" + name})
	}
	urls := map[string]map[string]string{}
	for _, name := range names {
		database := storetest.NewDatabase(t)
		urls[name] = map[string]string{}
		var roles []egress.PeerRole
		for _, other := range names {
			if other == name {
				continue
			}
			role := egress.PeerRole{Region: other, Role: egress.RoleOf(t.Name(), database.Owner, other), Password: "secret-of-" + other}
			u, err := url.Parse(database.Owner)
			require.NoError(t, err)
			u.User = url.UserPassword(role.Role, role.Password)
			urls[name][other] = u.String()
			roles = append(roles, role)
			t.Cleanup(func() { dropRole(t, database.Owner, role.Role) })
		}
		require.NoError(t, egress.Prepare(t.Context(), database.Owner, name, s.plan, roles))
		db := storetest.Open(t, database.App)
		s.dbs[name], s.bords[name] = db, egress.New(db)
		known := replica.New(db, s.bords[name])
		s.sides[name] = &mirror.Side{Place: replica.Place{Flow: s.plan.Flow, Region: name, Sync: s.plan.Sync}, System: s.regions[name], Replica: known, Poll: 200 * time.Millisecond}
	}
	for _, name := range names {
		s.peers[name] = map[string]*egress.Peer{}
		for _, other := range names {
			if other == name {
				continue
			}
			peer, err := egress.Dial(t.Context(), urls[other][name])
			require.NoError(t, err)
			t.Cleanup(peer.Close)
			s.peers[name][other] = peer
		}
	}
	return s
}

func dropRole(t *testing.T, owner, role string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, owner)
	if err != nil {
		return
	}
	defer func() { _ = c.Close(ctx) }()
	name := pgx.Identifier{role}.Sanitize()
	_, _ = c.Exec(ctx, `drop owned by `+name)
	_, _ = c.Exec(ctx, `drop role if exists `+name)
}

// work has all regions export and import until the test ends.
func (s *shared) work() {
	ctx, stop := context.WithCancel(s.t.Context())
	var working sync.WaitGroup
	end := time.Now().Add(time.Hour)
	for name, side := range s.sides {
		reporting := func(part, peer string) *mirror.Side {
			of := *side
			of.Told = func(trouble map[string]*fault.Fault) { _ = of.Replica.Report(ctx, of.Place, part, peer, trouble) }
			return &of
		}
		exporting := reporting(replica.PartExport, "")
		working.Go(func() { exporting.Export(ctx, end) })
		working.Go(func() { side.Publish(ctx, s.bords[name]) })
		for from, peer := range s.peers[name] {
			importing := reporting(replica.PartImport, from)
			working.Go(func() { importing.Import(ctx, from, peer, end) })
		}
	}
	s.t.Cleanup(func() { stop(); working.Wait() })
}

// fill makes accounts and contacts of a region, beside those that the sandbox began with.
func (s *shared) fill(region string, accounts, contacts int) {
	s.t.Helper()
	s.exec(fmt.Sprintf(`INSERT INTO dataverse_%[1]s.account (accountid, accountnumber, name, telephone1, msx_diagnosis, createdon, modifiedon, versionnumber, statecode, statuscode)
		SELECT gen_random_uuid(), 'T' || n, 'Account ' || n, '+49 ' || n, 'a diagnosis', now(), now(), nextval('dataverse_%[1]s.row_version'), 0, 1 FROM generate_series(1, %[2]d) n`, region, accounts))
	s.exec(fmt.Sprintf(`INSERT INTO dataverse_%[1]s.contact (contactid, msx_contactnumber, fullname, "_parentcustomerid_value", "_parentcustomerid_type", createdon, modifiedon, versionnumber, statecode, statuscode)
		SELECT gen_random_uuid(), 'T' || n, 'Contact ' || n, a.accountid, 'account', now(), now(), nextval('dataverse_%[1]s.row_version'), 0, 1
		FROM generate_series(1, %[2]d) n JOIN dataverse_%[1]s.account a ON a.accountnumber = 'T' || n`, region, contacts))
	s.write(region, "T1", "telephone1", "+49 1") // by which the sandbox learns of the numbers
}

// holds is a digest of what the tables of a region have of what is shared.
func (s *shared) holds(region string) (digest string) {
	s.t.Helper()
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), fmt.Sprintf(`SELECT md5(
		(SELECT coalesce(string_agg(concat_ws('|', accountnumber, name, telephone1), E'\n' ORDER BY accountnumber), '') FROM dataverse_%[1]s.account WHERE accountnumber IS NOT NULL) ||
		(SELECT coalesce(string_agg(concat_ws('|', msx_contactnumber, fullname, a.accountnumber), E'\n' ORDER BY msx_contactnumber), '')
			FROM dataverse_%[1]s.contact c LEFT JOIN dataverse_%[1]s.account a ON a.accountid = c."_parentcustomerid_value" WHERE msx_contactnumber IS NOT NULL))`, region)).Scan(&digest))
	return digest
}

func (s *shared) same(within time.Duration, regions ...string) string {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		first := s.holds(regions[0])
		for _, r := range regions[1:] {
			if s.holds(r) != first {
				return false
			}
		}
		for name, side := range s.sides {
			states, err := side.Replica.Status(s.t.Context(), side.Place)
			require.NoError(s.t, err)
			for _, state := range states {
				if state.Open[""] > 0 || state.Loading || state.Observed.IsZero() {
					return false
				}
			}
			_ = name
		}
		return true
	}, within, 300*time.Millisecond)
	return s.holds(regions[0])
}

func (s *shared) compare(region string) map[string]flow.SyncCompared {
	s.t.Helper()
	found, trouble, err := s.sides[region].Compare(s.t.Context())
	require.NoError(s.t, err)
	require.Empty(s.t, trouble)
	out := map[string]flow.SyncCompared{}
	for _, c := range found {
		out[c.Table] = c
	}
	return out
}

// Rows of a Dataverse are corrupted in its own tables, where change tracking tells of
// nothing: one comparison finds and repairs all of them, and nothing else.
func TestRowsOfADataverseThatWereCorruptedAreFoundAndRepairedInOneCycle(t *testing.T) {
	t.Parallel()
	const rows = 3000
	s := newShared(t, "de", "fr")
	s.fill("de", rows, 1000)
	s.work()
	before := s.same(5*time.Minute, "de", "fr")
	for table, c := range s.compare("fr") {
		require.Zero(t, c.Drift, "%s %+v", table, c)
	}
	diagnoses := s.number(`SELECT count(*) FROM dataverse_fr.account WHERE msx_diagnosis IS NOT NULL`)

	s.exec(`UPDATE dataverse_fr.account SET name = 'corrupted', telephone1 = NULL WHERE accountnumber IN ('T1', 'T100', 'T1000', 'T2000', 'T2999')`)
	s.exec(`DELETE FROM dataverse_fr.contact WHERE msx_contactnumber IN ('T2', 'T20', 'T200', 'T900', 'T1000')`)
	s.exec(`INSERT INTO dataverse_fr.account (accountid, accountnumber, name, createdon, modifiedon, versionnumber, statecode, statuscode)
		SELECT gen_random_uuid(), 'U' || n, 'Added ' || n, now(), now(), 1, 0, 1 FROM generate_series(1, 5) n`)

	began := time.Now()
	found := s.compare("fr")
	account, contact := found["account"], found["contact"]
	require.Equal(t, []int64{5, 0, 5, 10}, []int64{account.Changed, account.Missing, account.Added, account.Repaired}, "%+v", account)
	require.Equal(t, []int64{0, 5, 0, 5}, []int64{contact.Changed, contact.Missing, contact.Added, contact.Repaired}, "%+v", contact)
	t.Logf("compared in %s: %+v", time.Since(began).Round(time.Millisecond), found)
	after := s.same(time.Minute, "de", "fr")
	require.NotEqual(t, before, after)
	for _, region := range []string{"de", "fr"} {
		require.Equal(t, 5, s.number(`SELECT count(*) FROM dataverse_`+region+`.account WHERE name LIKE 'Added %'`), "the additions are everywhere")
		require.Zero(t, s.number(`SELECT count(*) FROM dataverse_`+region+`.account WHERE name = 'corrupted'`))
	}
	s.exec(`DELETE FROM dataverse_de.account WHERE accountnumber LIKE 'U%'`)
	require.Equal(t, before, s.holds("de"), "and nothing else has changed")
	require.Equal(t, diagnoses, s.number(`SELECT count(*) FROM dataverse_fr.account WHERE msx_diagnosis IS NOT NULL`))
}

// A row that was deleted everywhere, and is there again because an organisation was
// restored, is older than its deletion: it goes again, and comes to nobody. One that
// somebody made anew is later, and comes to all.
func TestARowThatCameBackByARestoreGoesAgain(t *testing.T) {
	t.Parallel()
	s := newShared(t, "de", "fr")
	s.fill("de", 3, 3)
	s.work()
	s.same(2*time.Minute, "de", "fr")
	keys := numbers("msx_contactnumber", "T1", "T2")
	_, err := s.regions["de"].DeleteAt(t.Context(), connector.Delete{Table: "contact", Key: byContact, Keys: keys}, versions(t, s.regions["de"], "contact", byContact, keys))
	require.NoError(t, err)
	count := func(region string) int {
		return s.number(`SELECT count(*) FROM dataverse_` + region + `.contact WHERE msx_contactnumber LIKE 'T%'`)
	}
	require.Eventually(t, func() bool { return count("fr") == 1 }, time.Minute, 100*time.Millisecond)
	s.same(time.Minute, "de", "fr")
	s.exec(`INSERT INTO dataverse_fr.contact (contactid, msx_contactnumber, fullname, createdon, modifiedon, versionnumber, statecode, statuscode) VALUES
		(gen_random_uuid(), 'T1', 'Restored', now() - interval '2 days', now() - interval '1 day', 1, 0, 1), (gen_random_uuid(), 'T2', 'Anew', now(), now() + interval '2 seconds', 1, 0, 1)`)
	found := s.compare("fr")["contact"]
	require.Equal(t, []int64{0, 0, 2, 2}, []int64{found.Changed, found.Missing, found.Added, found.Repaired}, "%+v", found)
	s.same(time.Minute, "de", "fr")
	require.Equal(t, 2, count("fr"))
	require.Equal(t, 1, s.number(`SELECT count(*) FROM dataverse_de.contact WHERE msx_contactnumber = 'T2' AND fullname = 'Anew'`))
	require.Zero(t, s.number(`SELECT count(*) FROM dataverse_de.contact WHERE msx_contactnumber = 'T1'`))
}

// A plug-in of one Dataverse, which is a trigger on the table of the sandbox, cuts what is
// written: that is said, and the other regions keep the whole value.
func TestAValueThatAPlugInCutsIsNobodysEdit(t *testing.T) {
	t.Parallel()
	names := []string{"ch", "de", "fr"}
	s := newShared(t, names...)
	s.fill("de", 3, 0)
	s.work()
	s.same(2*time.Minute, names...)
	s.exec(`CREATE FUNCTION dataverse_fr.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := left(NEW.name, 12); RETURN NEW; END $$`)
	s.exec(`CREATE TRIGGER cut BEFORE INSERT OR UPDATE ON dataverse_fr.account FOR EACH ROW EXECUTE FUNCTION dataverse_fr.cut()`)
	s.write("de", "T1", "name", "A name that is long")
	status := func() int64 {
		states, err := s.sides["fr"].Replica.Status(t.Context(), s.sides["fr"].Place)
		require.NoError(t, err)
		return states[0].Open[flow.SyncTruncated]
	}
	require.Eventually(t, func() bool { return status() == 1 }, time.Minute, 100*time.Millisecond)
	s.write("fr", "T1", "telephone1", "33")
	is := func(region, name string) bool {
		return s.number(`SELECT count(*) FROM dataverse_`+region+`.account WHERE accountnumber = 'T1' AND telephone1 = '33' AND name = $1`, name) == 1
	}
	for region, name := range map[string]string{"de": "A name that is long", "ch": "A name that is long", "fr": "A name that "} {
		require.Eventually(t, func() bool { return is(region, name) }, time.Minute, 100*time.Millisecond, region)
	}
	require.Eventually(t, func() bool { return status() == 1 }, time.Minute, 100*time.Millisecond)
	for table, c := range s.compare("fr") {
		require.Zero(t, c.Drift, "%s %+v", table, c)
	}
	require.True(t, is("de", "A name that is long") && is("ch", "A name that is long"), "still whole")
	require.EqualValues(t, 1, status(), "and still said")
}

// A delta token expires in the middle of a batch of changes, and then the clock of an
// organisation is a day behind: what was deleted meanwhile is, what was edited last stays,
// and it is said that a table was read anew.
func TestAnExpiredTokenAndAClockThatJumpsBackLoseNothing(t *testing.T) {
	t.Parallel()
	s := newShared(t, "de", "fr")
	s.fill("de", 20, 20)
	s.work()
	s.same(2*time.Minute, "de", "fr")
	s.faults("de", `{"expire_tokens":true,"count":2}`)
	s.exec(`INSERT INTO dataverse_de.account (accountid, accountnumber, name, createdon, modifiedon, versionnumber, statecode, statuscode)
		SELECT gen_random_uuid(), 'M' || n, 'More ' || n, now(), now(), nextval('dataverse_de.row_version'), 0, 1 FROM generate_series(1, 2500) n`)
	s.exec(`DELETE FROM dataverse_de.contact WHERE msx_contactnumber = 'T7'`)
	s.write("de", "T2", "telephone1", "+49 2")
	s.write("fr", "T3", "telephone1", "+33 3")
	number := func(region, where string) int {
		return s.number(`SELECT count(*) FROM dataverse_` + region + `.account WHERE ` + where)
	}
	require.Eventually(t, func() bool {
		return number("fr", `accountnumber LIKE 'M%'`) == 2500 && number("fr", `telephone1 = '+49 2'`) == 1 && number("de", `telephone1 = '+33 3'`) == 1
	}, 3*time.Minute, 200*time.Millisecond)
	require.Eventually(t, func() bool {
		states, err := s.sides["de"].Replica.Status(t.Context(), s.sides["de"].Place)
		require.NoError(t, err)
		return slices.ContainsFunc(states, func(x replica.TableState) bool { return x.Anew != nil && x.Anew.Code == "connector.cursor_expired" })
	}, time.Minute, 100*time.Millisecond)

	s.exec(`UPDATE dataverse_de.account SET name = 'Behind', modifiedon = now() - interval '1 day', versionnumber = nextval('dataverse_de.row_version') WHERE accountnumber = 'T1'`)
	s.write("de", "T4", "name", "Wakes the sandbox")
	require.Eventually(t, func() bool { return number("fr", `name = 'Behind'`) == 1 }, time.Minute, 100*time.Millisecond, "it knew what it replaces, whatever its clock says")
	s.write("fr", "T1", "name", "Later")
	require.Eventually(t, func() bool { return number("de", `name = 'Later'`) == 1 }, time.Minute, 100*time.Millisecond)
}

// write is what a person of a region does in its Dataverse.
func (s *shared) write(region, number, column, value string) {
	s.t.Helper()
	results, err := s.regions[region].Upsert(s.t.Context(), upsertOf(number, column, value))
	require.NoError(s.t, err)
	require.Equal(s.t, map[string]int{"": 1}, codes(results))
}

func upsertOf(number, column, value string) connector.Upsert {
	return connector.Upsert{Table: "account", Key: byAccount, Rows: []connector.Row{{"accountnumber": number, column: value}}}
}
