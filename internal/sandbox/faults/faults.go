// Package faults holds what a test or a demo asks the sandbox to do wrong: one
// rule a system, set and cleared over HTTP, gone when the process ends.
//
// The exchange asks Next for every call and acts on the answer. Which calls a
// rate hits is decided by a counter and a fixed seed, so the same sequence of
// calls fails the same way again. It imports the standard library only; a Board
// is safe for concurrent use.
package faults

import (
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"sync"
	"time"
)

// What a body fault does to the answer.
const (
	Malformed = "malformed" // the call is served; its answer is whole on the wire and no JSON
	Truncated = "truncated" // the call is served; its answer stops half-way and the connection closes
	HTML      = "html"      // a gateway answers with a page instead of the system
	Login     = "login"     // a sign-in page with status 200 instead of the system
)

type (
	// Rule is one fault. It applies to calls with Method (empty: all) whose path or
	// query has Path in it, to the share Rate of them (0 and 1: all), at most Count
	// times (0: no end). Status answers instead of the system; DropAfterCommit
	// serves the call and then cuts the connection without an answer, whatever
	// Status says; HasMoreLies shortens Oracle's pages; LatencyMS waits first.
	Rule struct {
		Status          int     `json:"status,omitempty"`
		Rate            float64 `json:"rate,omitempty"`
		LatencyMS       int     `json:"latency_ms,omitempty"`
		RetryAfter      int     `json:"retry_after,omitempty"`
		DropAfterCommit bool    `json:"drop_after_commit,omitempty"`
		Count           int     `json:"count,omitempty"`
		HasMoreLies     bool    `json:"has_more_lies,omitempty"`
		Body            string  `json:"body,omitempty"`
		Method          string  `json:"method,omitempty"`
		Path            string  `json:"path,omitempty"`
	}

	// State is a rule and how often it has struck.
	State struct {
		Rule
		Matched int `json:"matched"`
		Struck  int `json:"struck"`
	}

	// Board holds the rules by system.
	Board struct {
		seed uint64

		mu    sync.Mutex
		rules map[string]*State
	}
)

// New returns a board without rules.
func New(seed uint64) *Board { return &Board{seed: seed, rules: map[string]*State{}} }

// Put sets the rule of a system, replacing the one before.
func (b *Board) Put(system string, r Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules[system] = &State{Rule: r}
}

// Clear removes the rule of a system; an empty name removes all.
func (b *Board) Clear(system string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if system == "" {
		clear(b.rules)
		return
	}
	delete(b.rules, system)
}

// Get is the rule of a system.
func (b *Board) Get(system string) (State, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.rules[system]
	if !ok {
		return State{}, false
	}
	return *s, true
}

// All is every rule by system.
func (b *Board) All() map[string]State {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]State, len(b.rules))
	for name, s := range maps.All(b.rules) {
		out[name] = *s
	}
	return out
}

// Next says what to do to this call; the zero Rule is nothing.
func (b *Board) Next(system, method, path, query string) Rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.rules[system]
	if s == nil || s.Count > 0 && s.Struck >= s.Count {
		return Rule{}
	}
	if s.Method != "" && !strings.EqualFold(s.Method, method) ||
		s.Path != "" && !strings.Contains(path, s.Path) && !strings.Contains(query, s.Path) {
		return Rule{}
	}
	s.Matched++
	if s.Rate > 0 && s.Rate < 1 && b.draw(system, s.Matched) >= s.Rate {
		return Rule{}
	}
	s.Struck++
	return s.Rule
}

// draw is a number in [0,1) that follows from the seed, the system and the
// count of matching calls.
func (b *Board) draw(system string, n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%d", b.seed, system, n)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// Latency is how long to wait before the call is served.
func (r Rule) Latency() time.Duration { return time.Duration(r.LatencyMS) * time.Millisecond }
