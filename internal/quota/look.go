package quota

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

type (
	// Look is what of the quotas of a connection was used at a moment, as one sees it who
	// does not belong to the interactive.
	Look struct {
		rules []rule
		ahead time.Duration
		state *state
		now   int64
	}

	// Used is how much of a window is used: requests, messages, or milliseconds of
	// execution. Per is its length, and Most what is stated, at the speed that there is.
	Used struct {
		Kind       flow.QuotaKind
		Per        time.Duration
		Used, Most int64
	}
)

// Look reads what is used; it takes nothing.
func (q *Quotas) Look(ctx context.Context, c flow.Connection) (Look, error) {
	rules, _, ahead := rulesOf(c.Quotas, q.options.Speed)
	l := Look{rules: rules, ahead: ahead, state: &state{}}
	if len(c.Quotas) == 0 {
		return l, nil
	}
	err := q.store.Read(ctx, func(conn *pgxpool.Conn) error {
		var body []byte
		var now time.Time
		err := conn.QueryRow(ctx, `select (select state from quota where connection = $1), clock_timestamp()`, c.Name).Scan(&body, &now)
		if err != nil || body == nil {
			return err
		}
		if l.state, err = stateOf(body); err != nil {
			return err
		}
		l.now = now.UnixMicro()
		l.state.prune(rules, l.now, ahead)
		return nil
	})
	return l, err
}

// Used is how much of each window is used, in the order in which they are stated;
// requests that run at a time have none.
func (l Look) Used() []Used {
	list := make([]Used, len(l.rules))
	for i := range l.rules {
		r := &l.rules[i]
		list[i] = Used{Kind: r.kind, Per: r.per, Used: l.state.used(r), Most: r.most}
		if r.kind == flow.QuotaExecution {
			list[i].Used, list[i].Most = list[i].Used/1000, r.most/1000
		}
	}
	return list
}

// Room is how many requests, at most want, may leave now.
func (l Look) Room(messages, want int) int {
	n, _ := l.state.room(l.rules, l.cost(messages), false, int64(want), l.now)
	return int(n)
}

func (l Look) cost(messages int) []int64 {
	cost := make([]int64, len(l.rules))
	for i := range l.rules {
		if l.rules[i].kind != flow.QuotaExecution { // how long they will take is not known
			cost[i] = l.rules[i].cost(messages, 0)
		}
	}
	return cost
}

// Drain is how long it takes until n requests could leave, if nobody else sends any:
// what is free goes at once, and the rest when what was used counts no more. Tight says
// that most of what is stated is used: then that is what is waited for.
func (l Look) Drain(messages int, n int64) (wait time.Duration, tight bool) {
	cost := l.cost(messages)
	for i := range l.rules {
		r := &l.rules[i]
		if cost[i] <= 0 || r.common <= 0 {
			continue
		}
		used := l.state.used(r)
		tight = tight || used >= r.common*8/10
		wait = max(wait, l.drain(r, n*cost[i]-(r.common-used), used))
	}
	return max(wait, time.Duration(l.state.Silent-l.now)*time.Microsecond), tight
}

// drain is how long it takes until need more of a window is free: what is used now comes
// free in its turn, is used at once, and so on.
func (l Look) drain(r *rule, need, used int64) time.Duration {
	if need <= 0 {
		return 0
	}
	turn := r.turn(l.ahead)
	round := max(used, r.common)
	full := (need - 1) / round
	rest := need - full*round
	at := turn // of what is free now and used at once
	for _, c := range l.state.Windows[r.name] {
		if rest -= c.N; rest <= 0 {
			at = max(time.Duration(c.At-l.now)*time.Microsecond+r.per+r.latency, 0)
			break
		}
	}
	return time.Duration(full)*turn + at
}

// Rate is how many requests a second may leave in the long run; +Inf for any number.
func (l Look) Rate(messages int) float64 {
	rate := math.Inf(1)
	for i, cost := range l.cost(messages) {
		if r := &l.rules[i]; cost > 0 {
			rate = min(rate, float64(r.common)/float64(cost)/r.turn(l.ahead).Seconds())
		}
	}
	return rate
}
