package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"patchbay/internal/flow"
)

// bar shows the progress of a run: one line that is drawn again on a terminal;
// elsewhere a line a step, and one whenever it waits for something new.
type bar struct {
	out     io.Writer
	live    bool
	began   time.Time
	shown   int    // steps printed
	waiting string // printed last
	width   int    // of the last line drawn, in characters
}

// share is how far a run has come when it enters a step, in percent.
var share = map[string]int{"accepted": 5, "reading": 20, "answered": 60, "writing": 75, "closed": 100}

func newBar(out io.Writer) *bar { return &bar{out: out, live: isTerminal(out), began: time.Now()} }

func (b *bar) show(r flow.Run) {
	if len(r.Progress) == 0 {
		return
	}
	if b.live {
		b.draw(r)
		return
	}
	for ; b.shown < len(r.Progress); b.shown++ {
		fmt.Fprintln(b.out, step(r, b.shown))
	}
	if r.Waiting != "" && r.Waiting != b.waiting {
		fmt.Fprintf(b.out, "%8s  %s\n", seconds(time.Since(b.began)), plain(r.Waiting))
		b.waiting = r.Waiting // each try clears it, and a try that fails like the last is no news
	}
}

func (b *bar) draw(r flow.Run) {
	last := r.Progress[len(r.Progress)-1]
	percent := share[last.Name]
	text := firstOf(r.Waiting, last.Note, last.Name)
	if r.Status.Final() {
		percent, text = 100, strings.TrimRight(string(r.Status)+"  "+last.Note, " ")
	}
	const cells = 24
	full := percent * cells / 100
	line := fmt.Sprintf("[%s%s] %3d %%  %s", strings.Repeat("█", full), strings.Repeat("·", cells-full), percent, plain(text))
	width := utf8.RuneCountInString(line)
	fmt.Fprintf(b.out, "\r%s%s", line, strings.Repeat(" ", max(0, b.width-width)))
	b.width = width
}

func (b *bar) end() {
	if b.live && b.width > 0 {
		fmt.Fprintln(b.out)
	}
}

// step is one step of a run on a line. Of the last the word is how it ended.
func step(r flow.Run, i int) string {
	s := r.Progress[i]
	name := s.Name
	if name == "closed" {
		name = string(r.Status)
	}
	return strings.TrimRight(fmt.Sprintf("%8s  %-9s  %s", seconds(s.At.Sub(r.AcceptedAt)), name, plain(s.Note)), " ")
}

// seconds prints a duration to three digits.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}
