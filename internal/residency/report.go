package residency

import (
	"fmt"
	"strings"
	"time"
)

type (
	// Report is what a scan found. It holds no value.
	Report struct {
		Sources []Source
		// Hits are the first 100 of each source, and the first of each value in it; Source.Hits
		// counts all.
		Hits  []Hit
		Bytes int64
		Took  time.Duration

		found []bool
		index map[string]int
		seen  map[Hit]bool
	}

	// Source is one thing that was scanned. A source that was not there has no bytes.
	Source struct {
		Name  string
		Bytes int64
		Hits  int
	}

	// Hit is one place where a value, or part of one, is.
	Hit struct {
		Source string
		Offset int64 // of what was unpacked: where that begins
		// Encoding goes from the outside to the inside: "gzip of base64".
		Encoding string
		Label    string // "value 17", or "torn"
	}
)

// shown is how many hits of a source are kept one by one.
const shown = 100

// Report gives what was found until now.
func (s *Scanner) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.report
	out.Sources = append([]Source(nil), s.report.Sources...)
	out.Hits = append([]Hit(nil), s.report.Hits...)
	out.found = append([]bool(nil), s.report.found...)
	out.index, out.seen = nil, nil
	out.Took = time.Since(s.began)
	for _, src := range out.Sources {
		out.Bytes += src.Bytes
	}
	return out
}

// Found is how many different values were found.
func (r Report) Found() (n int) {
	for _, yes := range r.found {
		if yes {
			n++
		}
	}
	return n
}

// Has reports whether a value was found.
func (r Report) Has(i int) bool { return r.found[i] }

// Total is how many places values were found in, torn ones among them.
func (r Report) Total() (n int) {
	for _, src := range r.Sources {
		n += src.Hits
	}
	return n
}

// String gives a line for each hit that is kept and one for the whole.
func (r Report) String() string {
	var out strings.Builder
	for _, h := range r.Hits {
		fmt.Fprintf(&out, "%s at %d: %s, %s\n", h.Source, h.Offset, h.Label, h.Encoding)
	}
	rate := float64(r.Bytes) / 1e6 / max(r.Took.Seconds(), 1e-9)
	fmt.Fprintf(&out, "%d hits in %d sources, %d different values; %.1f MB in %s, %.0f MB/s",
		r.Total(), len(r.Sources), r.Found(), float64(r.Bytes)/1e6, r.Took.Round(time.Millisecond), rate)
	return out.String()
}

// source gives the account of a source. The caller holds the lock.
func (s *Scanner) source(name string) *Source {
	r := &s.report
	if r.index == nil {
		r.index = map[string]int{}
		r.seen = map[Hit]bool{}
	}
	at, ok := r.index[name]
	if !ok {
		at = len(r.Sources)
		r.index[name] = at
		r.Sources = append(r.Sources, Source{Name: name})
	}
	return &r.Sources[at]
}

func (s *Scanner) add(h Hit, which int) {
	src, r := s.source(h.Source), &s.report
	if r.seen[h] {
		return
	}
	r.seen[h] = true
	first := Hit{Source: h.Source, Label: h.Label}
	if src.Hits++; src.Hits <= shown || !r.seen[first] {
		r.Hits = append(r.Hits, h)
	}
	r.seen[first] = true
	if which >= 0 {
		r.found[which] = true
	}
}
