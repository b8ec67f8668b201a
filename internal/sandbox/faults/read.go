package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Field is one field of a rule, in the words of whoever sets it. Value says what
// may stand there.
type Field struct {
	Name, Value, Meaning string

	of func(*Rule) any
}

// Fields are the fields of a rule in the order in which to learn them.
var Fields = []Field{
	{"status", "a whole number from 300 to 599", "answer so, and do not let the call reach the system", func(r *Rule) any { return &r.Status }},
	{"retry_after", "a whole number of seconds", "with status: say when to come again", func(r *Rule) any { return &r.RetryAfter }},
	{"drop_after_commit", "true or false", "do what was asked, then cut the connection without an answer", func(r *Rule) any { return &r.DropAfterCommit }},
	{"latency_ms", "a whole number of milliseconds", "wait before the call is served", func(r *Rule) any { return &r.LatencyMS }},
	{"body", "one of malformed, truncated, html, login", "spoil the answer of a call that is served (malformed, truncated), or answer with a page in its place (html, login)", func(r *Rule) any { return &r.Body }},
	{"has_more_lies", "true or false", "oracle: pages half as long as they could be, and hasMore true until a page is empty", func(r *Rule) any { return &r.HasMoreLies }},
	{"method", "an HTTP method", "only calls with this method", func(r *Rule) any { return &r.Method }},
	{"path", "some text", "only calls with this text in their path or query", func(r *Rule) any { return &r.Path }},
	{"match", "some text", "only calls with this text in their path, query or body, for example a product's number", func(r *Rule) any { return &r.Match }},
	{"count", "a whole number", "only so many times; 0 is no end", func(r *Rule) any { return &r.Count }},
	{"rate", "a number from 0 to 1", "only this share of the calls; 0 and 1 are all of them", func(r *Rule) any { return &r.Rate }},
}

// ErrRead marks what is no rule at all, as opposed to a rule that makes no sense.
var ErrRead = errors.New("the fault cannot be read")

// maxRules bounds the rules of one system.
const maxRules = 100

// Read reads one rule, or an array of rules, from JSON and checks them. Its errors
// are sentences for whoever wrote the JSON.
func Read(text []byte) ([]Rule, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		rule, err := read(text)
		return []Rule{rule}, err
	}
	var given []json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil || len(given) == 0 || len(given) > maxRules {
		return nil, fmt.Errorf("%w: several are a JSON array of 1 to %d objects; DELETE clears", ErrRead, maxRules)
	}
	rules := make([]Rule, len(given))
	for i, one := range given {
		var err error
		if rules[i], err = read(one); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return rules, nil
}

func read(text []byte) (Rule, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil || given == nil {
		return Rule{}, fmt.Errorf(`%w: it is one JSON object, such as {"status": 503, "count": 1}, or an array of them`, ErrRead)
	}
	var rule Rule
	for _, f := range Fields {
		raw, ok := given[f.Name]
		if ok && json.Unmarshal(raw, f.of(&rule)) != nil {
			return Rule{}, fmt.Errorf("%w: %s is %s, not %s", ErrRead, f.Name, f.Value, raw)
		}
		delete(given, f.Name)
	}
	for name := range given {
		return Rule{}, fmt.Errorf("%w: it has no field %q; there are %s", ErrRead, name, strings.Join(names(), ", "))
	}
	return rule, rule.Validate()
}

func names() []string {
	list := make([]string, len(Fields))
	for i, f := range Fields {
		list[i] = f.Name
	}
	return list
}

// Validate says everything that is wrong with a rule, on one line.
func (r Rule) Validate() error {
	var all []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	check(r.Status == 0 || r.Status >= 300 && r.Status <= 599, "status: %d is not between 300 and 599", r.Status)
	check(r.Rate >= 0 && r.Rate <= 1, "rate: %v is not between 0 and 1", r.Rate)
	check(r.LatencyMS >= 0 && r.LatencyMS <= 600_000, "latency_ms: %d is not between 0 and 600000", r.LatencyMS)
	check(r.RetryAfter >= 0, "retry_after: %d is below 0", r.RetryAfter)
	check(r.Count >= 0, "count: %d is below 0", r.Count)
	check(r.Body == "" || slices.Contains([]string{Malformed, Truncated, HTML, Login}, r.Body),
		"body: %q is none of malformed, truncated, html, login", r.Body)
	check(r.Status != 0 || r.LatencyMS != 0 || r.DropAfterCommit || r.HasMoreLies || r.Body != "",
		"the fault does nothing: give status, latency_ms, drop_after_commit, has_more_lies or body")
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}
