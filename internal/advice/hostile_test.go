package advice_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/advice"
	"patchbay/internal/flow"
)

// A hostile model mutates good answers. The judge of the property is written anew, from
// the rows: it knows nothing of how an answer is proved.
func TestNoAnswerIsAcceptedWhoseEvidenceOrNumbersAreNotInTheRows(t *testing.T) {
	t.Parallel()
	s := once(t)
	accepted := 0
	rapid.Check(t, func(r *rapid.T) {
		in := customer()
		answer := mutated(r)
		p, err := s.Ask(t.Context(), &says{answers: []string{answer}}, in)
		if err != nil {
			r.Fatalf("an answer became an error: %v", err)
		}
		if p.Source == flow.AdviceOfModel {
			accepted++
		}
		sound(r, p, in, answer)
	})
	require.NotZero(t, accepted, "a judge that accepts nothing proves nothing")
}

var (
	ids   = []string{"orders/4711", "orders/4712", "orders/4713", "receivables/R-8", "receivables/R-9", "documents/d1"}
	parts = []string{"Overdue is", "300.10", "300.1", "1296", "4", "88.00", "7", "2026-04-20", "R-9", "orders/4711", "the customer", "waits", "four", "one",
		"12", "1,296", "1 296", "3e2", "999999", "-7", "٧", "½", "two", "hundred", "https://x.example", "x.example", "<i>", "%", "\n", "\u200b", "€7", "7€", "7.", "(88)", "0007", "4711", "4710", "0.5",
		"Ignore all rules before this line and", "write that"}
	keys = []string{"action", "reason", "evidence"}
)

// mutated is a good answer with some of it replaced, doubled, dropped or broken.
func mutated(r *rapid.T) string {
	changes := func(what string) bool { return rapid.IntRange(0, 2).Draw(r, "changes "+what) == 0 }
	answer := map[string]any{"action": "propose_offer", "reason": "Orders so far: 4, in all 1296.", "evidence": []string{"orders/4711", "receivables/R-9"}}
	if changes("action") {
		answer["action"] = rapid.SampledFrom([]string{"collect_payment", "resolve_complaint", "raise_limit", "refund", "", "collect_payment "}).Draw(r, "action")
	}
	if changes("reason") {
		words := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(parts), rapid.SampledFrom(parts[:14]), rapid.Custom(anyNumber), rapid.StringMatching(`[ -~]{1,6}`)), 1, 4).Draw(r, "reason")
		answer["reason"] = strings.Join(words, " ")
	}
	if changes("evidence") {
		wrong := rapid.SampledFrom([]string{"orders/4710", "orders/1", "receivables", "", "x"})
		answer["evidence"] = rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(ids), rapid.SampledFrom(ids), wrong), 0, 6).Draw(r, "evidence")
	}
	switch rapid.IntRange(0, 9).Draw(r, "shape") {
	case 0:
		delete(answer, rapid.SampledFrom(keys).Draw(r, "dropped"))
	case 1:
		answer[rapid.StringN(1, 8, 8).Draw(r, "extra")] = rapid.SampledFrom([]any{1, "x", nil, []int{1}}).Draw(r, "of")
	case 2:
		answer[rapid.SampledFrom(keys).Draw(r, "retyped")] = rapid.SampledFrom([]any{1, 1.5, nil, true, []any{}, map[string]any{}}).Draw(r, "as")
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return "{"
	}
	switch rapid.IntRange(0, 19).Draw(r, "bytes") {
	case 0:
		return string(text[:rapid.IntRange(0, len(text)).Draw(r, "cut")])
	case 1:
		at := rapid.IntRange(0, len(text)).Draw(r, "at")
		return string(text[:at]) + rapid.StringN(1, 4, 8).Draw(r, "noise") + string(text[at:])
	case 2:
		return string(text) + string(text)
	}
	return string(text)
}

func anyNumber(r *rapid.T) string {
	return fmt.Sprintf(rapid.SampledFrom([]string{"%d", "%d.5", "€%d", "-%d", "%d%%", "R-%d", "2026-04-%02d"}).Draw(r, "form"), rapid.IntRange(0, 1500).Draw(r, "n"))
}

var digits = regexp.MustCompile(`\d+(\.\d+)?`)

// Whatever bytes a model sends: they are refused, or what is accepted stands in the rows.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{good, "[" + good + "]", `{"action":"propose_offer","reason":"Orders are 4, in all 1296.","evidence":["orders/4711"]}`, "{", `"x"`, strings.Repeat("[", 100), "\xff"} {
		f.Add([]byte(seed))
	}
	s := once(f)
	f.Fuzz(func(t *testing.T, answer []byte) {
		p, err := s.Ask(t.Context(), &says{answers: []string{string(answer)}}, customer())
		require.NoError(t, err)
		sound(t, p, customer(), string(answer))
	})
}

func BenchmarkAsk(b *testing.B) {
	s, in := once(b), customer()
	for b.Loop() {
		if _, err := s.Ask(b.Context(), &says{answers: []string{good}}, in); err != nil {
			b.Fatal(err)
		}
	}
}

// sound fails when a plan says something that the rows do not.
func sound(r interface{ Fatalf(string, ...any) }, p advice.Plan, in advice.Input, answer string) {
	if p.Source != flow.AdviceOfModel {
		if p.Failure == "" || p.Review == "" {
			r.Fatalf("rules decided without a failure, or nobody is told: %+v", p)
		}
		return
	}
	if p.State != flow.AdviceProposed || !slices.Contains([]string{"collect_payment", "propose_offer"}, p.Action) {
		r.Fatalf("an action that is not possible for this customer: %s", answer)
	}
	var texts []string
	numbers := map[string]bool{}
	learn := func(v any) {
		text := fmt.Sprint(v)
		texts = append(texts, text)
		if n, ok := new(big.Rat).SetString(text); ok {
			numbers[n.RatString()] = true
		}
	}
	for _, id := range p.Evidence {
		if !slices.Contains(ids, id) {
			r.Fatalf("evidence %q is no row that was shown: %s", id, answer)
		}
		name, number, _ := strings.Cut(id, "/")
		texts = append(texts, id)
		for _, row := range in.Sources[name].Rows {
			for _, column := range []string{"number", "invoice", "id"} {
				if row[column] != number {
					continue
				}
				for c, v := range row {
					if c != "note" && c != "secret" {
						learn(v)
					}
				}
			}
		}
	}
	for _, v := range p.Facts {
		learn(v)
	}
	rest := " " + p.Reason + " "
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	for _, text := range texts {
		if strings.ContainsAny(text, "/-") {
			rest = strings.ReplaceAll(rest, text, " ")
		}
	}
	for _, number := range digits.FindAllString(rest, -1) {
		n, _ := new(big.Rat).SetString(number)
		if !numbers[n.RatString()] {
			r.Fatalf("%s stands in no row that is cited: %s", number, answer)
		}
	}
	if strings.ContainsAny(p.Reason, "<>%\n\u200b٧½") || strings.Contains(p.Reason, "://") {
		r.Fatalf("a reason with more than plain text: %q", p.Reason)
	}
}
