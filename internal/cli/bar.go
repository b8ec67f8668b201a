package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"patchbay/internal/flow"
)

// bar shows the progress of a run: one line that is drawn again on a terminal,
// one line a step elsewhere.
type bar struct {
	out   io.Writer
	live  bool
	shown int // steps printed
	width int // of the last line drawn
}

// share is how far a run has come when it enters a step, in percent.
var share = map[string]int{"accepted": 5, "reading": 20, "answered": 60, "writing": 75, "closed": 100}

func newBar(out io.Writer) *bar { return &bar{out: out, live: isTerminal(out)} }

func (b *bar) show(r flow.Run) {
	if len(r.Progress) == 0 {
		return
	}
	if !b.live {
		for ; b.shown < len(r.Progress); b.shown++ {
			s := r.Progress[b.shown]
			fmt.Fprintf(b.out, "%8s  %-9s %s\n", seconds(s.At.Sub(r.AcceptedAt)), s.Name, s.Note)
		}
		return
	}
	last := r.Progress[len(r.Progress)-1]
	percent := share[last.Name]
	if r.Status.Final() {
		percent = 100
	}
	text := firstOf(r.Waiting, last.Note, last.Name)
	const cells = 24
	full := percent * cells / 100
	line := fmt.Sprintf("[%s%s] %3d %%  %s", strings.Repeat("█", full), strings.Repeat("·", cells-full), percent, text)
	fmt.Fprintf(b.out, "\r%s%s", line, strings.Repeat(" ", max(0, b.width-len(line))))
	b.width = len(line)
}

func (b *bar) end() {
	if b.live && b.width > 0 {
		fmt.Fprintln(b.out)
	}
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
