package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/flow"
)

type (
	// picture is what a person decides from: factors and distributions drawn, everything else
	// as figures. What it knows of an output is its shape, not the calculator.
	picture struct {
		Scores  []scored
		Plots   []plot
		Results []result
		Sources []collected
		Shown   []fact
		Asked   []fact // parameters
	}

	// scored are factors that add up to a score.
	scored struct {
		Of      string // the step
		Points  int
		Neutral int
		PD      string
		Factors []factor
		Drawing template.HTML
	}

	// factor is one entry of "parts" of an output.
	factor struct {
		Title  string `json:"title"`
		Found  string `json:"found"`
		Points int    `json:"points"`
		Effect int    `json:"effect"`
		Advice string `json:"advice"`
	}

	// plot is a distribution: counts of equal bins from low to high.
	plot struct {
		Of, Name, Words string
		Drawing         template.HTML
	}

	// result is what a calculator gave, in figures.
	result struct {
		Of, By, Failed string
		Figures        []fact
		Words          []fact // lists of texts
	}

	// collected is where figures are from.
	collected struct {
		Name, System, Why string
		Substitute        bool
		Columns           []fact
		Rows              int
		At, Clock         time.Time
	}
)

// distribution is how outputs write one.
type distribution struct {
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	Counts []uint64 `json:"counts"`
}

func pictureOf(r referral) picture {
	p := picture{Shown: columnsOf(r.Show), Asked: columnsOf(r.Params)}
	for _, one := range r.Computed {
		out := result{Of: phrase(one.Name), By: one.Function + " " + one.Version}
		tree, _ := tree(one.Output).(map[string]any) // an output that is no object has no figures
		before := len(p.Scores)
		p.read(&out, "", tree)
		if len(p.Scores) > before { // its factors say what such texts would
			out.Words = nil
		}
		p.Results = append(p.Results, out)
	}
	for _, gap := range r.Gaps {
		if gap.Kind == flow.TaskCalculate {
			p.Results = append(p.Results, result{Of: phrase(gap.Task), Failed: sentence(gap.Why)})
		}
	}
	for _, in := range r.Inputs {
		s := collected{Name: phrase(in.Name), System: in.Source, Why: sentence(in.Why), Substitute: in.Substitute, Rows: len(in.Rows), At: in.AsOf, Clock: r.Clock}
		if len(in.Rows) > 0 {
			s.Columns = columnsOf(in.Rows[0])
		}
		p.Sources = append(p.Sources, s)
	}
	return p
}

// read takes the figures of a part of an output: distributions and factors are drawn.
func (p *picture) read(out *result, path string, node map[string]any) {
	if s, is := scoreOf(out.Of, node); is {
		p.Scores = append(p.Scores, s)
		return
	}
	if d, is := distributionOf(node); is {
		p.Plots = append(p.Plots, d.plot(out.Of, path))
		return
	}
	if value, is := node["value"].(json.Number); is { // an estimate
		text := figure(value)
		if low, high := node["low"], node["high"]; low != nil && high != nil {
			text += " (" + cellOf(low) + " to " + cellOf(high) + ")"
		}
		out.Figures = append(out.Figures, fact{phrase(path), text})
		return
	}
	for _, name := range slices.Sorted(maps.Keys(node)) {
		at := strings.TrimPrefix(path+" "+name, " ")
		switch v := node[name].(type) {
		case map[string]any:
			p.read(out, at, v)
		case []any:
			if text, is := texts(v); is && text != "" {
				out.Words = append(out.Words, fact{phrase(at), text})
			}
		default:
			out.Figures = append(out.Figures, fact{phrase(at), cellOf(v)})
		}
	}
}

// scoreOf reads what has points and parts that moved them.
func scoreOf(of string, node map[string]any) (s scored, is bool) {
	var parts []factor
	if _, has := node["points"].(json.Number); !has || !reads(node["parts"], &parts) || len(parts) == 0 {
		return s, false
	}
	s = scored{Of: of, Points: number(node["points"]), Neutral: number(node["neutral"]), Factors: parts}
	if pd, has := node["pd"].(json.Number); has {
		if f, err := pd.Float64(); err == nil {
			s.PD = strconv.FormatFloat(100*f, 'g', 3, 64) + " %"
		}
	}
	slices.SortStableFunc(s.Factors, func(a, b factor) int { return a.Effect - b.Effect })
	s.Drawing = drawFactors(s.Factors)
	return s, true
}

func distributionOf(node map[string]any) (d distribution, is bool) {
	return d, reads(node, &d) && d.Low != nil && d.High != nil && len(d.Counts) > 1 && *d.High > *d.Low
}

// trim leaves out the empty bins at both ends, and gives where the first is and how wide each is.
func (d *distribution) trim() (from, width float64) {
	from, width = *d.Low, (*d.High-*d.Low)/float64(len(d.Counts))
	for len(d.Counts) > 2 && d.Counts[0] == 0 {
		d.Counts, from = d.Counts[1:], from+width
	}
	for len(d.Counts) > 2 && d.Counts[len(d.Counts)-1] == 0 {
		d.Counts = d.Counts[:len(d.Counts)-1]
	}
	return from, width
}

// plot draws a distribution, what is below zero apart.
func (d *distribution) plot(of, path string) plot {
	const wide, high, foot = 560, 140, 20
	from, width := d.trim()
	total, below, most, n := 0.0, 0.0, 1.0, float64(len(d.Counts))
	edge := func(i int) float64 { return from + width*float64(i) }
	for i, c := range d.Counts {
		total += float64(c)
		most = max(most, float64(c))
		if edge(i+1) <= 0 {
			below += float64(c)
		}
	}
	to := edge(len(d.Counts))
	var s strings.Builder
	words := fmt.Sprintf("from %s to %s", figureOf(from), figureOf(to))
	crosses := from < 0 && to > 0
	if total > 0 && crosses {
		words += fmt.Sprintf("; at least %s %% of %s are below zero", strconv.FormatFloat(100*below/total, 'f', 1, 64), grouped(int(total)))
	}
	fmt.Fprintf(&s, `<svg class="plot" viewBox="0 0 %d %d" role="img" aria-label="%s, %s">`, wide, high+foot, html.EscapeString(phrase(path)), words)
	for i, c := range d.Counts {
		if c == 0 {
			continue
		}
		class := "bin"
		if edge(i+1) <= 0 {
			class = "bin below"
		}
		tall := math.Max(1, float64(c)/most*(high-8))
		fmt.Fprintf(&s, `<rect class="%s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"><title>%s to %s: %s</title></rect>`, class, float64(i)*wide/n+0.5, high-tall, wide/n-1, tall,
			figureOf(edge(i)), figureOf(edge(i+1)), grouped(int(c)))
	}
	fmt.Fprintf(&s, `<path class="axis" d="M0 %d.5H%d"/><text x="0" y="%d">%s</text><text class="end" x="%d" y="%d">%s</text>`, high, wide, high+15, figureOf(from), wide, high+15, figureOf(to))
	if crosses {
		zero := -from / width / n * wide
		fmt.Fprintf(&s, `<path class="axis zero" d="M%.1f 0V%d"/>`, zero, high)
		if zero > 80 && zero < wide-80 {
			fmt.Fprintf(&s, `<text class="middle" x="%.1f" y="%d">0</text>`, zero, high+15)
		}
	}
	s.WriteString(`</svg>`)
	return plot{Of: phrase(of), Name: phrase(path), Words: words, Drawing: template.HTML(s.String())} // of our own numbers; texts are escaped
}

// drawFactors draws one bar a factor, to the left where it counted against the applicant. The
// words stand beside it in the page.
func drawFactors(all []factor) template.HTML {
	const wide, row = 240, 44
	most := 1
	for _, f := range all {
		most = max(most, f.Effect, -f.Effect)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg class="plot factors" viewBox="0 0 %d %d" width="%d" height="%d" aria-hidden="true"><path class="axis" d="M%d.5 0V%d"/>`, wide, row*len(all), wide, row*len(all), wide/2, row*len(all))
	for i, f := range all {
		long := float64(f.Effect) / float64(most) * (wide/2 - 2)
		x, class := float64(wide)/2, "bin"
		if long < 0 {
			x, long, class = x+long, -long, "bin below"
		}
		fmt.Fprintf(&s, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="12" rx="2"/>`, class, x, i*row+16, math.Max(long, 1))
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) // of our own numbers
}

// tree decodes JSON with its numbers as they are; nil when it is none.
func tree(raw json.RawMessage) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// reads fills a type with a decoded value, and reports whether it is of it.
func reads(v, into any) bool {
	b, err := json.Marshal(v)
	return err == nil && json.Unmarshal(b, into) == nil
}

// columnsOf are the columns of a row, by name.
func columnsOf(row flow.Row) []fact {
	all := make([]fact, 0, len(row))
	for _, name := range slices.Sorted(maps.Keys(row)) {
		all = append(all, fact{phrase(strings.ReplaceAll(name, ".", " ")), cell(row[name])})
	}
	return all
}

// texts joins a list of texts.
func texts(list []any) (string, bool) {
	all := make([]string, len(list))
	for i, v := range list {
		s, is := v.(string)
		if !is {
			return "", false
		}
		all[i] = strings.TrimRight(s, ".")
	}
	return strings.Join(all, "; "), true
}

// phrase is a path of names as people read it.
func phrase(path string) string {
	path = strings.ReplaceAll(path, "_", " ")
	if path == "" {
		return "Result"
	}
	return strings.ToUpper(path[:1]) + path[1:]
}

func cellOf(v any) string {
	if n, is := v.(json.Number); is {
		return figure(n)
	}
	return cell(v)
}

// figure is a number as people read it: a computed one with four digits that count, one that
// somebody gave as it is.
func figure(n json.Number) string {
	f, err := n.Float64()
	if err != nil || len(strings.TrimLeft(n.String(), "-0.")) <= 8 {
		return n.String()
	}
	return figureOf(f)
}

func figureOf(f float64) string {
	if math.Abs(f) >= 1000 {
		return grouped(int(math.Round(f)))
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}
