package paid

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// provider charges each reference once, and counts.
type provider struct {
	mu      sync.Mutex
	charged map[string]string // reference → subject
	asked   int
	fails   func(n int) error // after it charged
	refuses error             // before
	open    map[string]int
	twice   bool // one subject was asked for twice at a time
}

func (p *provider) ask(subject string) Fetch {
	return func(ctx context.Context, reference string) (Reply, error) {
		p.mu.Lock()
		p.asked++
		n := p.asked
		if p.charged == nil {
			p.charged, p.open = map[string]string{}, map[string]int{}
		}
		if p.refuses != nil {
			defer p.mu.Unlock()
			return Reply{}, p.refuses
		}
		p.charged[reference] = subject
		p.open[subject]++
		p.twice = p.twice || p.open[subject] > 1
		p.mu.Unlock()
		pause(ctx, 5*time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open[subject]--
		if p.fails != nil {
			if err := p.fails(n); err != nil {
				return Reply{}, err
			}
		}
		return Reply{Body: json.RawMessage(`{"subject_id":"` + subject + `","score":612.50}`)}, nil
	}
}

func (p *provider) payments() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.charged)
}

func question(subject, run string) Question {
	price, _ := flow.ParseMoney("2.50 EUR")
	budget, _ := flow.ParseMoney("62.50 EUR") // 25 of them
	return Question{Connection: "bureau", Asked: map[string]any{"table": "reports", "subject_id": subject}, Price: price,
		Budget: flow.Budget{PerDay: budget}, Reuse: time.Hour, Flow: "loan", Run: run, Source: "bureau"}
}

func open(t *testing.T, url string, o Options) *Paid {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{MaxConns: 8, Application: "test"})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return New(s, o)
}

// read asks the tables themselves.
func read[T any](t *testing.T, p *Paid, sql string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, p.store.Read(t.Context(), func(c *pgxpool.Conn) error { return c.QueryRow(t.Context(), sql, args...).Scan(&v) }))
	return v
}

func TestManyRunsOfSeveralProcessesPayOnceForAQuestionAndNeverMoreThanTheBudget(t *testing.T) {
	t.Parallel()
	url := storetest.URL(t)
	pools := []*Paid{open(t, url, Options{}), open(t, url, Options{})}
	var v provider
	var answered, refused atomic.Int64
	var all sync.WaitGroup
	for process, p := range pools {
		for i := range 64 {
			all.Go(func() {
				for j := range 40 {
					subject := fmt.Sprintf("S-%d", (i+j)%40)
					a, err := p.Ask(t.Context(), question(subject, fmt.Sprintf("run-%d-%d-%d", process, i, j)), v.ask(subject))
					switch {
					case err == nil:
						answered.Add(1)
						if !strings.Contains(string(a.Body), `"`+subject+`","score":612.50`) {
							t.Errorf("%s got the answer %s", subject, a.Body)
						}
					case fault.Of(err).Code == UsedUp:
						refused.Add(1)
					default:
						t.Errorf("%s: %v", subject, err)
					}
				}
			})
		}
	}
	all.Wait()
	require.Equal(t, 25, v.payments(), "the budget is used, and not exceeded")
	require.False(t, v.twice, "one question is under way once")
	subjects := map[string]bool{}
	for _, s := range v.charged {
		require.False(t, subjects[s], "%s was paid twice", s)
		subjects[s] = true
	}
	require.EqualValues(t, 2*64*25, answered.Load())
	require.EqualValues(t, 2*64*15, refused.Load())
	require.Equal(t, "62.5000", read[string](t, pools[0], `select spent::text from paid_day`))

	d, err := pools[1].Day(t.Context(), "", []flow.Connection{{Name: "bureau", Budget: &flow.Budget{PerDay: question("", "").Budget.PerDay}}})
	require.NoError(t, err)
	require.Len(t, d.Inquiries, 25)
	require.Equal(t, "62.50 EUR", d.Totals[0].Paid.String())
	require.Equal(t, "0.00 EUR", d.Totals[0].Left.String())
	require.Equal(t, 2*64*25-25, d.Totals[0].Reused)
	require.Equal(t, 127, d.Inquiries[0].Reused)
	require.Len(t, d.Inquiries[0].UsedBy, 10)
	require.Zero(t, read[int](t, pools[0], `
		select count(*)::int from (select to_jsonb(i) - 'answer' as r from paid_inquiry i union all select to_jsonb(u) from paid_use u) as x where r::text like '%S-%'`),
		"no key and no column besides the answer holds what was asked for")
}

func TestADayWithoutMoneySaysWhenTheNextOneBegins(t *testing.T) {
	t.Parallel()
	const speed = 24 * 60 * 20 // a day of three seconds
	p := open(t, storetest.URL(t), Options{Speed: speed})
	var v provider
	q := func(n int) Question {
		q := question(fmt.Sprint("S", n), fmt.Sprint("run", n))
		q.Budget.PerDay, _ = flow.ParseMoney("2.50 EUR")
		return q
	}
	var used error
	for n := range 2 { // a day may end between the two
		if _, used = p.Ask(t.Context(), q(n), v.ask("x")); used != nil {
			break
		}
	}
	if used == nil {
		_, used = p.Ask(t.Context(), q(2), v.ask("x"))
	}
	f := fault.Of(used)
	require.Equal(t, UsedUp, f.Code)
	require.Equal(t, fault.Throttled, f.Class)
	require.Positive(t, f.After)
	require.LessOrEqual(t, f.After, 3*time.Second)
	require.True(t, pause(t.Context(), f.After))
	_, err := p.Ask(t.Context(), q(3), v.ask("x"))
	require.NoError(t, err)
}

func TestWhatIsInDoubtCountsUntilItIsAskedAgainUnderTheSameReference(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	v := provider{fails: func(n int) error {
		if n == 1 {
			return fault.New(fault.Unavailable, "vendor.timeout", "no answer", nil)
		}
		return nil
	}}
	_, err := p.Ask(t.Context(), question("S", "a"), v.ask("S"))
	require.Equal(t, "vendor.timeout", fault.Of(err).Code)
	d, err := p.Day(t.Context(), "", nil)
	require.NoError(t, err)
	require.Equal(t, "2.50 EUR", d.Totals[0].InDoubt.String())
	require.Equal(t, flow.PaidDoubt, d.Inquiries[0].State)

	v.refuses = fault.New(fault.Rejected, "rest.bad_request", "no", nil)
	_, err = p.Ask(t.Context(), question("S", "b"), v.ask("S"))
	require.Equal(t, "rest.bad_request", fault.Of(err).Code)
	require.Equal(t, "2.5000", read[string](t, p, `select spent::text from paid_day`), "a refusal says nothing of what was sent before")

	v.refuses = nil
	a, err := p.Ask(t.Context(), question("S", "c"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, "c", a.Run)
	require.False(t, a.Reused)
	require.Equal(t, 1, v.payments())
	require.Equal(t, "2.5000", read[string](t, p, `select spent::text from paid_day`))
}

func TestARefusalCostsNothingAndIsAskedAnew(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	v := provider{refuses: fault.NotFoundf("rest.not_found", "no such person")}
	for range 3 {
		_, err := p.Ask(t.Context(), question("S", "a"), v.ask("S"))
		require.Equal(t, "rest.not_found", fault.Of(err).Code)
	}
	require.Equal(t, "0.0000", read[string](t, p, `select spent::text from paid_day`))
	require.Equal(t, 3, read[int](t, p, `select count(distinct reference)::int from paid_inquiry where state = 'refused'`))
}

func TestAnAnswerOfNoUseIsAskedForAgainForNothingAndThenGivenUp(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	v := provider{fails: func(int) error { return fault.New(fault.Bug, "rest.other-subject", "another person", nil) }}
	for n, payments := range []int{1, 1, 1, 2} {
		_, err := p.Ask(t.Context(), question("S", fmt.Sprint(n)), v.ask("S"))
		require.Equal(t, "rest.other-subject", fault.Of(err).Code)
		require.Equal(t, payments, v.payments())
	}
	v.fails = nil
	_, err := p.Ask(t.Context(), question("S", "z"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, "5.0000", read[string](t, p, `select spent::text from paid_day`))
	d, err := p.Day(t.Context(), "", nil)
	require.NoError(t, err)
	require.Equal(t, flow.PaidSpoiled, d.Inquiries[1].State)
	require.Equal(t, "rest.other-subject", d.Inquiries[1].Reason)
}

func TestAnAnswerIsUsedByOthersWhileItIsYoungAndByTheRunThatPaidAnyTime(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	var v provider
	_, err := p.Ask(t.Context(), question("S", "a"), v.ask("S"))
	require.NoError(t, err)
	old := question("S", "b")
	old.Reuse = time.Nanosecond
	a, err := p.Ask(t.Context(), old, v.ask("S"))
	require.NoError(t, err)
	require.False(t, a.Reused)
	require.Equal(t, 2, v.payments(), "it was too old for b")
	none := question("S", "b")
	none.Reuse = 0
	a, err = p.Ask(t.Context(), none, v.ask("S"))
	require.NoError(t, err)
	require.True(t, a.Reused)
	a, err = p.Ask(t.Context(), question("S", "c"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, "b", a.Run)
	require.Equal(t, 2, v.payments())

	// An answer that nobody may use any more is erased, and what was paid is not.
	require.NoError(t, p.store.Read(t.Context(), func(c *pgxpool.Conn) error {
		_, err := c.Exec(t.Context(), `update paid_inquiry set keep_until = now() - interval '1 second'`)
		return err
	}))
	require.NoError(t, p.Forget(t.Context()))
	require.Equal(t, 2, read[int](t, p, `select count(*)::int from paid_inquiry where answer is null and state = 'answered'`))
	_, err = p.Ask(t.Context(), question("S", "d"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, 3, v.payments())
}

func TestADoubtOfYesterdayIsChargedToTheDayOnWhichItIsAskedAgain(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	v := provider{fails: func(int) error { return fault.New(fault.Unavailable, "vendor.timeout", "no answer", nil) }}
	_, err := p.Ask(t.Context(), question("S", "a"), v.ask("S"))
	require.Error(t, err)
	require.NoError(t, p.store.Read(t.Context(), func(c *pgxpool.Conn) error {
		_, err := c.Exec(t.Context(), `with d as (update paid_day set day = day - 1) update paid_inquiry set day = day - 1`)
		return err
	}))
	v.fails = nil
	_, err = p.Ask(t.Context(), question("S", "b"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, "0.0000 2.5000", read[string](t, p, `select string_agg(spent::text, ' ' order by day) from paid_day`))
	require.Equal(t, 1, v.payments())
}

func TestWhoeverWaitsForTheAnswerOfAnotherRunIsToldSoWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	var v provider
	asking, asked := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := p.Ask(t.Context(), question("S", "a"), func(ctx context.Context, reference string) (Reply, error) {
			<-asking
			return v.ask("S")(ctx, reference)
		})
		asked <- err
	}()
	require.Eventually(t, func() bool { return read[int](t, p, `select count(*)::int from paid_inquiry`) == 1 }, time.Minute, time.Millisecond)
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := p.Ask(short, question("S", "b"), v.ask("S"))
	require.Equal(t, UnderWay, fault.Of(err).Code)
	close(asking)
	require.NoError(t, <-asked)
	a, err := p.Ask(t.Context(), question("S", "b"), v.ask("S"))
	require.NoError(t, err)
	require.Equal(t, "a", a.Run)
	require.Equal(t, 1, v.payments())
}

// A connection that leads to another system by now is asked anew: the answer of the one before is not its own.
func TestTheAnswerOfAnotherSystemIsNotUsed(t *testing.T) {
	t.Parallel()
	p := open(t, storetest.URL(t), Options{})
	var v provider
	references := map[string]bool{}
	for _, identity := range []string{"rest https://one.example.com", "rest https://two.example.com", "rest https://one.example.com"} {
		q := question("P-1", "run of "+identity)
		q.Identity = identity
		a, err := p.Ask(t.Context(), q, v.ask("P-1"))
		require.NoError(t, err)
		references[a.Reference] = true
	}
	require.Equal(t, 2, v.payments())
	require.Len(t, references, 2)
}
