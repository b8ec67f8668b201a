package advice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// Input is what is known of one customer.
	Input struct {
		Key     string // of the customer
		Sources map[string]Source
	}

	// Source is the rows of one source that belong to the customer. One that is stale,
	// or is not in the input at all, is not used.
	Source struct {
		Rows  []flow.Row
		AsOf  time.Time // when they were read; zero: never
		Stale bool
	}

	// evidence is an input with its rows identified, and those chosen that are shown.
	evidence struct {
		sources map[string]identifiedRows
		shown   map[string]identified // by ID
		order   []string              // of shown
		stale   []string              // names of sources that are not used
	}

	identifiedRows struct {
		rows []identified // by ID
		why  string       // why they are not used; empty: they are
	}

	identified struct {
		id, source string
		row        flow.Row
	}
)

// mostToken bounds IDs and texts that are taken as one word, in bytes.
const mostToken = 64

// read identifies the rows of an input and chooses those that are shown. The order of
// the rows in the input does not matter.
func (s *Spec) read(in Input) *evidence {
	e := &evidence{sources: map[string]identifiedRows{}, shown: map[string]identified{}}
	for _, x := range s.Sources {
		given, there := in.Sources[x.Name]
		switch {
		case !there || given.Stale && given.AsOf.IsZero():
			e.sources[x.Name] = identifiedRows{why: x.Name + " is missing"}
			e.stale = append(e.stale, x.Name)
			continue
		case given.Stale:
			e.sources[x.Name] = identifiedRows{why: x.Name + " is as of " + given.AsOf.UTC().Format(time.RFC3339)}
			e.stale = append(e.stale, x.Name)
			continue
		}
		rows := identify(x, given.Rows)
		e.sources[x.Name] = identifiedRows{rows: rows}
		for _, r := range newest(x, rows) {
			e.shown[r.id] = r
			e.order = append(e.order, r.id)
		}
	}
	return e
}

// identify gives each row its ID. Rows that would have the same are told apart by their
// content, and rows that have all of it in common by a number.
func identify(x flow.AdviseSource, rows []flow.Row) []identified {
	out := make([]identified, len(rows))
	for i, row := range rows {
		parts := []string{x.Name}
		for _, c := range x.ID {
			parts = append(parts, word(row[c]))
		}
		out[i] = identified{id: strings.Join(parts, "/"), source: x.Name, row: row}
	}
	slices.SortFunc(out, func(a, b identified) int {
		if c := strings.Compare(a.id, b.id); c != 0 {
			return c
		}
		x, _ := marshal(a.row)
		y, _ := marshal(b.row)
		return bytes.Compare(x, y)
	})
	taken := make(map[string]bool, len(out))
	for i := range out {
		id := out[i].id
		for n := 2; taken[id]; n++ {
			id = fmt.Sprintf("%s~%d", out[i].id, n)
		}
		taken[id] = true
		out[i].id = id
	}
	slices.SortStableFunc(out, func(a, b identified) int { return strings.Compare(a.id, b.id) })
	return out
}

// word is a value as part of an ID: letters, digits and what stands between them.
func word(v any) string {
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case int64, bool:
		text = fmt.Sprint(v)
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, text)
	if text == "" {
		return "_"
	}
	return text[:min(len(text), mostToken)]
}

// newest chooses the rows of a source that are shown.
func newest(x flow.AdviseSource, rows []identified) []identified {
	if x.Newest != "" {
		rows = slices.Clone(rows)
		slices.SortStableFunc(rows, func(a, b identified) int {
			switch va, vb := a.row[x.Newest], b.row[x.Newest]; {
			case va == nil && vb == nil:
				return 0
			case va == nil:
				return 1
			case vb == nil:
				return -1
			default:
				return -compare(va, vb)
			}
		})
	}
	return rows[:min(len(rows), max(x.Most, 0))]
}

// seen is a row as the model sees it: the columns declared, and no other (promise 5).
func (s *Spec) seen(r identified) flow.Row {
	out := flow.Row{}
	for _, x := range s.Sources {
		if x.Name != r.source {
			continue
		}
		for _, c := range x.Columns {
			if v, ok := r.row[c]; ok {
				out[c] = v
			}
		}
	}
	return out
}

// marshal is canonical: keys are sorted and nothing is escaped for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
