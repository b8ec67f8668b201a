package quota

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
)

type (
	// bill is what orders of one meter come to in a transaction. It is settled anew when
	// the transaction has to be.
	bill struct {
		name, holder string
		orders       []*order
		rules        []rule
		places       *rule
		ahead, lasts time.Duration // of tokens, and of places
		amends       map[amendKey]int64
		cost         func(Use) []int64
		spare        map[Use]int64 // tokens to take ahead
		open, want   int64         // requests under way, and places wanted
		silence      time.Duration
		end          bool

		// what came of it
		outcomes []outcome
		extra    map[Use][]token
		shut     map[Use]time.Duration // how long there is nothing
		silent   time.Duration
		lease    lease
	}
)

// bill takes from the meter what has to be known and told.
func (m *Meter) bill(orders []*order) *bill {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	b := &bill{name: m.name, holder: m.of.holder, orders: orders, rules: m.rules, places: m.places, ahead: m.ahead, lasts: m.of.options.Lease, spare: map[Use]int64{}, open: m.open}
	usual := m.usual
	b.cost = func(u Use) []int64 {
		cost := make([]int64, len(b.rules))
		for i := range b.rules {
			cost[i] = b.rules[i].cost(u.Messages, usual)
		}
		return cost
	}
	for u, p := range m.pools {
		p.tokens = m.giveBack(p.tokens, now)
		if len(p.tokens) == 0 && p.used == 0 && now.Sub(p.filled) > time.Minute {
			delete(m.pools, u)
			delete(m.shut, u)
		}
	}
	var entering int64
	for _, o := range orders {
		b.silence = max(b.silence, o.silence)
		b.end = b.end || o.end
		if !o.enters {
			continue
		}
		entering++
		p := m.pools[o.use]
		if p == nil {
			p = &pool{filled: now}
			m.pools[o.use] = p
		}
		if _, asked := b.spare[o.use]; !asked {
			b.spare[o.use] = p.rate(now, m.ahead)
		}
		p.used++
	}
	b.amends, m.amends = m.amends, map[amendKey]int64{}
	if m.due != nil {
		m.due.Stop()
		m.due = nil
	}
	if b.places != nil {
		// A few more than are in use, so that not each that comes has to ask.
		b.want = min(max(m.open, m.peak)+entering, b.places.most)
		if b.want > 0 {
			b.want = min(b.want+b.want/4+1, b.places.most)
		}
		m.peak, m.away = m.open, true
	}
	if b.end {
		b.want = m.open
	}
	return b
}

// rate is how many tokens are used in the time that they are good.
func (p *pool) rate(now time.Time, ahead time.Duration) int64 {
	span := max(now.Sub(p.filled), ahead)
	n := int64(float64(p.used) * float64(ahead) / float64(span))
	p.used, p.filled = 0, now
	return n
}

// settle changes the row.
func (b *bill) settle(ctx context.Context, tx pgx.Tx) error {
	return change(ctx, tx, b.name, b.against)
}

// against is what the orders come to by a state: its changes first, then the tokens, in
// the order in which they were asked for.
func (b *bill) against(s *state, now int64) {
	b.outcomes, b.extra, b.shut = make([]outcome, len(b.orders)), map[Use][]token{}, map[Use]time.Duration{}
	s.prune(b.rules, now, b.ahead)
	for i := range b.rules {
		r := &b.rules[i]
		if n := b.amends[amendKey{r.name, nowEnd}]; n != 0 {
			s.add(r.name, r.end(now), n)
		}
	}
	for k, n := range b.amends {
		if k.at != nowEnd {
			s.add(k.window, k.at, n)
		}
	}
	if b.silence > 0 {
		s.Silent = max(s.Silent, now+b.silence.Microseconds())
	}
	b.silent = time.Duration(s.Silent-now) * time.Microsecond
	free := b.leased(s, now)
	for i, o := range b.orders {
		if o.enters {
			b.outcomes[i] = b.one(s, o.use, &free, now)
		}
	}
	uses := slices.Collect(maps.Keys(b.spare))
	slices.SortFunc(uses, func(a, z Use) int {
		return cmp.Compare(a.order(), z.order())
	})
	for _, u := range uses {
		b.more(s, u, now)
	}
}

// leased renews the places, and gives how many of them are free: for common use, and
// for urgent besides.
func (b *bill) leased(s *state, now int64) (free [2]int64) {
	if b.places == nil {
		return [2]int64{1 << 40, 0}
	}
	urgent := slices.ContainsFunc(b.orders, func(o *order) bool { return o.enters && o.use.Urgent })
	b.lease = s.hold(b.places, b.holder, b.want, b.open, urgent, now+b.lasts.Microseconds())
	if b.want == 0 && b.open == 0 {
		delete(s.Leases, b.holder)
	}
	return [2]int64{b.lease.Common - b.open, b.lease.Urgent - max(b.open-b.lease.Common, 0)}
}

// one takes a token and a place for one request.
func (b *bill) one(s *state, u Use, free *[2]int64, now int64) outcome {
	if wait := b.shut[u]; wait > 0 {
		return outcome{wait: wait}
	}
	place := &free[0]
	if *place <= 0 && u.Urgent {
		place = &free[1]
	}
	cost := b.cost(u)
	n, wait := s.room(b.rules, cost, u.Urgent, 1, now)
	switch {
	case n == 0:
		b.shut[u] = wait
		return outcome{wait: wait}
	case *place <= 0:
		return outcome{wait: busyWait}
	}
	*place--
	t := b.token(s, cost, 1, now)
	return outcome{token: &t}
}

// more takes tokens ahead: never so many that others find nothing.
func (b *bill) more(s *state, u Use, now int64) {
	cost := b.cost(u)
	n, _ := s.room(b.rules, cost, u.Urgent, 8*b.spare[u], now)
	if n /= 8; n > 0 {
		t := b.token(s, cost, n, now)
		b.extra[u] = slices.Repeat([]token{t}, int(n))
	}
}

func (b *bill) token(s *state, cost []int64, n, now int64) token {
	t := token{cost: cost, ends: s.charge(b.rules, cost, n, now+b.ahead.Microseconds()), names: make([]string, len(b.rules))}
	for i := range b.rules {
		t.names[i] = b.rules[i].name
	}
	return t
}

// settled puts what came of a bill into the meter. When that is not known, what would
// be counted twice is not told again, and what would be missing is.
func (m *Meter) settled(b *bill, asked time.Time, err error) []outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = false
	if err != nil {
		certain := !fault.Is(err, fault.InDoubt)
		for k, n := range b.amends {
			if n > 0 || certain {
				m.amends[k] += n
			}
		}
		m.reportIn(time.Second)
		return make([]outcome, len(b.orders))
	}
	good := asked.Add(b.ahead)
	for i := range b.outcomes {
		if t := b.outcomes[i].token; t != nil {
			t.until = good
			m.open++
			m.peak = max(m.peak, m.open)
		}
	}
	now := time.Now()
	for u, tokens := range b.extra {
		for i := range tokens {
			tokens[i].until = good
		}
		p := m.pools[u]
		if m.closed || p == nil {
			for i := range tokens {
				m.void(&tokens[i])
			}
			continue
		}
		p.tokens = append(p.tokens, tokens...)
		time.AfterFunc(b.ahead, m.lapse)
	}
	for u, wait := range b.shut {
		m.shut[u] = refusal{now.Add(wait), now.Add(min(wait, heardFor))}
	}
	if until := now.Add(b.silent); until.After(m.silent) {
		m.silent = until
	}
	if m.places != nil {
		m.lease, m.until = b.lease, asked.Add(b.lasts*9/10)
		m.keep()
	}
	return b.outcomes
}

// lapse gives tokens back whose time is over.
func (m *Meter) lapse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, p := range m.pools {
		p.tokens = m.giveBack(p.tokens, now)
	}
}

// keep has the places renewed while there are any. mu is held.
func (m *Meter) keep() {
	if m.renew != nil {
		m.renew.Stop()
		m.renew = nil
	}
	if m.lease.Common+m.lease.Urgent > 0 && !m.closed {
		m.renew = time.AfterFunc(m.of.options.Lease/5, m.report)
	}
}
