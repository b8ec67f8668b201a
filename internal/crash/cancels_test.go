package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	cancels = flag.Int("cancels", 100, "how many presses are cancelled at random moments")
	seed    = flag.Uint64("seed", 1, "decides what is ended when, and what clients do")
)

// Presses that come alone and in crowds are cancelled at random moments, from before
// anybody has begun to after the end, while the target is slow, loses answers and
// refuses. Each certificate says what the sandbox's record says, and nothing is
// written after it.
func TestEachCertificateSaysWhatTheTargetHolds(t *testing.T) {
	t.Parallel()
	w := open(t, size{workers: 2})
	item := w.items(1)[0]
	w.misbehave("oracle", `[{"latency_ms":60,"rate":0.5}]`)
	w.misbehave("dataverse", `[
		{"method":"POST","drop_after_commit":true,"rate":0.05},
		{"method":"POST","status":503,"rate":0.05},
		{"method":"POST","latency_ms":300,"rate":0.8}]`)
	for n := range 8 { // how long a press takes here and now
		w.press(&press{Mark: fmt.Sprintf("w-%d", n), Flow: "crash-read", Product: item, Step: "before", cancel: never})
	}
	w.under.Wait()
	var usual time.Duration
	for _, p := range w.all() {
		usual = max(usual, p.run.ClosedAt.Sub(p.run.AcceptedAt))
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	for n := 0; n < *cancels; {
		size := 1
		if r.IntN(3) == 0 {
			size = 2 + r.IntN(20)
		}
		for range min(size, *cancels-n) {
			n++
			p := &press{Mark: fmt.Sprintf("c-%d", n), Flow: []string{"crash-read", "crash-write"}[r.IntN(2)], Product: item, Step: fmt.Sprintf("of %d", size)}
			p.cancel = time.Duration(r.Float64() * float64(2*usual))
			w.press(p)
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(time.Duration(r.Float64() * float64(usual))):
		}
	}
	t.Logf("%d cancels, seed %d, within %s each: %v", *cancels, *seed, 2*usual, w.verdict())
	w.quiet()
}
