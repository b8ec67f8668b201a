package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/failpoint"
	"patchbay/internal/flow"
)

// products whose reading or writing the sandbox makes difficult.
type products struct{ usual, slow, throttled, refused, gone string }

// walk goes from point to point of one kind of process.
type walk struct {
	*world
	products
	g    *guard
	kind kind

	frozen time.Time // Temporal, the last time

	mu sync.Mutex
	n  int // presses so far
}

// Every durable action, and each of its three places: the process dies before it,
// is told that nobody knows whether it took effect, dies after it. Nothing waits for
// what was hit to be well again before the next point: serve and worker walk side by
// side, and everything is judged at the end.
func TestNoPointOfACrashLosesOrRepeatsAPress(t *testing.T) {
	t.Parallel()
	w := open(t, 1, false)
	items := w.items(5)
	products := products{usual: items[0], slow: items[1], throttled: items[2], refused: items[3], gone: items[4]}
	w.misbehave("oracle", fmt.Sprintf(`[{"match":%q,"latency_ms":1500},{"match":%q,"status":429,"retry_after":1,"rate":0.4},{"match":%q,"status":400,"rate":0.5},{"match":%q,"status":400}]`,
		products.slow, products.throttled, products.refused, products.gone))
	w.misbehave("dataverse", `[{"match":"busy-","status":503,"rate":0.4,"method":"POST"}]`)
	began := time.Now()

	hit, took := map[string]int{}, []string{}
	var mu sync.Mutex
	var walks sync.WaitGroup
	for kind, g := range map[kind]*guard{serving: w.serve, working: w.workers[0]} {
		walk := &walk{world: w, products: products, g: g, kind: kind}
		walks.Go(func() {
			for _, p := range points {
				for _, d := range deceptions {
					if *only != "" && *only != p.name+"/"+string(d.place) || p.at != kind || p.without != "" || t.Failed() {
						continue
					}
					from := time.Now()
					if !walk.visit(p, failpoint.Order{Name: p.name, Place: d.place, What: d.what}) {
						return
					}
					mu.Lock()
					hit[p.name]++
					took = append(took, fmt.Sprintf("%5.1f s: %s, %s %s", time.Since(from).Seconds(), kind, d.place, p.name))
					mu.Unlock()
				}
			}
		})
	}
	walks.Wait()
	slices.Sort(took)
	t.Logf("%d places of %d actions were hit in %s; the slowest:\n%s", len(took), len(hit), time.Since(began).Round(time.Second),
		strings.Join(took[max(0, len(took)-10):], "\n"))
	if *only == "" {
		w.applyDies()
		w.complete()
	}
	counts := w.verdict()
	t.Logf("%d presses within %s: %v", len(w.all()), time.Since(began).Round(time.Second), counts)
	w.quiet()
}

// visit has one thing happen at a point; false when the test has failed.
func (w *walk) visit(p point, o failpoint.Order) bool {
	step := fmt.Sprintf("%s: %s %s %s", w.kind, o.What, o.Place, o.Name)
	deadline := time.Now().Add(40 * time.Second)
	failed := func(what string, err error) bool {
		w.t.Errorf("%s: %s: %v", step, what, err)
		return false
	}
	var before orders
	var born int
	if p.by == nil { // what a process does as it begins: the next one is to meet it
		born = w.g.generation() + 1
		w.g.begin(o)
	}
	for armed := p.by == nil; !armed; {
		if time.Now().After(deadline) {
			return failed("the process was not there to be armed", nil)
		}
		if w.g.ready(w.ctx) {
			var err error
			born = w.g.generation()
			before, err = w.g.arm(w.ctx, o)
			armed = err == nil
		}
		if !armed && !w.pause(20*time.Millisecond) {
			return false
		}
	}
	again := time.Now()
	for {
		if p.by != nil && !time.Now().Before(again) {
			p.by(w, step)
			again = time.Now().Add(2*time.Second + rand.N(2*time.Second)) // not in step with the other walk
		}
		if w.g.generation() > born {
			return o.What == failpoint.Kill || failed("the process ended, which nobody had ordered", nil)
		}
		if o.What != failpoint.Kill {
			if now, err := w.g.ask(w.ctx, "GET", nil); err == nil && now.Struck > before.Struck {
				return true
			}
		}
		if time.Now().After(deadline) {
			return failed("the action is not reached by what is named for it", nil)
		}
		if !w.pause(10 * time.Millisecond) {
			return false
		}
	}
}

func (w *walk) pause(d time.Duration) bool {
	select {
	case <-w.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// complete requires that the processes met no durable action that the walk does not
// know.
func (w *world) complete() {
	w.t.Helper()
	known := map[string]bool{}
	for _, p := range points {
		known[p.name] = true
	}
	for _, name := range reading {
		known["temporal."+name] = true
	}
	for _, g := range append(w.workers, w.serve) {
		var met orders
		w.await("asked: "+g.name, 30*time.Second, func() bool {
			var err error
			met, err = g.ask(w.ctx, "GET", nil)
			return err == nil && len(met.Met) > 0
		})
		for name := range met.Met {
			require.True(w.t, known[name], "%s carries out %s, which is no point of the walk: see points_test.go", g.name, name)
		}
	}
}

// applyDies ends `patchbay apply` at its transactions; doing it again is all that
// is needed.
func (w *world) applyDies() {
	w.t.Helper()
	for _, p := range points {
		if p.at != applying || p.without != "" {
			continue
		}
		for _, d := range deceptions {
			order := ordered(failpoint.Order{Name: p.name, Place: d.place, What: d.what})
			path := w.dir + "/flows/crash-read.yaml"
			text, err := os.ReadFile(path)
			require.NoError(w.t, err)
			before := strings.Count(string(text), "\n")
			summary := fmt.Sprintf("summary: Specifications under a mark, %d lines", before)
			lines := strings.Split(string(text), "\n")
			lines[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "summary:") })] = summary
			require.NoError(w.t, os.WriteFile(path, []byte(strings.Join(append(lines, "# again"), "\n")), 0o600))
			require.Error(w.t, w.applying(order).Wait(), "%s %s %s", d.what, d.place, p.name)
			require.NoError(w.t, w.applying().Wait())
			var now struct {
				Flows []struct{ Name, Summary string }
			}
			require.NoError(w.t, w.api("/v1/flows", &now))
			require.Contains(w.t, fmt.Sprint(now), summary[len("summary: "):])
		}
	}
}

// mark is a new name for the rows of a press.
func (w *walk) mark(prefix string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return fmt.Sprintf("%s-%s-%d", prefix, w.kind, w.n)
}

func (w *walk) usually(step string) *press {
	return &press{Mark: w.mark("p"), Flow: "crash-read", Product: w.usual, Step: step, cancel: never}
}

// single is one press by itself.
func single(w *walk, step string) { w.press(w.usually(step)) }

// crowd is one press and, a moment later, so many at once that batches form, two of
// which share their work.
func crowd(w *walk, step string) {
	w.press(w.usually(step))
	for range 8 {
		w.press(w.usually(step))
	}
	first := w.usually(step)
	first.Flow = "crash-share"
	second := &press{Mark: first.Mark, key: first.Mark + "-again", Flow: first.Flow, Product: first.Product, Step: step, cancel: never}
	w.press(first) // where the two come in different buckets, each has its own work
	w.press(second)
	late(w, step)
}

// late is a press whose answer waits for its write.
func late(w *walk, step string) {
	p := w.usually(step)
	p.Flow = "crash-write"
	w.press(p)
}

// door is a press by a signal to Temporal.
func door(w *walk, step string) {
	p := w.usually(step)
	p.door = true
	w.press(p)
}

// slow is a press whose reading takes longer than the pulse of an activity.
func slow(w *walk, step string) {
	p := w.usually(step)
	p.Product = w.slow
	w.press(p)
}

// cancelled is a press that is cancelled while it reads.
func cancelled(w *walk, step string) {
	p := w.usually(step)
	p.Flow, p.Product, p.wait, p.cancel = "crash-end", w.slow, 0, 0
	p.before = func(_ context.Context, runID string) { w.begun(runID) }
	w.press(p)
}

// throttledAlone is a press whose source is throttled while nobody else waits.
func throttledAlone(w *walk, step string) {
	p := w.usually(step)
	p.Product = w.throttled
	w.press(p)
}

// busy is presses whose target refuses now and then to be written to.
func busy(w *walk, step string) {
	for range 3 {
		p := w.usually(step)
		p.Mark = w.mark("busy")
		w.press(p)
	}
}

// forgotten is presses that Temporal does not take, because it is not there; it is
// back for long enough before the next ones.
func forgotten(w *walk, step string) {
	if now := time.Now(); now.Sub(w.frozen) > 7*time.Second {
		w.frozen = now
		w.freeze("temporal", 3*time.Second)
	}
	crowd(w, step)
}

// terminated is a press whose workflow somebody ends in Temporal, and whose cancel is
// then asked.
func terminated(w *walk, step string) {
	p := w.usually(step)
	p.Flow, p.Product, p.wait, p.cancel = "crash-end", w.slow, 0, 0
	p.before = func(ctx context.Context, runID string) {
		_ = w.temporal.TerminateWorkflow(ctx, w.begun(runID).WorkflowID, "", "a test")
	}
	w.press(p)
}

// begun waits until somebody has a run in hands, or it has ended.
func (w *walk) begun(runID string) (now flow.Run) {
	for now.Status != flow.Running && !now.Status.Final() && w.pause(20*time.Millisecond) {
		_ = w.api("/v1/runs/"+runID, &now)
	}
	return now
}

// redriven is a press whose read is refused, so that it is a dead letter, which somebody
// has carried out again; the read of the second round is answered.
func redriven(w *walk, step string) {
	p := w.usually(step)
	p.Product, p.buried = w.refused, "redrive"
	w.press(p)
}

// dismissed is such a press that is put aside.
func dismissed(w *walk, step string) {
	p := w.usually(step)
	p.Product, p.buried, p.mayFail = w.gone, "dismiss", "oracle.bad_request"
	w.press(p)
}
