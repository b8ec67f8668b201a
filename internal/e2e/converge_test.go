package e2e

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/store/storetest"
)

var (
	syncRows = flag.Int("sync-rows", 600, "records that three regions share")
	syncFor  = flag.Duration("sync-for", 12*time.Second, "how long they are edited")
	syncKill = flag.Duration("sync-kill", 4*time.Second, "how often something is killed, cut or stopped meanwhile")
	syncSeed = flag.Uint64("sync-seed", 1, "of edits and kills")
)

const (
	sharedTables = `
		create table account (accountnumber text primary key, name text, phone text, credit numeric(20, 4), diagnosis text);
		create table booking (number text primary key, account text references account (accountnumber), state int);
		create unlogged table written (n bigint generated always as identity, who text not null, tbl text not null, key text);
		create function note() returns trigger language plpgsql as $$ begin
			insert into written (who, tbl, key) values (coalesce(nullif(current_setting('application_name', true), ''), '?'), tg_table_name, coalesce(new, old)::text); return null; end $$;
		create trigger noted after insert or update or delete on account for each row execute function note();
		create trigger noted after insert or update or delete on booking for each row execute function note();`

	sharedFlow = `
flow: shared
pattern: synchronization
summary: Accounts and bookings are the same in every region
regions: { ch: erp-ch, de: erp-de, fr: erp-fr }
tables:
  account: { key: [accountnumber], allow: [name, phone, credit] }
  booking: { key: [number], allow: [{ account: { refers: account } }, state] }
restricted: [account.diagnosis]
conflict: { default: latest }
expect: { lag: 30s }
`
	sharedConnection = `
  erp-%[1]s:
    system: postgres
    region: %[1]s
    url: %[2]s
    auth: { kind: basic, username: %[3]s, password: "${file:%[4]s}" }
    limits: { concurrent: 8, timeout: 30s }
    tables:
      account: { path: public.account, keys: [[accountnumber]], restricted: [diagnosis], columns: { accountnumber: string, name: string, phone: string, credit: decimal, diagnosis: string } }
      booking: { path: public.booking, keys: [[number]], refers: { account: account }, columns: { number: string, account: string, state: int } }
`
)

// shared is three regions with an ERP each, and the plain sequential program that says
// what they come to hold: of edits one after the other, the last of each value counts.
type shared struct {
	regional
	erps map[string]*pgxpool.Pool
	r    *rand.Rand
	// model is by table, by key, by column; a record that is not there was deleted last.
	model map[string]map[string]map[string]string
	dead  map[string]map[string]map[string]string // what deleted ones held
	edits int
}

func share(t *testing.T) *shared {
	t.Helper()
	dir := dataDir(t)
	flows := filepath.Join(dir, "flows")
	require.NoError(t, os.Mkdir(flows, 0o755))
	s := &shared{erps: map[string]*pgxpool.Pool{}, r: rand.New(rand.NewPCG(*syncSeed, 1)),
		model: map[string]map[string]map[string]string{"account": {}, "booking": {}}, dead: map[string]map[string]map[string]string{"account": {}, "booking": {}}}
	connections := "regions:\n"
	for _, region := range threeRegions {
		connections += fmt.Sprintf("  %s: { egress: \"${env:PATCHBAY_EGRESS_%s}\" }\n", region, strings.ToUpper(region))
	}
	connections += "connections:"
	for _, region := range threeRegions {
		owner := storetest.Empty(t)
		pool, err := pgxpool.New(t.Context(), owner+"&application_name=people")
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		s.erps[region] = pool
		_, err = pool.Exec(t.Context(), sharedTables)
		require.NoError(t, err)
		u, err := url.Parse(owner)
		require.NoError(t, err)
		password, _ := u.User.Password()
		user := u.User.Username()
		u.User, u.RawQuery = nil, ""
		secret := filepath.Join(dir, "password-"+region)
		require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
		connections += fmt.Sprintf(sharedConnection, region, u.String(), user, secret)
	}
	require.NoError(t, os.WriteFile(filepath.Join(flows, "shared.yaml"), []byte(sharedFlow), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(flows, "connections.yaml"), []byte(connections), 0o600))
	for n := range *syncRows {
		region, key := threeRegions[n%3], fmt.Sprintf("A%05d", n)
		s.insertAccount(t, region, key)
	}
	s.regional = regional{start(t, dir, "--flows", flows, "--regions", strings.Join(threeRegions, ","))}
	return s
}

func (s *shared) exec(t *testing.T, region, sql string, args ...any) bool {
	t.Helper()
	tag, err := s.erps[region].Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	return tag.RowsAffected() > 0
}

func (s *shared) insertAccount(t *testing.T, region, key string) {
	t.Helper()
	if s.exec(t, region, `insert into account values ($1, 'Name', '0', 0, 'restricted ' || $1) on conflict do nothing`, key) {
		s.model["account"][key] = map[string]string{"name": "Name", "phone": "0", "credit": "0"}
	}
}

// edit changes something somewhere, and has the model know.
func (s *shared) edit(t *testing.T) {
	t.Helper()
	s.edits++
	region := threeRegions[s.r.IntN(3)]
	key := fmt.Sprintf("A%05d", s.r.IntN(*syncRows))
	value := fmt.Sprint(s.edits)
	switch k := s.r.IntN(20); {
	case k < 12:
		column := []string{"name", "phone", "credit"}[k%3]
		if s.exec(t, region, `update account set `+column+` = $2::text::`+map[string]string{"name": "text", "phone": "text", "credit": "numeric"}[column]+` where accountnumber = $1`, key, value) {
			s.set("account", key, column, value)
		}
	case k < 16:
		number := "B" + value
		if s.exec(t, region, `insert into booking select $1, accountnumber, 1 from account where accountnumber = $2`, number, key) {
			s.model["booking"][number] = map[string]string{"account": key, "state": "1"}
		}
	case k < 18:
		if number := s.any("booking"); number != "" && s.exec(t, region, `update booking set state = $2 where number = $1`, number, s.edits) {
			s.set("booking", number, "state", value)
		}
	default:
		if number := s.any("booking"); number != "" && s.exec(t, region, `delete from booking where number = $1`, number) {
			if row := s.model["booking"][number]; row != nil {
				s.dead["booking"][number] = row
			}
			delete(s.model["booking"], number)
		}
	}
}

// set is an edit of a record: one that another region deleted, and this one had not
// heard of, comes back by it.
func (s *shared) set(table, key, column, value string) {
	row := s.model[table][key]
	if row == nil {
		row = s.dead[table][key]
		s.model[table][key] = row
	}
	row[column] = value
}

func (s *shared) any(table string) string {
	keys := slices.Sorted(maps.Keys(s.model[table]))
	if len(keys) == 0 {
		return ""
	}
	return keys[s.r.IntN(len(keys))]
}

// harm kills, stops or cuts something.
func (s *shared) harm(t *testing.T) string {
	t.Helper()
	region := threeRegions[s.r.IntN(3)]
	switch s.r.IntN(4) {
	case 0:
		_ = syscall.Kill(s.pid("region-"+region), syscall.SIGKILL)
		return "killed the process of " + region
	case 1:
		_ = syscall.Kill(s.pid("temporal-"+region), syscall.SIGKILL)
		return "killed Temporal of " + region
	case 2:
		_, err := s.erps[region].Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'people'`)
		require.NoError(t, err)
		return "cut the connections to the ERP of " + region
	}
	pid := s.pid("region-" + region)
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	time.AfterFunc(3*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	return "stopped the process of " + region + " for three seconds"
}

// holds is what the ERP of a region holds of a table, as the model has it.
func (s *shared) holds(t *testing.T, region, table string) map[string]map[string]string {
	t.Helper()
	sql := `select accountnumber, jsonb_build_object('name', name, 'phone', phone, 'credit', trim_scale(credit)::text) from account`
	if table == "booking" {
		sql = `select number, jsonb_build_object('account', account, 'state', state::text) from booking`
	}
	rows, err := s.erps[region].Query(t.Context(), sql)
	require.NoError(t, err)
	defer rows.Close()
	all := map[string]map[string]string{}
	for rows.Next() {
		var key string
		var row map[string]string
		require.NoError(t, rows.Scan(&key, &row))
		all[key] = row
	}
	require.NoError(t, rows.Err())
	return all
}

// Three regions are edited at once while processes die, links are cut and regions are
// away: all come to hold what a plain sequential program says, and our own writes come
// back to nobody.
func TestRegionsConvergeToWhatASequentialProgramSays(t *testing.T) {
	t.Parallel()
	s := share(t)
	s.await("loaded", time.Minute+time.Duration(*syncRows)*5*time.Millisecond, func() bool {
		return len(s.holds(t, "fr", "account")) == *syncRows && len(s.holds(t, "de", "account")) == *syncRows
	})
	harm := time.Now().Add(*syncKill)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(*syncFor); time.Now().Before(end); <-tick.C {
		s.edit(t)
		if time.Now().After(harm) {
			t.Log(s.harm(t))
			harm = time.Now().Add(*syncKill)
		}
	}
	t.Logf("%d edits", s.edits)
	differing := func() (all []string) {
		for _, region := range threeRegions {
			for table, want := range s.model {
				got := s.holds(t, region, table)
				for key := range want {
					if !maps.Equal(want[key], got[key]) {
						all = append(all, fmt.Sprintf("%s %s %s: %v, not %v", region, table, key, got[key], want[key]))
					}
				}
				for key := range got {
					if want[key] == nil {
						all = append(all, fmt.Sprintf("%s %s %s: %v, which was deleted", region, table, key, got[key]))
					}
				}
			}
		}
		return all
	}
	deadline := time.Now().Add(3 * time.Minute)
	for wrong := differing(); len(wrong) > 0; wrong = differing() {
		require.False(t, time.Now().After(deadline), "%d differ, as %s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
		<-tick.C
	}
	s.unheard(t)
}

// unheard requires that nothing comes back: once all is quiet, no region writes anything.
func (s *shared) unheard(t *testing.T) {
	t.Helper()
	writes := func() (n int64) {
		for _, region := range threeRegions {
			var one int64
			require.NoError(t, s.erps[region].QueryRow(t.Context(), `select count(*) from written where who <> 'people'`).Scan(&one))
			n += one
		}
		return n
	}
	before := writes()
	require.Positive(t, before)
	for range 8 {
		select {
		case <-t.Context().Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	require.Equal(t, before, writes(), "echoes")
	for _, region := range threeRegions {
		var foreign int64
		require.NoError(t, s.erps[region].QueryRow(t.Context(), `select count(*) from account where diagnosis is not null and right(accountnumber, 5)::int % 3 <> $1`, slices.Index(threeRegions, region)).Scan(&foreign))
		require.Zero(t, foreign, "what is restricted stayed where it was")
	}
}
