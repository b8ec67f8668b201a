package web

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// acronyms are the parts of a connection's name that people write in capitals.
var acronyms = []string{"api", "crm", "erp", "ibm", "id", "plm", "sap", "smtp", "url"}

// system is a connection's name as people say it: "oracle-plm" is Oracle PLM.
func system(connection string) string {
	words := strings.FieldsFunc(connection, func(r rune) bool { return r == '-' || r == '_' })
	for i, w := range words {
		if slices.Contains(acronyms, w) {
			words[i] = strings.ToUpper(w)
		} else {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// duration has three digits where it was measured: 842 ms, 1.24 s, 12.4 s,
// 3 min 10 s, 2 h 5 min.
func duration(d time.Duration) string {
	d = max(d, 0)
	switch s := d.Seconds(); {
	case d < time.Millisecond:
		return "under 1 ms"
	case d < time.Minute && d%time.Second == 0: // a limit somebody chose, not a measurement
		return strconv.Itoa(int(d/time.Second)) + " s"
	case s < 0.9995:
		return strconv.Itoa(int(math.Round(s*1000))) + " ms"
	case s < 9.995:
		return strconv.FormatFloat(s, 'f', 2, 64) + " s"
	case s < 59.95:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// ago is relative up to a day, then the date.
func ago(at, now time.Time) string {
	switch d := now.Sub(at); {
	case d < 2*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	default:
		return at.UTC().Format("2 Jan 2006")
	}
}

// absolute is the time in full, for titles.
func absolute(at time.Time) string { return at.UTC().Format("2 January 2006, 15:04:05.000 UTC") }

// clock is a time of this day.
func clock(at time.Time) string { return at.UTC().Format("15:04:05 UTC") }

// grouped is a number with its thousands apart.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count is a number and its noun: "1 row", "12 rows".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// cell is a JSON value as text: strings bare, numbers as they were written.
func cell(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case json.Number:
		return x.String()
	case bool:
		return map[bool]string{true: "yes", false: "no"}[x]
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// subject is what a run is about, in few words: the values of its parameters in
// the plan's order.
func subject(run flow.Run, plan *flow.Plan) string {
	var values []string
	if plan != nil {
		for _, p := range plan.Params {
			if s := cell(run.Params[p.Name]); s != "" {
				values = append(values, clip(s, 40))
			}
		}
	}
	return strings.Join(values, ", ")
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if s == "" {
		return ""
	}
	r := []rune(s)
	return strings.ToUpper(string(r[:1])) + string(r[1:]) + "."
}

// edition is a version in words, short enough for a corner: "build c35b81f0…".
func edition(version string) string {
	word, id, built := strings.Cut(version, " ")
	if !built {
		word, id = "version", version
	}
	return word + " " + clip(id, 9)
}
