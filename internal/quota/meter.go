package quota

import (
	"context"
	"sync"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Meter is asked before each request of one connection leaves. It is safe for
	// concurrent use.
	Meter struct {
		of   *Quotas
		name string

		mu     sync.Mutex
		rules  []rule
		places *rule // nil: any number at a time
		ahead  time.Duration
		pools  map[Use]*pool
		shut   map[Use]refusal
		silent time.Time // nothing is sent before
		usual  time.Duration
		amends map[amendKey]int64
		due    *time.Timer // reports what is to be amended; nil: nothing is
		lease  lease       // Until is not used
		until  time.Time   // the places are ours
		renew  *time.Timer // nil: there are none
		open   int64       // requests under way
		away   bool        // an order is: it has the free places
		peak   int64       // of them since the last renewal
		closed bool
	}

	// pool is what was taken ahead for one kind of use.
	pool struct {
		tokens []token // the same but for when they end; the newest last
		used   int     // since it was filled last
		filled time.Time
	}

	// token is the right to send one request.
	token struct {
		cost  []int64
		ends  []int64   // the steps that it is charged to, by rule
		names []string  // of the rules
		until time.Time // it is good
	}

	amendKey struct {
		window string
		at     int64
	}

	// refusal is what was heard: nothing before until, and asking makes no sense before
	// again. Others may give something back meanwhile.
	refusal struct{ until, again time.Time }
)

const (
	// patience is how long a request waits for its turn.
	patience = time.Second
	// reportAfter is how long what is to be amended waits for company.
	reportAfter = 50 * time.Millisecond
	// heardFor is how long a refusal is taken for granted.
	heardFor = 250 * time.Millisecond
	// busyWait is how soon places are asked for again that others have.
	busyWait = 25 * time.Millisecond
)

func usually(speed float64) time.Duration {
	return time.Duration(float64(200*time.Millisecond) / max(speed, 1))
}

// set takes the quotas as they are stated now.
func (m *Meter) set(quotas []flow.Quota) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules, m.places, m.ahead = rulesOf(quotas, m.of.options.Speed)
	if m.places == nil {
		m.lease = lease{}
	}
}

// Enter takes what a request uses, and waits for it for at most a second, and not until
// the end of ctx; what takes longer is Throttled "quota.used_up" with the time. leave
// must be called when the request is over, with how long that took; 0 says that it was
// not sent.
func (m *Meter) Enter(ctx context.Context, u Use) (leave func(took time.Duration), err error) {
	begun := time.Now()
	last := begun.Add(patience)
	if end, ok := ctx.Deadline(); ok {
		if half := begun.Add(end.Sub(begun) / 2); half.Before(last) {
			last = half
		}
	}
	for {
		t, wait, err := m.take(ctx, u)
		switch {
		case err != nil:
			return nil, err
		case t != nil:
			return m.leaver(t), nil
		case time.Now().Add(wait).After(last):
			return nil, m.usedUp(wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

func (m *Meter) usedUp(wait time.Duration) error {
	const least = 20 * time.Millisecond
	return fault.ThrottledFor(max(wait, least), "quota.used_up", "what the provider of "+m.name+" states as its limit is used up", nil)
}

// take gives a token that there is, or asks for one.
func (m *Meter) take(ctx context.Context, u Use) (*token, time.Duration, error) {
	m.mu.Lock()
	for i := range m.rules {
		if c := m.rules[i].cost(u.Messages, m.usual); c > m.rules[i].limit(u.Urgent) {
			m.mu.Unlock()
			return nil, 0, fault.New(fault.Rejected, "quota.too_large", "one request would use more than all that "+m.name+" allows at a time", nil)
		}
	}
	now := time.Now()
	var t *token
	wait := m.silent.Sub(now)
	if wait <= 0 {
		t = m.grab(u, now)
	}
	if heard := m.shut[u]; t == nil && now.Before(heard.again) {
		wait = max(wait, heard.until.Sub(now))
	}
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return nil, 0, fault.ThrottledFor(time.Second, "quota.closed", "the process stops", nil)
	}
	if t != nil || wait > 0 {
		return t, wait, nil
	}
	got, err := m.of.orders.Do(ctx, &order{meter: m, use: u, enters: true})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case err != nil:
		return nil, 0, fault.ThrottledFor(time.Second, "quota.unknown", "what is left of the quota of "+m.name+" is not known: the database does not answer", err)
	}
	return got.token, max(got.wait, time.Millisecond), nil
}

// grab takes a token from a pool if there is a place, too. mu is held.
func (m *Meter) grab(u Use, now time.Time) *token {
	p := m.pools[u]
	if p == nil {
		return nil
	}
	p.tokens = m.giveBack(p.tokens, now)
	if len(p.tokens) == 0 || !m.place(u.Urgent, now) {
		return nil
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	p.used++
	return &t
}

// place takes a place for a request that runs. mu is held.
func (m *Meter) place(urgent bool, now time.Time) bool {
	if m.places != nil {
		have := m.lease.Common
		if urgent {
			have += m.lease.Urgent
		}
		if m.away || m.open >= have || !now.Before(m.until) {
			return false
		}
	}
	m.open++
	m.peak = max(m.peak, m.open)
	return true
}

// giveBack gives the tokens that are good still; the others are given back. mu is held.
func (m *Meter) giveBack(tokens []token, now time.Time) []token {
	n := 0
	for n < len(tokens) && !now.Before(tokens[n].until) {
		m.void(&tokens[n])
		n++
	}
	return tokens[n:]
}

// void takes a token's charges back. mu is held.
func (m *Meter) void(t *token) {
	for i, c := range t.cost {
		m.amend(t.names[i], t.ends[i], -c)
	}
}

// amend notes what is to be changed, and has it reported soon. mu is held.
func (m *Meter) amend(window string, at, n int64) {
	if n == 0 {
		return
	}
	m.amends[amendKey{window, at}] += n
	m.reportIn(reportAfter)
}

// reportIn has what is to be amended told. mu is held.
func (m *Meter) reportIn(d time.Duration) {
	if m.due == nil && !m.closed {
		m.due = time.AfterFunc(d, m.report)
	}
}

// report has everything settled that waits to be.
func (m *Meter) report() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	_, _ = m.of.orders.Do(ctx, &order{meter: m}) // what matters is kept for the next time
}

// Silence has everybody who calls the system leave it alone for d, because it asked for
// it. It does not block.
func (m *Meter) Silence(d time.Duration) {
	until := time.Now().Add(d)
	m.mu.Lock()
	if m.silent.Before(until) {
		m.silent = until
	}
	for _, p := range m.pools {
		for i := range p.tokens {
			m.void(&p.tokens[i])
		}
		p.tokens = nil
	}
	m.mu.Unlock()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		_, _ = m.of.orders.Do(ctx, &order{meter: m, silence: time.Until(until)})
	}()
}

// leaver ends a request once. What it took is charged instead of what was estimated,
// and to the time when it ended: the provider may have counted it as late.
func (m *Meter) leaver(t *token) func(took time.Duration) {
	var once sync.Once
	stop := m.renewing(t)
	return func(took time.Duration) { once.Do(func() { stop(); m.leave(t, took) }) }
}

// renewing charges what a request uses again and again while it is under way, each time
// a little before the charge of before counts no more: the provider may count it as late
// as it answers, and that may be windows later.
func (m *Meter) renewing(t *token) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stops []func() bool
	for i := range m.rules {
		r := m.rules[i]
		if i >= len(t.names) || r.name != t.names[i] || t.cost[i] == 0 {
			continue
		}
		var timer *time.Timer
		ended := false
		timer = time.AfterFunc(r.renewed(), func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if !ended && !m.closed {
				m.amend(r.name, nowEnd, t.cost[i])
				timer.Reset(r.renewed())
			}
		})
		stops = append(stops, func() bool { ended = true; return timer.Stop() })
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, stop := range stops {
			stop()
		}
	}
}

func (m *Meter) leave(t *token, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open--
	if took <= 0 {
		m.void(t)
		return
	}
	m.usual += (took - m.usual) / 8
	for i := range m.rules {
		r := &m.rules[i]
		if i >= len(t.names) || r.name != t.names[i] || t.cost[i] == 0 {
			continue // the quotas are others by now
		}
		n := t.cost[i]
		if r.kind == flow.QuotaExecution {
			n = took.Microseconds()
		} else if took < r.latency {
			continue
		}
		m.amend(r.name, t.ends[i], -t.cost[i])
		m.amend(r.name, nowEnd, n)
	}
}

// nowEnd stands for the step of the time when it is settled.
const nowEnd = -1

// stop gives everything back that is taken ahead; false when there is nothing to tell.
func (m *Meter) stop() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pools {
		for i := range p.tokens {
			m.void(&p.tokens[i])
		}
		p.tokens = nil
	}
	m.closed = true
	for _, t := range []*time.Timer{m.due, m.renew} {
		if t != nil {
			t.Stop()
		}
	}
	return len(m.amends) > 0 || m.lease.Common+m.lease.Urgent > 0
}
