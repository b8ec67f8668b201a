package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// States are the states of the protocol at which a fault may strike, in order.
var States = []string{"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "quit"}

type (
	// Rule is one fault: at State, in the share Rate of the sessions that get there (0
	// and 1: all), at most Count times (0: no end), only where the line or the mail has
	// Match in it. Status is answered, and what was asked for is not done; without one
	// the connection is cut, in the middle of the data for "body", and after the mail
	// was stored for "dot". LatencyMS waits first; alone, it only waits.
	Rule struct {
		State     string  `json:"state"`
		Status    int     `json:"status,omitempty"`
		Cut       bool    `json:"cut,omitempty"`
		LatencyMS int     `json:"latency_ms,omitempty"`
		Rate      float64 `json:"rate,omitempty"`
		Count     int     `json:"count,omitempty"`
		Match     string  `json:"match,omitempty"`
	}

	// State is a rule and how often it has struck.
	State struct {
		Rule
		Matched int `json:"matched"`
		Struck  int `json:"struck"`
	}

	// Board holds the rules; it is safe for concurrent use.
	Board struct {
		mu    sync.Mutex
		rules []*State
	}
)

// ErrRead marks what is no rule at all, as opposed to a rule that makes no sense.
var ErrRead = errors.New("the fault cannot be read")

// Read reads one rule, or an array of them, from JSON.
func Read(text []byte) ([]Rule, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	var rules []Rule
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&rules); err != nil || len(rules) == 0 || len(rules) > 100 {
		return nil, fmt.Errorf(`%w: it is one JSON object, such as {"state": "rcpt", "status": 550, "count": 1}, or an array of 1 to 100; its fields are state, status, cut, latency_ms, rate, count, match`, ErrRead)
	}
	var all []string
	for i, r := range rules {
		if why := r.wrong(); why != "" {
			all = append(all, fmt.Sprintf("rule %d: %s", i+1, why))
		}
	}
	if len(all) > 0 {
		return nil, errors.New(strings.Join(all, "; "))
	}
	return rules, nil
}

func (r Rule) wrong() string {
	switch {
	case !slices.Contains(States, r.State):
		return fmt.Sprintf("state: %q is none of %s", r.State, strings.Join(States, ", "))
	case r.Status != 0 && (r.Status < 400 || r.Status > 599):
		return fmt.Sprintf("status: %d is not between 400 and 599", r.Status)
	case r.Status != 0 && r.Cut:
		return "status and cut: give one of the two"
	case r.Status != 0 && r.State == "body":
		return "status: in the middle of the data a server cannot answer; give cut, or the state dot"
	case r.Status == 0 && !r.Cut && r.LatencyMS == 0:
		return "the fault does nothing: give status, cut or latency_ms"
	case r.Rate < 0 || r.Rate > 1:
		return fmt.Sprintf("rate: %v is not between 0 and 1", r.Rate)
	case r.Count < 0 || r.LatencyMS < 0 || r.LatencyMS > 600_000:
		return "count is from 0 on, latency_ms from 0 to 600000"
	}
	return ""
}

// Put sets the rules, replacing those before; without any it clears them.
func (b *Board) Put(rules ...Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = nil
	for _, r := range rules {
		b.rules = append(b.rules, &State{Rule: r})
	}
}

// Get is the rules in the order in which they are tried.
func (b *Board) Get() []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]State, len(b.rules))
	for i, s := range b.rules {
		list[i] = *s
	}
	return list
}

// next is the first rule that strikes at a state, nil for none.
func (b *Board) next(state, text string) *Rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.rules {
		if s.State != state || s.Count > 0 && s.Struck >= s.Count || !strings.Contains(text, s.Match) {
			continue
		}
		s.Matched++
		if s.Rate > 0 && s.Rate < 1 && draw(i, s.Matched) >= s.Rate {
			continue
		}
		s.Struck++
		r := s.Rule
		return &r
	}
	return nil
}

// draw is a number in [0,1) that follows from the rule's place and the count of
// matches: the same sequence fails the same way again.
func draw(rule, n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "mail/%d/%d", rule, n)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// limit counts the mails of the last minute.
type limit struct {
	mu     sync.Mutex
	most   int // 0: no limit
	window time.Duration
	taken  []time.Time
}

func (l *limit) set(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most, l.taken = most, nil
}

func (l *limit) get() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// allow takes a place for one mail, or says that there is none.
func (l *limit) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most == 0 {
		return true
	}
	l.taken = slices.DeleteFunc(l.taken, func(at time.Time) bool { return now.Sub(at) >= l.window })
	if len(l.taken) >= l.most {
		return false
	}
	l.taken = append(l.taken, now)
	return true
}
