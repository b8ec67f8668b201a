package quota

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

type (
	// state is what of the quotas of a connection is used. Times are microseconds since
	// 1970, by the clock of the database.
	state struct {
		Windows map[string]charges `json:"windows,omitempty"` // by rule
		Leases  map[string]lease   `json:"leases,omitempty"`  // by holder
		Silent  int64              `json:"silent,omitempty"`  // nothing is sent before
	}

	// charges are in the order of time.
	charges []charge

	// charge is what was used in one step, at its end.
	charge struct {
		At int64
		N  int64
	}

	// lease is how many requests a holder may have under way.
	lease struct {
		Common int64 `json:"c,omitempty"`
		Urgent int64 `json:"u,omitempty"` // besides, of what is reserved
		Until  int64 `json:"t"`
	}
)

// prune forgets what counts no more. What lies in the future, because a clock was put
// back, is as if it were of now.
func (s *state) prune(rules []rule, now int64, ahead time.Duration) {
	if s.Windows == nil {
		s.Windows = map[string]charges{}
	}
	known := make(map[string]bool, len(rules))
	for i := range rules {
		r := &rules[i]
		known[r.name] = true
		gone, latest := now-(r.per+r.latency).Microseconds(), now+(ahead+r.step).Microseconds()
		list := slices.DeleteFunc(s.Windows[r.name], func(c charge) bool { return c.At <= gone || c.N <= 0 })
		for j := range list {
			list[j].At = min(list[j].At, latest)
		}
		s.Windows[r.name] = list
	}
	// A window that this process does not know may be of one with other connections.
	old := now - (32 * 24 * time.Hour).Microseconds()
	maps.DeleteFunc(s.Windows, func(name string, list charges) bool {
		return !known[name] && (len(list) == 0 || list[len(list)-1].At < old)
	})
	maps.DeleteFunc(s.Leases, func(_ string, l lease) bool { return l.Until <= now || l.Common+l.Urgent == 0 })
}

func (s *state) used(r *rule) (n int64) {
	for _, c := range s.Windows[r.name] {
		n += c.N
	}
	return n
}

// room gives how many requests of a cost there is room for, at most want, and, when
// there is none for the first, how long that takes.
func (s *state) room(rules []rule, cost []int64, urgent bool, want, now int64) (n int64, wait time.Duration) {
	n = want
	for i := range rules {
		r := &rules[i]
		if cost[i] <= 0 {
			continue
		}
		free := r.limit(urgent) - s.used(r)
		n = min(n, max(free, 0)/cost[i])
		if over := cost[i] - free; over > 0 {
			wait = max(wait, s.frees(r, over, now))
		}
	}
	if left := s.Silent - now; left > 0 {
		return 0, max(wait, time.Duration(left)*time.Microsecond)
	}
	return n, wait
}

// frees is how long it takes until so much of a window counts no more.
func (s *state) frees(r *rule, over, now int64) time.Duration {
	for _, c := range s.Windows[r.name] {
		if over -= c.N; over <= 0 {
			return max(time.Duration(c.At-now)*time.Microsecond+r.per+r.latency, time.Millisecond)
		}
	}
	return r.per + r.latency
}

// charge counts n requests of a cost as used at a time, and gives the ends of the steps
// that they are in.
func (s *state) charge(rules []rule, cost []int64, n, at int64) []int64 {
	ends := make([]int64, len(rules))
	for i := range rules {
		ends[i] = rules[i].end(at)
		if cost[i] > 0 {
			s.add(rules[i].name, ends[i], n*cost[i])
		}
	}
	return ends
}

// end is the end of the step that a time is in.
func (r *rule) end(at int64) int64 {
	step := r.step.Microseconds()
	return (at + step - 1) / step * step
}

func (s *state) add(window string, at, n int64) {
	list := s.Windows[window]
	i, found := slices.BinarySearchFunc(list, at, func(c charge, at int64) int { return cmp.Compare(c.At, at) })
	switch {
	case found:
		list[i].N = max(list[i].N+n, 0)
	case n > 0:
		s.Windows[window] = slices.Insert(list, i, charge{at, n})
	}
}

// hold gives a holder places for want requests that run at a time, as far as there are,
// and never fewer than it has in use.
func (s *state) hold(r *rule, holder string, want, least int64, urgent bool, until int64) lease {
	var others int64
	for name, l := range s.Leases {
		if name != holder {
			others += l.Common + l.Urgent
		}
	}
	have := s.Leases[holder]
	l := lease{Until: until, Common: min(have.Common, want)}
	l.Urgent = min(have.Urgent, want-l.Common)
	if more := min(want-l.Common-l.Urgent, r.common-others-l.Common-l.Urgent); more > 0 {
		l.Common += more
	}
	if more := min(want-l.Common-l.Urgent, r.most-others-l.Common-l.Urgent); more > 0 && urgent {
		l.Urgent += more
	}
	if short := least - l.Common - l.Urgent; short > 0 { // it lapsed, and they are under way
		l.Urgent += short
	}
	if s.Leases == nil {
		s.Leases = map[string]lease{}
	}
	s.Leases[holder] = l
	return l
}

// MarshalJSON writes pairs of numbers, each time as what has passed since the one
// before: the row of a connection stays on its page.
func (c charges) MarshalJSON() ([]byte, error) {
	flat := make([]int64, 0, 2*len(c))
	before := int64(0)
	for _, one := range c {
		flat = append(flat, one.At-before, one.N)
		before = one.At
	}
	return json.Marshal(flat)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *charges) UnmarshalJSON(body []byte) error {
	var flat []int64
	if err := json.Unmarshal(body, &flat); err != nil {
		return fmt.Errorf("reading charges: %w", err)
	}
	if len(flat)%2 != 0 {
		return errors.New("charges come in pairs")
	}
	*c = make(charges, 0, len(flat)/2)
	at := int64(0)
	for ; len(flat) > 0; flat = flat[2:] {
		at += flat[0]
		*c = append(*c, charge{At: at, N: flat[1]})
	}
	return nil
}
