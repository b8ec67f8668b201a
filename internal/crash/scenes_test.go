package crash

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"
)

// told is a case of either flow that goes through some states, one of which it is told
// twice and one of which nobody is to hear.
func told(w *walk, _ string) {
	for i, flow := range []string{"crash-case", "crash-ask"} {
		c := w.senders.open(flow, w.mark("case"))
		var events []event
		for n := range 3 + rand.N(3) {
			events = append(events, c.became(1+(n*n+i)%3))
		}
		w.senders.tell(flow, events)
	}
	silent := w.senders.open("crash-case", w.mark("case")+"-silent")
	w.senders.tell("crash-case", []event{silent.became(1)})
}

// unread is a change in Dataverse that is told without its record.
func unread(w *walk, step string) {
	w.senders.trimmed(w.far, w.moved(step))
}

// swept is a change in Dataverse that nobody tells of. The lease that a sweep has whose
// taker has ended is two minutes, which pass at once here.
func swept(w *walk, step string) {
	w.moved(step)
	if conn, err := w.owner(); err == nil {
		defer func() { _ = conn.Close(w.ctx) }()
		_, _ = conn.Exec(w.ctx, `update cursor set due_at = now()`)
	}
}

// moved gives the case in Dataverse its next status, and counts them.
func (w *walk) moved(step string) int {
	n := len(w.far.states)
	if err := w.senders.move(w.far, 1+n%4); err != nil {
		w.t.Errorf("%s: %v", step, err)
	}
	return n
}

// firstSwept makes a case in Dataverse once a sweep has seen what was there before: that
// is remembered, and nobody is told of it.
func (w *world) firstSwept() *aCase {
	w.t.Helper()
	w.sweptSince(time.Time{})
	c, err := w.senders.incident()
	require.NoError(w.t, err)
	return c
}

// sweptSince waits until a sweep that began after a moment has come to its end. One that
// was under way in a process that ended has a lease of two minutes, which pass at once
// here.
func (w *world) sweptSince(at time.Time) {
	w.t.Helper()
	conn, err := w.owner()
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(w.ctx) }()
	if !at.IsZero() {
		_, err = conn.Exec(w.ctx, `update cursor set due_at = now() where due_at > now()`)
		require.NoError(w.t, err)
	}
	w.await("swept", 2*time.Minute, func() bool {
		var since time.Time
		require.NoError(w.t, conn.QueryRow(w.ctx, `select coalesce(min(swept_at), 'epoch') from cursor`).Scan(&since))
		return since.After(at) && since.Year() > 1970
	})
}

// happen has cases change until it is enough: a few deliveries a second, beside a case
// in Dataverse of which some changes are told without the record and some not at all.
func (s *senders) happen(enough <-chan struct{}, far *aCase) {
	r := rand.New(rand.NewPCG(*seed, 3))
	var cases []*aCase
	for n := range 40 {
		name := fmt.Sprintf("K-%d", n)
		if n%10 == 9 {
			name += "-silent"
		}
		cases = append(cases, s.open([]string{"crash-case", "crash-ask"}[n%2], name))
	}
	for n := 0; ; n++ {
		select {
		case <-enough:
			return
		case <-s.w.ctx.Done():
			return
		case <-time.After(time.Duration(r.IntN(600)) * time.Millisecond):
		}
		c := cases[r.IntN(len(cases))]
		var events []event
		for range 1 + r.IntN(5) {
			events = append(events, c.became(1+r.IntN(3)))
		}
		s.tell(c.flow, events)
		if n%10 == 0 {
			if s.move(far, 1+n/10%4) == nil && n%20 == 0 {
				s.trimmed(far, n)
			}
		}
	}
}
