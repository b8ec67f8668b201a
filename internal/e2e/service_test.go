package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

// The systems of a company as tables of another party's database. What is written is
// counted by triggers, and what they refuse they refuse by constraints.
const (
	serviceTables = `
		create table patchbay_effect (cause text not null, step text not null, key text not null, fence bigint not null,
			noted_at timestamptz not null default now(), applied_at timestamptz, primary key (cause, step, key));
		create table request (nr text primary key, customer text not null, quantity int not null, port text not null);
		create sequence document;
		create table sale (nr text primary key, customer text not null, state text not null, document text not null default 'D' || nextval('document'));
		create table stock (nr text primary key, quantity int not null check (quantity <= 100), state text not null);
		create table booking (nr text primary key, port text not null check (port <> 'nowhere'), state text not null);
		create table notice (nr text primary key, document text);
		create table written (n bigint generated always as identity, tbl text, nr text, state text);
		create function note() returns trigger language plpgsql as $$ begin
			if new.nr like 'stuck%' and to_jsonb(new)->>'state' = 'released' then raise exception 'locked by the auditor' using errcode = '23514'; end if;
			insert into written (tbl, nr, state) values (tg_table_name, new.nr, to_jsonb(new)->>'state'); return new; end $$;
		create trigger noted before insert or update on sale for each row execute function note();
		create trigger noted before insert or update on stock for each row execute function note();
		create trigger noted before insert or update on booking for each row execute function note();
		create trigger noted before insert or update on notice for each row execute function note();`

	serviceConnections = `
connections:
  erp:
    system: postgres
    url: %s
    auth: { kind: basic, username: %s, password: "${file:%s}" }
    limits: { concurrent: 8, timeout: 30s }
    tables:
      request: { path: public.request, keys: [[nr]], columns: { nr: string, customer: string, quantity: int, port: string } }
      sale: { path: public.sale, keys: [[nr]], columns: { nr: string, customer: string, state: string, document: string } }
      stock: { path: public.stock, keys: [[nr]], columns: { nr: string, quantity: int, state: string } }
      booking: { path: public.booking, keys: [[nr]], columns: { nr: string, port: string, state: string } }
      notice: { path: public.notice, keys: [[nr]], columns: { nr: string, document: string } }
`

	fulfilFlow = `
flow: fulfil
pattern: service
summary: A request becomes a sale, a reservation and a booking, or nothing
params: { nr: { type: string } }
steps:
  - step: request
    call: erp.request
    where: { nr: params.nr }
    select: [nr, customer, quantity, port]
  - step: sale
    call: erp.sale
    key: [nr]
    with: { nr: steps.request.row.nr, customer: steps.request.row.customer, state: '"open"' }
    returns: [document]
    undo: { state: '"reversed"' }
  - step: stock
    when: steps.request.row.quantity > 0
    call: erp.stock
    key: [nr]
    with: { nr: params.nr, quantity: steps.request.row.quantity, state: '"reserved"' }
    undo: { state: '"released"' }
  - step: booking
    call: erp.booking
    key: [nr]
    with: { nr: params.nr, port: steps.request.row.port, state: '"booked"' }
    undo: { state: '"cancelled"' }
  - step: told
    call: tell
    with: { nr: params.nr, document: steps.sale.row.document }
answer: { document: steps.sale.row.document, told: steps.told.count }
`

	tellFlow = `
flow: tell
pattern: service
summary: Somebody is told of a sale
params: { nr: { type: string }, document: { type: string } }
steps:
  - { step: notice, call: erp.notice, key: [nr], with: { nr: params.nr, document: params.document } }
`

	spreadFlow = `
flow: spread
pattern: service
summary: A request goes to stock and booking, each by itself
params: { nr: { type: string }, quantity: { type: int }, port: { type: string } }
steps:
  - step: ways
    legs:
      stock:
        - { step: sale, call: erp.sale, key: [nr], with: { nr: params.nr, customer: '"x"', state: '"open"' }, undo: { state: '"reversed"' } }
        - { step: stock, call: erp.stock, key: [nr], with: { nr: params.nr, quantity: params.quantity, state: '"reserved"' } }
      booking:
        - { step: booking, call: erp.booking, key: [nr], with: { nr: params.nr, port: params.port, state: '"booked"' } }
`
)

// company runs `patchbay dev` with these flows, and more by their names.
func company(t *testing.T, more map[string]string) *erp {
	t.Helper()
	owner := storetest.Empty(t)
	conn, err := pgx.Connect(t.Context(), owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	e := &erp{sql: conn}
	_, err = conn.Exec(t.Context(), serviceTables)
	require.NoError(t, err)
	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	dir := dataDir(t)
	secret, flows := filepath.Join(dir, "erp-password"), filepath.Join(dir, "flows")
	require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
	require.NoError(t, os.Mkdir(flows, 0o755))
	files := map[string]string{"fulfil": fulfilFlow, "tell": tellFlow, "spread": spreadFlow,
		"connections": fmt.Sprintf(serviceConnections, u.String(), user, secret)}
	maps.Copy(files, more)
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(flows, name+".yaml"), []byte(text), 0o600))
	}
	e.patchbay = start(t, dir, "--flows", flows)
	return e
}

func (e *erp) request(nr string, quantity int, port string) {
	e.t.Helper()
	_, err := e.sql.Exec(e.t.Context(), `insert into request values ($1, 'ACME', $2, $3)`, nr, quantity, port)
	require.NoError(e.t, err)
}

// begin presses a flow and does not wait.
func (e *erp) begin(name, params string) string {
	e.t.Helper()
	var run flow.Run
	resp := e.do(http.MethodPost, e.HTTP+"/v1/flows/"+name+"/runs", http.Header{"Prefer": {"wait=0"}}, params, &run)
	require.Less(e.t, resp.StatusCode, 300, "%+v", run.Problem)
	return run.RunID
}

// log is what was written of a number, in its order.
func (e *erp) log(nr string) (lines []string) {
	e.t.Helper()
	rows, err := e.sql.Query(e.t.Context(), `select tbl || ' ' || coalesce(state, '') from written where nr = $1 order by n`, nr)
	require.NoError(e.t, err)
	lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(e.t, err)
	return lines
}

func states(r flow.Run) map[string]flow.TaskState {
	all := map[string]flow.TaskState{}
	for _, t := range r.Tasks {
		all[t.Name] = t.State
	}
	return all
}

func TestAServiceDoesAllOfItsStepsOrTakesThemBack(t *testing.T) {
	t.Parallel()
	e := company(t, nil)
	nr := func(name string) string { return fmt.Sprintf(`{"nr":%q}`, name) }

	e.request("good", 5, "HAM")
	run := e.final(e.begin("fulfil", nr("good")), time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.Equal(t, []string{"sale open", "stock reserved", "booking booked", "notice "}, e.log("good"))
	require.EqualValues(t, 1, e.number(`select count(*) from notice n join sale s using (nr, document) where nr = 'good'`))
	require.Equal(t, "D1", run.Result.Rows[0]["document"])

	e.request("none", 0, "HAM")
	run = e.final(e.begin("fulfil", nr("none")), time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.Equal(t, flow.TaskSkipped, states(run)["stock"])
	require.Equal(t, []string{"sale open", "booking booked", "notice "}, e.log("none"))

	e.request("bad", 5, "nowhere") // the last of three refuses
	run = e.final(e.begin("fulfil", nr("bad")), time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Equal(t, "write.refused", run.Problem.Code)
	require.Equal(t, []string{"sale open", "stock reserved", "stock released", "sale reversed"}, e.log("bad"), "taken back in reverse")
	require.Equal(t, map[string]flow.TaskState{"request": flow.TaskDone, "sale": flow.TaskUndone, "stock": flow.TaskUndone, "booking": flow.TaskUndone}, states(run))

	_, err := e.sql.Exec(t.Context(), `update request set port = 'HAM' where nr = 'bad'`) // it is put right, and redriven as a new run
	require.NoError(t, err)
	stdout, stderr, status := e.cli("redrive", "--server", e.HTTP, run.RunID)
	require.Zero(t, status, "%s%s", stdout, stderr)
	e.await("the redriven run", time.Minute, func() bool { return slices.Contains(e.log("bad"), "notice ") })
	require.Equal(t, []string{"sale open", "stock reserved", "booking booked", "notice "}, slices.Compact(e.log("bad")[4:]), "it began anew: an upsert of what is there fires twice")

	e.request("stuck", 5, "nowhere") // and what was reserved cannot be released
	run = e.final(e.begin("fulfil", nr("stuck")), time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Equal(t, flow.TaskStands, states(run)["stock"])
	require.Equal(t, []string{"sale open", "stock reserved", "sale reversed"}, e.log("stuck"), "what stands keeps nothing else from being taken back")

	e.request("left", 5, "HAM") // a person cancels while the third is under way
	_, err = e.sql.Exec(t.Context(), `begin; lock table booking in access exclusive mode`)
	require.NoError(t, err)
	id := e.begin("fulfil", nr("left"))
	e.await("the reservation", time.Minute, func() bool {
		var run flow.Run
		e.do(http.MethodGet, e.HTTP+"/v1/runs/"+id, nil, "", &run)
		return states(run)["booking"] == flow.TaskRunning
	})
	var certificate flow.Certificate
	resp := e.do(http.MethodPost, e.HTTP+"/v1/runs/"+id+"/cancel", nil, "", &certificate)
	require.Less(t, resp.StatusCode, 300)
	_, err = e.sql.Exec(t.Context(), `rollback`)
	require.NoError(t, err)
	run = e.final(id, time.Minute)
	require.Equal(t, flow.Cancelled, run.Status)
	e.do(http.MethodPost, e.HTTP+"/v1/runs/"+id+"/cancel", nil, "", &certificate)
	log := e.log("left")
	require.Equal(t, []string{"sale open", "stock reserved"}, log[:2])
	require.Equal(t, []string{"stock released", "sale reversed"}, log[len(log)-2:])
	require.Zero(t, e.number(`select count(*) from booking where nr = 'left' and state <> 'cancelled'`))
	require.Empty(t, certificate.InDoubt)
	taken := 0
	for _, effect := range certificate.Undone {
		if effect.Reason == "taken back" {
			taken++
		}
	}
	require.GreaterOrEqual(t, taken, 2, "%+v", certificate)
}

func TestALegThatFailsLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	e := company(t, nil)
	run := e.final(e.begin("spread", `{"nr":"many","quantity":500,"port":"HAM"}`), time.Minute)
	require.Equal(t, flow.Failed, run.Status)
	require.Contains(t, run.Problem.Detail, "ways/stock")
	require.EqualValues(t, 1, e.number(`select count(*) from booking where nr = 'many' and state = 'booked'`))
	require.EqualValues(t, 1, e.number(`select count(*) from sale where nr = 'many' and state = 'reversed'`))
	require.Zero(t, e.number(`select count(*) from stock`))
	run = e.final(e.begin("spread", `{"nr":"few","quantity":5,"port":"HAM"}`), time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.EqualValues(t, 3, e.number(`select count(*) from written where nr = 'few'`))
}

// TestAServiceStandsOnceOrIsUndoneOnceWhateverDies kills Patchbay and what runs beside it under
// many runs, of which some are refused and some cancelled. The tables are the judge.
func TestAServiceStandsOnceOrIsUndoneOnceWhateverDies(t *testing.T) {
	t.Parallel()
	const runs = 24
	e := company(t, nil)
	random := rand.New(rand.NewPCG(7, 7))
	ids := make([]string, runs)
	for i := range runs {
		port := "HAM"
		if i%4 == 0 {
			port = "nowhere"
		}
		e.request(fmt.Sprintf("r%d", i), 1+i, port)
		ids[i] = e.begin("fulfil", fmt.Sprintf(`{"nr":"r%d"}`, i))
		if i%8 == 7 {
			e.kill()
			e.patchbay = start(t, e.dir, "--flows", filepath.Join(e.dir, "flows"))
		}
		if i%6 == 5 {
			e.do(http.MethodPost, e.HTTP+"/v1/runs/"+ids[random.IntN(i)]+"/cancel", nil, "", nil)
		}
	}
	for i, id := range ids {
		run := e.final(id, 3*time.Minute)
		log, nr := e.log(fmt.Sprintf("r%d", i)), fmt.Sprintf("r%d", i)
		seen := map[string]int{}
		for _, line := range log {
			seen[line]++
		}
		for line, n := range seen {
			require.Equal(t, 1, n, "%s: %s", nr, line)
		}
		switch run.Status {
		case flow.Completed:
			require.Equal(t, []string{"sale open", "stock reserved", "booking booked", "notice "}, log, nr)
		default:
			require.Zero(t, e.number(`select (select count(*) from sale where nr = $1 and state <> 'reversed')
				+ (select count(*) from stock where nr = $1 and state <> 'released') + (select count(*) from booking where nr = $1 and state <> 'cancelled')`, nr), "%s: %v", nr, log)
		}
		if i%4 == 0 {
			require.NotEqual(t, flow.Completed, run.Status, nr)
		}
	}
}
