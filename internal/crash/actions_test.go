package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	far    *aCase    // of the sandbox's Dataverse

	mu sync.Mutex
	n  int // presses so far
}

// Every durable action, and each of its three places: the process dies before it,
// is told that nobody knows whether it took effect, dies after it. Nothing waits for
// what was hit to be well again before the next point: serve and worker walk side by
// side, and everything is judged at the end.
func TestNoPointOfACrashLosesOrRepeatsAPress(t *testing.T) {
	t.Parallel()
	w := open(t, size{workers: 1})
	items := w.items(5)
	products := products{usual: items[0], slow: items[1], throttled: items[2], refused: items[3], gone: items[4]}
	w.misbehave("oracle", fmt.Sprintf(`[{"match":%q,"latency_ms":1500},{"match":%q,"status":429,"retry_after":1,"rate":0.4},{"match":%q,"status":400,"rate":0.5},{"match":%q,"status":400}]`,
		products.slow, products.throttled, products.refused, products.gone))
	far := w.firstSwept()
	w.misbehave("dataverse", `[{"match":"busy-","status":503,"rate":0.4,"method":"POST"},{"match":"incidents","status":503,"rate":0.3,"method":"GET"}]`)
	w.misbehave("mail", `[{"state":"dot","latency_ms":300,"rate":0.5}]`)
	began := time.Now()

	trail := &trail{hit: map[string]int{}}
	var walks sync.WaitGroup
	for kind, g := range map[kind]*guard{serving: w.serve, working: w.workers[0]} {
		walk := &walk{world: w, products: products, g: g, kind: kind, far: far}
		walks.Go(func() { walk.along(points, trail) })
	}
	walks.Wait()
	t.Logf("%s within %s", trail, time.Since(began).Round(time.Second))
	if *only == "" {
		w.applyDies()
		w.complete()
	}
	counts := w.verdict()
	t.Logf("%d presses within %s: %v", len(w.all()), time.Since(began).Round(time.Second), counts)
	w.behave("dataverse") // a sweep that fails by the dice comes to no end
	w.quiet()
	t.Logf("%d cases: %v", len(w.senders.all()), w.judgeCases(trail.blows))
}

// pictures are as many as are under way when a worker dies more often than a run takes
// to be missed: an attempt that was lost is begun again after 15 s.
const pictures = 16

// The walk for consolidations, in a world of its own: a worker dies, or is deceived, at
// each of their durable actions, while others of them are still to be missed, and serve at
// those that keep the slots of one that a schedule starts. Then
// PostgreSQL dies under runs, with the ERP, and Temporal. In the end each picture is
// what SQL says, and each row of it was written as often as it became another one.
func TestNoPointOfACrashSpoilsAPicture(t *testing.T) {
	t.Parallel()
	w := open(t, size{workers: 1, pictures: pictures, slots: true})
	began := time.Now()
	trail := &trail{hit: map[string]int{}}
	var walks sync.WaitGroup
	for kind, g := range map[kind]*guard{serving: w.serve, working: w.workers[0]} {
		walk := &walk{world: w, g: g, kind: kind}
		walks.Go(func() { walk.along(pictured, trail) })
	}
	walks.Wait()
	t.Logf("%s within %s", trail, time.Since(began).Round(time.Second))
	if t.Failed() {
		return
	}
	w.complete()
	for _, blow := range []func(){w.killPostgres, func() { w.killServer("temporal", syscall.SIGKILL) }} {
		require.NoError(t, w.gallery.there(w.gallery.sql.Ping))
		for range 4 {
			w.gallery.paint("as a server dies", brush{edits: 4, full: true})
		}
		wait(t.Context(), 300*time.Millisecond)
		blow()
		wait(t.Context(), 2*time.Second)
	}
	w.under.Wait()
	t.Logf("all have ended within %s", time.Since(began).Round(time.Second))
	w.gallery.kept()
	w.gallery.last()
	t.Logf("all within %s", time.Since(began).Round(time.Second))
	w.still()
}

// trail is what walks have hit so far.
type trail struct {
	mu    sync.Mutex
	hit   map[string]int
	took  []string
	blows []span
}

// span is a time within which something happened to a process.
type span struct{ from, to time.Time }

func (t *trail) String() string {
	slices.Sort(t.took)
	return fmt.Sprintf("%d places of %d actions were hit; the slowest:\n%s\n", len(t.took), len(t.hit), strings.Join(t.took[max(0, len(t.took)-10):], "\n"))
}

// along visits each place of the points of the walk's kind.
func (w *walk) along(list []point, t *trail) {
	for _, p := range list {
		for _, d := range deceptions {
			if !strings.HasPrefix(p.name+"/"+string(d.place), *only) || p.at != w.kind || p.without != "" || w.t.Failed() {
				continue
			}
			from := time.Now()
			last, ok := w.visit(p, failpoint.Order{Name: p.name, Place: d.place, What: d.what})
			if !ok {
				return
			}
			t.mu.Lock()
			t.blows = append(t.blows, span{last, time.Now()})
			t.hit[p.name]++
			t.took = append(t.took, fmt.Sprintf("%5.1f s: %s, %s %s", time.Since(from).Seconds(), w.kind, d.place, p.name))
			t.mu.Unlock()
		}
	}
}

// visit has one thing happen at a point, and says when it last had not happened; false
// when the test has failed.
func (w *walk) visit(p point, o failpoint.Order) (last time.Time, ok bool) {
	step := fmt.Sprintf("%s: %s %s %s", w.kind, o.What, o.Place, o.Name)
	// Temporal's development server was seen to hang for a minute after a start whose
	// client had died: its database is then held by nobody.
	deadline := time.Now().Add(3 * time.Minute)
	failed := func(what string, err error) (time.Time, bool) {
		w.t.Errorf("%s: %s: %v", step, what, err)
		return last, false
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
			return last, false
		}
	}
	again := time.Now()
	last = again
	for {
		if p.by != nil && !time.Now().Before(again) {
			p.by(w, step)
			again = time.Now().Add(2*time.Second + rand.N(2*time.Second)) // not in step with the other walk
		}
		asked := time.Now()
		switch {
		case w.g.generation() > born && o.What == failpoint.Kill:
			return last, true
		case w.g.generation() > born:
			return failed("the process ended, which nobody had ordered", nil)
		case o.What == failpoint.Kill:
			last = asked
		default:
			if now, err := w.g.ask(w.ctx, "GET", nil); err == nil && now.Struck > before.Struck {
				return last, true
			} else if err == nil {
				last = asked
			}
		}
		if time.Now().After(deadline) {
			return failed("the action is not reached by what is named for it", nil)
		}
		if !w.pause(10 * time.Millisecond) {
			return last, false
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
	known := known()
	for _, name := range reading {
		known["temporal."+name] = true
	}
	for _, g := range append(w.workers, w.serve) {
		var met orders
		w.await("asked: "+g.name, time.Minute, func() bool {
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
			require.NoError(w.t, w.asked("/v1/flows", &now)) // serve may just have been ended
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
