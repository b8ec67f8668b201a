// Package faults holds what a test or a demo asks the sandbox to do wrong: the
// rules of each system, set and cleared over HTTP, gone when the process ends.
//
// The exchange asks Next for every call and acts on the answer, which is the
// first rule that strikes. Which calls a rate hits is decided by a counter and a fixed seed, so the same sequence of
// calls fails the same way again. It imports the standard library only; a Board
// is safe for concurrent use.
package faults

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What a body fault does to the answer.
const (
	Malformed = "malformed" // the call is served; its answer is whole on the wire and no JSON
	Truncated = "truncated" // the call is served; its answer stops half-way and the connection closes
	HTML      = "html"      // a gateway answers with a page instead of the system
	Login     = "login"     // a sign-in page with status 200 instead of the system
	Endless   = "endless"   // the call is served; its answer does not end until the caller hangs up
)

// What a model can be made to do.
const (
	WrongSchema     = "schema"   // answer with other members than were asked for
	InventEvidence  = "evidence" // cite rows that nobody showed it
	InventNumbers   = "numbers"  // write a number that nobody showed it
	Obey            = "obeys"    // do what a text in the rows tells it
	Prose           = "prose"    // talk around its answer
	RefuseToAnswer  = "refuses"  // say that it will not
	StopHalfway     = "length"   // stop at a limit of tokens
	FewerOutputs    = "fewer"    // leave out an element of its outputs
	SwitchedVersion = "switches" // be another version than the one asked for
)

// Models are the faults of a model.
var Models = []string{WrongSchema, InventEvidence, InventNumbers, Obey, Prose, RefuseToAnswer, StopHalfway, FewerOutputs, SwitchedVersion}

// Documents are the faults of a document: it gets another content while it is sent, half
// of what is sent is not what is stored, ranges are not heeded, the upload is forgotten.
var Documents = []string{"changes", "corrupts", "no-range", "forgets"}

type (
	// Rule is one fault. It applies to calls with Method (empty: all) whose path or
	// query has Path in it and whose path, query or body has Match, to the share Rate of them (0 and 1: all), at most Count
	// times (0: no end). Status answers instead of the system; DropAfterCommit
	// serves the call and then cuts the connection without an answer, whatever
	// Status says; HasMoreLies shortens pages, RepeatPage has them lead to themselves, ForeignPage to another host; LatencyMS waits first.
	Rule struct {
		Status          int     `json:"status,omitempty"`
		Rate            float64 `json:"rate,omitempty"`
		LatencyMS       int     `json:"latency_ms,omitempty"`
		RetryAfter      int     `json:"retry_after,omitempty"`
		DropAfterCommit bool    `json:"drop_after_commit,omitempty"`
		Count           int     `json:"count,omitempty"`
		HasMoreLies     bool    `json:"has_more_lies,omitempty"`
		RepeatPage      bool    `json:"repeat_page,omitempty"`
		ForeignPage     bool    `json:"foreign_page,omitempty"`
		Body            string  `json:"body,omitempty"`
		Method          string  `json:"method,omitempty"`
		Path            string  `json:"path,omitempty"`
		Match           string  `json:"match,omitempty"`
		// ExpireTokens makes the tokens of change tracking, or of a session, unknown. Webhook is about
		// what the system sends by itself; such a rule strikes no call.
		ExpireTokens bool `json:"expire_tokens,omitempty"`
		// Truncate has a table cut texts that are too long where it would refuse them; * is
		// every table. With a number behind a slash, as in account/20, texts are cut there.
		Truncate string   `json:"truncate,omitempty"`
		Model    string   `json:"model,omitempty"`    // what a model does wrong, one of Models
		Document string   `json:"document,omitempty"` // what is wrong with a document, one of Documents
		Webhook  *Webhook `json:"webhook,omitempty"`
	}

	// Call is what a rule can go by. Path is decoded, Query as it was sent.
	Call struct {
		Method, Path, Query string
		Body                []byte
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
		any  atomic.Bool // whether there is any rule

		mu    sync.Mutex
		rules map[string][]*State
	}
)

// New returns a board without rules.
func New(seed uint64) *Board { return &Board{seed: seed, rules: map[string][]*State{}} }

// Put sets the rules of a system, replacing those before.
func (b *Board) Put(system string, rules ...Rule) {
	states := make([]*State, len(rules))
	for i, r := range rules {
		states[i] = &State{Rule: r}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules[system] = states
	b.any.Store(true)
}

// Clear removes the rules of a system; an empty name removes all.
func (b *Board) Clear(system string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if system == "" {
		clear(b.rules)
	}
	delete(b.rules, system)
	b.any.Store(len(b.rules) > 0)
}

// Get is the rules of a system in the order in which they are tried.
func (b *Board) Get(system string) []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]State, len(b.rules[system]))
	for i, s := range b.rules[system] {
		list[i] = *s
	}
	return list
}

// Next says what to do to this call; the zero Rule is nothing. The first rule
// that matches, is not used up and is not spared by its rate strikes.
func (b *Board) Next(system string, c Call) Rule {
	if !b.any.Load() {
		return Rule{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.rules[system] {
		if s.Webhook != nil || s.Count > 0 && s.Struck >= s.Count || !s.matches(c) {
			continue
		}
		s.Matched++
		if s.Rate > 0 && s.Rate < 1 && b.draw(system, i, s.Matched) >= s.Rate {
			continue
		}
		s.Struck++
		return s.Rule
	}
	return Rule{}
}

func (r Rule) matches(c Call) bool {
	if r.Method != "" && !strings.EqualFold(r.Method, c.Method) {
		return false
	}
	if r.Path != "" && !c.address(r.Path) {
		return false
	}
	return r.Match == "" || c.address(r.Match) || bytes.Contains(c.Body, []byte(r.Match))
}

// address reports whether the path or the query, as sent or decoded, has text.
func (c Call) address(text string) bool {
	if strings.Contains(c.Path, text) || strings.Contains(c.Query, text) {
		return true
	}
	decoded, err := url.QueryUnescape(c.Query)
	return err == nil && strings.Contains(decoded, text)
}

// draw is a number in [0,1) that follows from the seed, the system, the rule's
// place and the count of matching calls.
func (b *Board) draw(system string, rule, n int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/%d/%d", b.seed, system, rule, n)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// Latency is how long to wait before the call is served.
func (r Rule) Latency() time.Duration { return time.Duration(r.LatencyMS) * time.Millisecond }
