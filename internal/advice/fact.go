package advice

import (
	"cmp"
	"math/big"

	"patchbay/internal/expr"
	"patchbay/internal/flow"
)

// known is what is known of one fact.
type known struct {
	value any      // as JSON has it
	rows  []string // evidence IDs of the rows it was made of
	why   string   // why it is not known; empty: it is
}

// facts computes every fact from all rows of its source. One that cannot be computed
// says why, and nothing of a value.
func (s *Spec) facts(e *evidence) map[string]known {
	out := make(map[string]known, len(s.Facts))
	for i, f := range s.Facts {
		source := e.sources[f.Source]
		if source.why != "" {
			out[f.Name] = known{why: source.why}
			continue
		}
		out[f.Name] = fact(f, s.where[i], source.rows)
	}
	return out
}

func fact(f flow.AdviseFact, where *expr.Program, rows []identified) known {
	k := known{}
	var best any // what chooses the row, of newest
	sum, count := new(big.Rat), 0
	for _, r := range rows {
		if where != nil {
			yes, err := where.Eval(map[string]any{"row": r.row})
			if err != nil {
				return known{why: "a row of " + f.Source + " does not fit the condition of " + f.Name}
			}
			if yes != true {
				continue
			}
		}
		v := r.row[f.Column]
		if f.Do == flow.AdviseCount {
			count++
			k.rows = append(k.rows, r.id)
			continue
		}
		if v == nil {
			continue
		}
		n, isNumber := exact(v)
		if !isNumber && (f.Type == flow.Int || f.Type == flow.Decimal || f.Do == flow.AdviseSum) {
			return known{why: "a row of " + f.Source + " has no number where " + f.Name + " needs one"}
		}
		if text, isText := v.(string); !isNumber && (!isText || len(text) > mostToken) {
			return known{why: "a row of " + f.Source + " has no short text where " + f.Name + " needs one"}
		}
		if isNumber && (f.Type == flow.Int || f.Type == flow.Decimal) {
			v = number(n)
		}
		switch f.Do {
		case flow.AdviseSum:
			sum.Add(sum, n)
			k.rows = append(k.rows, r.id)
		case flow.AdviseLeast, flow.AdviseMost:
			if c := compare(v, k.value); k.value == nil || f.Do == flow.AdviseLeast && c < 0 || f.Do == flow.AdviseMost && c > 0 {
				k.value, k.rows = v, []string{r.id}
			}
		case flow.AdviseNewest:
			if by := r.row[f.By]; by != nil && (best == nil || compare(by, best) >= 0) {
				best, k.value, k.rows = by, v, []string{r.id}
			}
		}
	}
	switch f.Do {
	case flow.AdviseCount:
		k.value = number(new(big.Rat).SetInt64(int64(count)))
	case flow.AdviseSum:
		k.value = number(sum)
	}
	return k
}

// compare orders two values of one column: numbers by value, texts by their letters.
func compare(a, b any) int {
	x, isX := exact(a)
	y, isY := exact(b)
	switch {
	case isX && isY:
		return x.Cmp(y)
	case isX != isY:
		if isX {
			return -1
		}
		return 1
	}
	s, _ := a.(string)
	t, _ := b.(string)
	return cmp.Compare(s, t)
}
