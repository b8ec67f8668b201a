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
	{"body", "one of malformed, truncated, endless, html, login", "spoil the answer of a call that is served (malformed, truncated, endless), or answer with a page in its place (html, login)", func(r *Rule) any { return &r.Body }},
	{"has_more_lies", "true or false", "oracle, sap: pages half as long as they could be; at oracle hasMore is true until a page is empty", func(r *Rule) any { return &r.HasMoreLies }},
	{"repeat_page", "true or false", "sap: every page ends with a link to itself", func(r *Rule) any { return &r.RepeatPage }},
	{"foreign_page", "true or false", "maersk: the next page is said to be at another host", func(r *Rule) any { return &r.ForeignPage }},
	{"expire_tokens", "true or false", "dataverse, graph: the tokens of change tracking are unknown, as after their days; sap: the CSRF token has expired", func(r *Rule) any { return &r.ExpireTokens }},
	{"truncate", "the logical name of a table, or *; with a length behind it, as in account/20", "dataverse: texts that are too long for their column, or longer than this, are cut and not refused", func(r *Rule) any { return &r.Truncate }},
	{"model", "one of " + strings.Join(Models, ", "), "model: answer wrongly: with other members than asked for, invented evidence or numbers, as a text in the rows tells it, with prose around the answer, not at all, half of it, an output short, as another version", func(r *Rule) any { return &r.Model }},
	{"document", "one of " + strings.Join(Documents, ", "), "graph: give the document another content while it is sent, send half of it wrong, heed no range, forget the upload", func(r *Rule) any { return &r.Document }},
	{"webhook", `an object such as {"duplicate": 5, "reorder": true, "drop": 0.1, "bad_signature": true}`, "dataverse, graph, maersk: send each webhook so many times at once, out of order, or leave out this share of them; maersk: sign them wrongly", func(r *Rule) any { return &r.Webhook }},
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
	check(r.Body == "" || slices.Contains([]string{Malformed, Truncated, Endless, HTML, Login}, r.Body),
		"body: %q is none of malformed, truncated, endless, html, login", r.Body)
	check(r.Model == "" || slices.Contains(Models, r.Model), "model: %q is none of %s", r.Model, strings.Join(Models, ", "))
	check(r.Document == "" || slices.Contains(Documents, r.Document), "document: %q is none of %s", r.Document, strings.Join(Documents, ", "))
	if w := r.Webhook; w != nil {
		check(w.Duplicate >= 0 && w.Duplicate <= 100, "webhook.duplicate: %d is not between 0 and 100", w.Duplicate)
		check(w.Drop >= 0 && w.Drop <= 1, "webhook.drop: %v is not between 0 and 1", w.Drop)
		check(w.Duplicate > 0 || w.Reorder || w.Drop > 0 || w.BadSignature, "webhook does nothing: give duplicate, reorder, drop or bad_signature")
	}
	check(r.Status != 0 || r.LatencyMS != 0 || r.DropAfterCommit || r.HasMoreLies || r.RepeatPage || r.ForeignPage || r.Body != "" || r.ExpireTokens || r.Truncate != "" || r.Model != "" || r.Document != "" || r.Webhook != nil,
		"the fault does nothing: give status, latency_ms, drop_after_commit, has_more_lies, repeat_page, foreign_page, body, expire_tokens, model, document or webhook")
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}
