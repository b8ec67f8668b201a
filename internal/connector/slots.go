package connector

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	// patience is how far off a caller's end may be for it to count as one in a
	// hurry: a request of its own holds a slot no longer, whatever the system does.
	patience = 3 * time.Second
	// outlier bounds what one request that was held up adds to the usual time of a
	// request: so many times the usual. Only many slow ones in a row make it slow.
	outlier = 4
)

type (
	// slots are the requests of one connection that may run at once. They are given
	// in the order in which they were asked for.
	//
	// A request that hangs holds its slot until its caller gives up. Callers that
	// can wait long never hold all slots: a quarter is kept for those in a hurry
	// (the items of a batch), so that a few requests hanging for the whole of the
	// connection's timeout do not stop everybody. It is safe for concurrent use.
	slots struct {
		size int
		kept int // for callers in a hurry

		mu      sync.Mutex
		held    list.List    // *slot, in the order in which they were taken
		patient int          // held by callers that can wait
		queues  [2]list.List // *waiter: in a hurry, and those that can wait
		asked   uint64       // numbers the waiters
		usual   time.Duration
	}

	// slot is one that is held.
	slot struct {
		since   time.Time
		patient bool
		place   *list.Element
	}

	waiter struct {
		number  uint64
		patient bool
		given   chan *slot // of one, so that giving never waits
		place   *list.Element
	}
)

func newSlots(size int) *slots {
	return &slots{size: size, kept: size / 4}
}

// patientUntil reports whether the end of ctx is so far off, or nowhere, that a
// request of its own may hang for long.
func patientUntil(ctx context.Context, now time.Time) bool {
	end, ok := ctx.Deadline()
	return !ok || end.Sub(now) > patience
}

// ask takes a slot, or joins the queue and says how long a slot will take as far
// as one can tell.
func (s *slots) ask(patient bool, now time.Time) (*slot, *waiter, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room(patient) && s.queues[queue(patient)].Len() == 0 {
		return s.take(patient, now), nil, 0
	}
	w := &waiter{number: s.asked, patient: patient, given: make(chan *slot, 1)}
	s.asked++
	estimate := s.estimate(s.queues[0].Len()+s.queues[1].Len()+1, now)
	w.place = s.queues[queue(patient)].PushBack(w)
	return nil, w, estimate
}

// give up takes a waiter out of the queue; a slot that it was given meanwhile goes
// to the next.
func (s *slots) giveUp(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case taken := <-w.given:
		s.drop(taken)
	default:
		s.queues[queue(w.patient)].Remove(w.place)
	}
	s.serve(time.Now())
}

// leave gives a slot back.
func (s *slots) leave(x *slot) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	took := now.Sub(x.since)
	if s.usual > 0 {
		took = min(took, outlier*s.usual+10*time.Millisecond)
		took = s.usual + (took-s.usual)/8
	}
	s.usual = took
	s.drop(x)
	s.serve(now)
}

// time is how long a request usually takes.
func (s *slots) time() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usual
}

// wait is how long somebody who asked now would wait.
func (s *slots) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.estimate(s.queues[0].Len()+s.queues[1].Len()+1, time.Now())
}

func queue(patient bool) int {
	if patient {
		return 1
	}
	return 0
}

func (s *slots) room(patient bool) bool {
	return s.held.Len() < s.size && (!patient || s.patient < s.size-s.kept)
}

func (s *slots) take(patient bool, now time.Time) *slot {
	x := &slot{since: now, patient: patient}
	x.place = s.held.PushBack(x)
	if patient {
		s.patient++
	}
	return x
}

func (s *slots) drop(x *slot) {
	s.held.Remove(x.place)
	if x.patient {
		s.patient--
	}
}

// serve gives free slots to those who asked first.
func (s *slots) serve(now time.Time) {
	for {
		w := s.next()
		if w == nil {
			return
		}
		s.queues[queue(w.patient)].Remove(w.place)
		w.given <- s.take(w.patient, now)
	}
}

// next is the first waiter for whom there is room. One that can wait is passed by
// those in a hurry while only kept slots are free, and never the other way round.
func (s *slots) next() *waiter {
	var first *waiter
	for i := range s.queues {
		if front := s.queues[i].Front(); front != nil && s.room(i == 1) {
			if w := front.Value.(*waiter); first == nil || w.number < first.number {
				first = w
			}
		}
	}
	return first
}

// estimate is how long the nth in the queue waits if requests go on taking what
// they usually take, or what half of those under way have taken already: a few
// that hang tell nothing about the rest.
func (s *slots) estimate(n int, now time.Time) time.Duration {
	each := s.usual
	middle := s.held.Front()
	for range s.held.Len() / 2 {
		middle = middle.Next()
	}
	if middle != nil {
		each = max(each, now.Sub(middle.Value.(*slot).since))
	}
	return time.Duration(n) * each / time.Duration(s.size)
}
