package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

// A bank as tables of another party's database: what is written is counted by a trigger, and
// a lock on report is a bureau that does not answer.
const (
	bankTables = `
		create table patchbay_effect (cause text not null, step text not null, key text not null, fence bigint not null,
			noted_at timestamptz not null default now(), applied_at timestamptz, primary key (cause, step, key));
		create table application (nr text primary key, customer text not null, full_name text, born date, applied date, amount numeric, months int, currency text, income numeric,
			housing text, employed int, adviser text);
		create table account (customer text primary key, living numeric, debts numeric, savings numeric, card_use numeric, since_months int);
		create table report (customer text primary key, subject text, inquiries int, arrears int);
		create table decided (nr text primary key, outcome text not null, reasons text);
		create table written (n bigint generated always as identity, nr text, outcome text);
		create function note() returns trigger language plpgsql as $$ begin insert into written (nr, outcome) values (new.nr, new.outcome); return new; end $$;
		create trigger noted before insert or update on decided for each row execute function note();`

	bankConnections = `
connections:
  bank:
    system: postgres
    url: %s
    auth: { kind: basic, username: %s, password: "${file:%s}" }
    limits: { concurrent: 8, timeout: 30s }
    tables:
      application: { path: public.application, keys: [[nr]], columns: { nr: string, customer: string, full_name: string, born: date, applied: date, amount: decimal, months: int, currency: string, income: decimal, housing: string, employed: int, adviser: string } }
      account: { path: public.account, keys: [[customer]], columns: { customer: string, living: decimal, debts: decimal, savings: decimal, card_use: decimal, since_months: int } }
      report: { path: public.report, keys: [[customer]], columns: { customer: string, subject: string, inquiries: int, arrears: int } }
      decided: { path: public.decided, keys: [[nr]], columns: { nr: string, outcome: string, reasons: string } }
`

	loanFlow = `
flow: loan
pattern: hybrid
summary: An application for a loan is decided, by rules or by a person
params: { nr: { type: string } }
collect:
  application:
    from: bank.application
    where: { nr: params.nr }
    select: [nr, customer, full_name, born, applied, amount, months, currency, income, housing, employed, adviser]
    deadline: 20s
    refuse: We do not know this application.
  account:
    from: bank.account
    where: { customer: steps.application.row.customer }
    select: [living, debts, savings, card_use, since_months]
    deadline: 20s
    refuse: We cannot see your account.
  report:
    from: bank.report
    where: { customer: steps.application.row.customer }
    select: [subject, inquiries, arrears]
    deadline: 3s
    substitute: { subject: steps.application.row.customer, inquiries: 0, arrears: 0 }
personal: [application.full_name, application.born, application.customer, report.subject]
require:
  - { require: amount, that: steps.application.row.amount > 0, reason: The amount has to be above zero. }
  - { require: income, that: steps.application.row.income > 0, reason: The income has to be above zero. }
  - { require: currency, that: steps.application.row.currency == 'EUR', reason: We lend in euros. }
  - { require: age, that: "string(int(steps.application.row.born.substring(0, 4)) + 18) + steps.application.row.born.substring(4) <= steps.application.row.applied", reason: You have to be of age. }
  - { require: identity, that: steps.report.row.subject == steps.application.row.customer, reason: The credit bureau answered for somebody else. }
  - { require: outgoings, that: steps.account.row.debts <= steps.application.row.income * 10, reason: Your debts and your income contradict each other. }
calculate:
  stress:
    function: risk.stress v1
    deadline: 60s
    with:
      question.household.income: steps.application.row.income
      question.household.living: steps.account.row.living
      question.household.debts: steps.account.row.debts
      question.household.savings: steps.account.row.savings
      question.loan.amount: steps.application.row.amount
      question.loan.months: steps.application.row.months
      question.loan.margin: 0.018
      question.loan.fixed: 4
      question.economy.rate: 0.025
      question.economy.rate_mean: 0.03
      question.economy.rate_reversion: 0.3
      question.economy.rate_vol: 0.01
      question.economy.income_growth: 0.02
      question.economy.income_vol: 0.08
      question.economy.cost_growth: 0.02
      question.economy.job_loss: 0.012
      question.economy.job_find: 0.35
      question.economy.benefit: 0.6
      question.economy.correlation.rate_income: 0.1
      question.economy.correlation.rate_work: -0.15
      question.economy.correlation.income_work: 0.4
      question.stress.rate_rise: 0.02
      question.stress.income_cut: 0
      question.stress.loss_factor: 2
      question.horizon: 12
      paths: 2048
      level: 0.95
  score:
    function: risk.score v1
    deadline: 60s
    with:
      figures.employment_months: steps.application.row.employed
      figures.payment_percent: "min([divide(steps.stress.row.instalment * 100, steps.application.row.income, 4), decimal(90)])"
      figures.card_use_percent: steps.account.row.card_use
      figures.inquiries_6m: steps.report.row.inquiries
      figures.arrears_24m: steps.report.row.arrears
      figures.savings_months: min([divide(steps.account.row.savings, steps.account.row.living, 4), decimal(60)])
      figures.customer_months: steps.account.row.since_months
      words.housing: steps.application.row.housing
decide:
  - { rule: score-too-low, when: steps.score.row.score.points < 500, then: decline, factors: steps.score.row.reasons }
  - { rule: not-affordable, when: steps.stress.row.distress.value > 0.5, then: decline, reason: The instalments do not fit your income. }
  - { rule: good, when: steps.score.row.score.points >= 560 && steps.application.row.amount <= 100000, then: approve, reason: You can afford this loan. }
  - { rule: otherwise, then: refer, reason: A person looks at your application. }
review:
  deadline: 2d
  late: expire
  four_eyes: steps.application.row.amount > 150000
  conflicts: "[steps.application.row.adviser]"
  show: { points: steps.score.row.score.points, distress: steps.stress.row.distress.value }
answer: { points: steps.score.row.score.points, amount: steps.application.row.amount }
write: { to: bank.decided, key: [nr], when: steps.application.count > 0 }
map:
  nr: params.nr
  outcome: steps.decision.row.outcome
  reasons: steps.decision.row.reasons.join(' ')
limits: { timeout: 10d }
`
)

// secondKey is that of anna, who decides besides dev.
const secondKey = "a-key-of-anna-that-nobody-guesses-0123456789"

// bank is a Patchbay that lends.
type bank struct {
	*patchbay
	sql *pgx.Conn
}

// lending runs `patchbay dev` with the loan flow, changed by pairs of old and new texts.
func lending(t *testing.T, changes ...string) *bank {
	t.Helper()
	return lend(t, map[string]string{"loan.yaml": strings.NewReplacer(changes...).Replace(loanFlow)})
}

// lend runs `patchbay dev` with files of flows on a bank.
func lend(t *testing.T, files map[string]string, args ...string) *bank {
	t.Helper()
	owner := storetest.Empty(t)
	conn, err := pgx.Connect(t.Context(), owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	b := &bank{sql: conn}
	_, err = conn.Exec(t.Context(), bankTables)
	require.NoError(t, err)
	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	dir := dataDir(t)
	secret, flows := filepath.Join(dir, "bank-password"), filepath.Join(dir, "flows")
	require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
	require.NoError(t, os.Mkdir(flows, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(flows, name), []byte(text), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(flows, "connections.yaml"), fmt.Appendf(nil, bankConnections, u.String(), user, secret), 0o600))
	sum := sha256.Sum256([]byte(secondKey))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), fmt.Appendf(nil, "anna %x operate\n", sum), 0o600))
	b.patchbay = start(t, dir, append([]string{"--flows", flows, "--keys", filepath.Join(dir, "keys")}, args...)...)
	return b
}

// applies makes an application that is approved, as sql changes it: "income = -1" of
// application, "report: subject = 'X'" of another table.
func (b *bank) applies(nr string, changes ...string) {
	b.t.Helper()
	exec := func(sql string, args ...any) {
		_, err := b.sql.Exec(b.t.Context(), sql, args...)
		require.NoError(b.t, err)
	}
	exec(`insert into application values ($1, 'C-' || $1, 'Zoe Quibble-' || $1, '1980-05-01', '2026-11-30', 20000, 60, 'EUR', 5200, 'owner', 120, 'smith')`, nr)
	exec(`insert into account values ('C-' || $1, 1700, 150, 30000, 10, 80)`, nr)
	exec(`insert into report values ('C-' || $1, 'C-' || $1, 0, 0)`, nr)
	for _, change := range changes {
		table, set, other := strings.Cut(change, ": ")
		if !other {
			exec(`update application set `+change+` where nr = $1`, nr)
			continue
		}
		if set == "none" {
			exec(`delete from `+table+` where customer = 'C-' || $1`, nr)
			continue
		}
		exec(`update `+table+` set `+set+` where customer = 'C-' || $1`, nr)
	}
}

func (b *bank) press(nr string) string { return b.pressOf("loan", nr) }

func (b *bank) pressOf(name, nr string) string {
	b.t.Helper()
	var run flow.Run
	resp := b.do(http.MethodPost, b.HTTP+"/v1/flows/"+name+"/runs", http.Header{"Prefer": {"wait=0"}}, fmt.Sprintf(`{"nr":%q}`, nr), &run)
	require.Less(b.t, resp.StatusCode, 300, "%+v", run.Problem)
	return run.RunID
}

// written are the outcomes that the bank was told of an application, each once.
func (b *bank) written(nr string) []string {
	b.t.Helper()
	rows, err := b.sql.Query(b.t.Context(), `select outcome from written where nr = $1 order by n`, nr)
	require.NoError(b.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return list
}

// review is the referral of a run that waits for a person.
func (b *bank) review(run string) flow.Referral {
	b.t.Helper()
	var r flow.Referral
	b.await("the referral", time.Minute, func() bool {
		return b.do(http.MethodGet, b.HTTP+"/v1/reviews/"+run, nil, "", &r).StatusCode == http.StatusOK
	})
	return r
}

// opine decides a referral as dev, or as whose key is given, and gives the status and the code of a refusal.
func (b *bank) opine(run string, decision flow.Outcome, reason string, keys ...string) (int, string, flow.Referral) {
	b.t.Helper()
	var raw json.RawMessage
	header := http.Header{}
	for _, key := range keys {
		header.Set("Authorization", "Bearer "+key)
	}
	resp := b.do(http.MethodPost, b.HTTP+"/v1/reviews/"+run, header, fmt.Sprintf(`{"decision":%q,"reason":%q}`, decision, reason), &raw)
	var problem struct{ Code string }
	var r flow.Referral
	require.NoError(b.t, json.Unmarshal(raw, &problem))
	require.NoError(b.t, json.Unmarshal(raw, &r))
	return resp.StatusCode, problem.Code, r
}

// Every application ends with one outcome that has a name; what is missing, contradicts itself
// or cannot be computed is never approved.
func TestEveryApplicationIsDecidedOnceAndByName(t *testing.T) {
	t.Parallel()
	b := lending(t)
	runs := map[string]string{}
	cases := map[string]struct {
		changes []string
		outcome flow.Outcome
		rule    string
		reason  string
		written []string
	}{
		"good":      {nil, flow.Approve, "good", "You can afford", []string{"approve"}},
		"poor":      {[]string{"report: arrears = 3", "report: inquiries = 9", "account: savings = 0", "account: card_use = 100", "employed = 2", "account: since_months = 1"}, flow.Decline, "score-too-low", "late payment", []string{"decline"}},
		"dear":      {[]string{"amount = 500000", "months = 120"}, flow.Decline, "not-affordable", "do not fit", []string{"decline"}},
		"noincome":  {[]string{"income = null"}, flow.Refuse, "require income", "income", []string{"refuse"}},
		"negative":  {[]string{"income = -100"}, flow.Refuse, "require income", "income", []string{"refuse"}},
		"dollars":   {[]string{"currency = 'XXX'"}, flow.Refuse, "require currency", "euros", []string{"refuse"}},
		"minor":     {[]string{"born = '2008-12-01'"}, flow.Refuse, "require age", "of age", []string{"refuse"}},
		"another":   {[]string{"report: subject = 'C-good'"}, flow.Refuse, "require identity", "somebody else", []string{"refuse"}},
		"against":   {[]string{"account: debts = 90000"}, flow.Refuse, "require outgoings", "contradict", []string{"refuse"}},
		"nosavings": {[]string{"account: savings = null"}, flow.Refuse, "calculate stress", "savings", []string{"refuse"}},
		"nohouse":   {[]string{"housing = 'castle'"}, flow.Refuse, "calculate score", "housing", []string{"refuse"}},
		"huge":      {[]string{"amount = 1e200"}, flow.Refuse, "calculate stress", "amount", []string{"refuse"}},
		"noaccount": {[]string{"account: none"}, flow.Refuse, "collect account", "cannot see", []string{"refuse"}},
		"unknown":   {nil, flow.Refuse, "collect application", "do not know", []string{}},
	}
	for nr, c := range cases { // all at once
		if nr != "unknown" {
			b.applies(nr, c.changes...)
		}
		runs[nr] = b.press(nr)
	}
	for nr, c := range cases {
		run := b.ended(runs[nr])
		require.Equal(t, flow.Completed, run.Status, "%s: %+v", nr, run.Problem)
		require.Equal(t, c.outcome, run.Result.Decision, "%s: %+v", nr, run.Result)
		require.Equal(t, c.rule, run.Result.Rule, nr)
		require.Contains(t, strings.Join(run.Result.Reasons, " "), c.reason, nr)
		require.Equal(t, "rules", run.Result.By, nr)
		require.Equal(t, c.written, b.written(nr), "what the bank was told of %s", nr)
		if c.outcome == flow.Approve {
			require.Equal(t, json.Number("20000"), run.Result.Rows[0]["amount"])
		}
	}
}

// ended waits for the end of a run, and shows its tasks where that does not come.
func (b *bank) ended(id string) flow.Run {
	b.t.Helper()
	var run flow.Run
	end := time.Now().Add(time.Minute)
	b.await("the end of "+id, 2*time.Minute, func() bool {
		run = flow.Run{}
		b.do(http.MethodGet, b.HTTP+"/v1/runs/"+id, nil, "", &run)
		if time.Now().After(end) && !run.Status.Final() {
			b.t.Fatalf("it does not end: %s %s %+v", run.Params["nr"], run.Waiting, run.Tasks)
		}
		return run.Status.Final()
	})
	return run
}

// middling is an application that no rule decides.
func middling(more ...string) []string {
	return append([]string{"amount = 120000", "months = 300", "account: savings = 60000"}, more...)
}

// What rules refer a person decides, once, and nobody who may not; a source that does not answer
// is never approved of.
func TestAPersonDecidesWhatRulesRefer(t *testing.T) {
	t.Parallel()
	b := lending(t)
	refused := func(status int, code string, run string, decision flow.Outcome, reason string) {
		t.Helper()
		got, why, _ := b.opine(run, decision, reason)
		require.Equal(t, []any{status, code}, []any{got, why})
	}

	b.applies("referred", middling()...)
	run := b.press("referred")
	r := b.review(run)
	require.Equal(t, []flow.Outcome{flow.Approve, flow.Decline}, r.May)
	require.Equal(t, "otherwise", r.Ruling.Rule)
	require.Len(t, r.Computed, 2)
	require.Equal(t, []string{"smith"}, r.Conflicts)
	require.Len(t, r.Inputs, 3)
	require.Empty(t, b.written("referred"), "nothing is written before it is decided")
	refused(http.StatusUnprocessableEntity, "params.invalid", run, flow.Refer, "hm")
	for range 2 { // the same again changes nothing
		status, _, r := b.opine(run, flow.Approve, "The employer confirmed the income.")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "dev", r.Decision.By)
	}
	refused(http.StatusConflict, "review.decided", run, flow.Decline, "No.")
	done := b.ended(run)
	require.Equal(t, []any{flow.Approve, "dev"}, []any{done.Result.Decision, done.Result.By})
	require.Equal(t, []string{"approve"}, b.written("referred"))

	b.applies("adviser", middling("adviser = 'Dev'")...)
	run = b.press("adviser")
	b.review(run)
	refused(http.StatusForbidden, "review.conflict", run, flow.Approve, "I know her well.")

	b.applies("large", middling("amount = 160000", "income = 9000")...)
	large := b.press("large")
	require.True(t, b.review(large).FourEyes)
	status, _, r := b.opine(large, flow.Approve, "It is well secured.")
	require.Equal(t, http.StatusOK, status)
	require.Nil(t, r.Decision, "one person is not enough")
	refused(http.StatusConflict, "review.twice", large, flow.Approve, "It really is.")
	b.applies("both", middling("amount = 160000", "income = 9000")...)
	both := b.press("both")
	b.review(both)
	for _, keys := range [][]string{nil, {secondKey}} {
		require.Empty(t, b.written("both"))
		status, _, _ = b.opine(both, flow.Approve, "It is well secured.", keys...)
		require.Equal(t, http.StatusOK, status)
	}
	require.Equal(t, "dev, key:anna", b.ended(both).Result.By)

	b.applies("silent")
	locked, err := pgx.Connect(t.Context(), b.sql.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = locked.Close(t.Context()) })
	_, err = locked.Exec(t.Context(), `begin; lock table report in access exclusive mode`)
	require.NoError(t, err)
	run = b.press("silent")
	r = b.review(run)
	_, err = locked.Exec(t.Context(), `rollback`)
	require.NoError(t, err)
	require.Equal(t, []string{"report"}, r.Ruling.Partial)
	require.Equal(t, "good", r.Ruling.Rule, "it would have been approved")
	require.Equal(t, []flow.Outcome{flow.Decline}, r.May)
	refused(http.StatusConflict, "review.partial", run, flow.Approve, "Never mind.")
	status, _, _ = b.opine(run, flow.Decline, "Please apply again when the bureau answers.")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, flow.Decline, b.ended(run).Result.Decision)

	var certificate flow.Certificate
	require.Less(t, b.do(http.MethodPost, b.HTTP+"/v1/runs/"+large+"/cancel", nil, "", &certificate).StatusCode, 300)
	require.Equal(t, flow.Cancelled, b.ended(large).Status)
	refused(http.StatusConflict, "review.closed", large, flow.Decline, "Too late.")
	require.Empty(t, b.written("large"))
	var open struct{ Reviews []flow.Referral }
	b.do(http.MethodGet, b.HTTP+"/v1/reviews", nil, "", &open)
	require.Len(t, open.Reviews, 1, "that of the adviser")
}

func TestWhatNobodyDecidesInTimeEndsAsTheFlowSays(t *testing.T) {
	t.Parallel()
	b := lending(t, "deadline: 2d", "deadline: 2s")
	b.applies("late", middling()...)
	run := b.ended(b.press("late"))
	require.Equal(t, []any{flow.Expire, "deadline"}, []any{run.Result.Decision, run.Result.By})
	require.Equal(t, []string{"expire"}, b.written("late"))
}

// Decisions that were disturbed by kills of everything are those that equal figures led to
// undisturbed, each made once and told once.
func TestDecisionsAreTheSameWhateverDies(t *testing.T) {
	t.Parallel()
	// A process that is dead for a while is no source that does not answer.
	b := lending(t, "deadline: 3s", "deadline: 5m", "deadline: 20s", "deadline: 5m", "deadline: 60s", "deadline: 5m")
	kinds := map[string][]string{"fine": nil, "weak": {"report: arrears = 3", "report: inquiries = 9", "account: savings = 0", "account: card_use = 100", "employed = 2", "account: since_months = 1"}, "open": middling()}
	type told struct {
		Outcome flow.Outcome
		Rule    string
		Reasons []string
		Points  any
	}
	of := func(run flow.Run) told {
		out := told{Outcome: run.Result.Decision, Rule: run.Result.Rule, Reasons: run.Result.Reasons}
		if len(run.Result.Rows) > 0 {
			out.Points = run.Result.Rows[0]["points"]
		}
		return out
	}
	decide := func(run string) {
		b.review(run)
		status, _, _ := b.opine(run, flow.Approve, "It is well secured.")
		require.Equal(t, http.StatusOK, status)
	}
	undisturbed := map[string]told{}
	for kind, changes := range kinds {
		b.applies(kind, changes...)
		run := b.press(kind)
		if kind == "open" {
			decide(run)
		}
		undisturbed[kind] = of(b.ended(run))
	}
	const each, kills = 12, 4
	random := rand.New(rand.NewPCG(9, 1))
	runs := map[string]string{}
	for i := range each {
		for kind, changes := range kinds {
			nr := fmt.Sprintf("%s-%d", kind, i)
			b.applies(nr, changes...)
			runs[nr] = b.press(nr)
		}
		if i%(each/kills) == each/kills-1 {
			wait := time.NewTimer(time.Duration(random.IntN(1500)) * time.Millisecond)
			<-wait.C
			b.kill()
			b.patchbay = start(t, b.dir, "--flows", filepath.Join(b.dir, "flows"), "--keys", filepath.Join(b.dir, "keys"))
		}
	}
	for nr, run := range runs {
		kind, _, _ := strings.Cut(nr, "-")
		if kind == "open" {
			decide(run)
		}
		require.Equal(t, undisturbed[kind], of(b.ended(run)), nr)
		require.Equal(t, []string{string(undisturbed[kind].Outcome)}, b.written(nr), "the bank was told once")
	}
}
