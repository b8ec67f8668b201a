package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	kills = flag.Int("kills", 3, "how many random blows there are")
	gap   = flag.Float64("gap", 4, "seconds between two of them, on average")
	alone = flag.Int("alone", 0, "how often each blow is struck once more, with quiet after it, to measure recovery")
)

// frozenFor is how long a worker is frozen.
const frozenFor = 30 * time.Second

// struck is a blow that has fallen.
type struck struct {
	blow  blow
	at    time.Time
	back  time.Duration // until the gateway answered again, of one that ended it
	alone bool          // nothing else was struck until all was well
}

// People press, cancel and signal, events come and tables are consolidated, and what
// serves all that is ended at random, without waiting for quiet: every press has one answer, every cause one effect, nothing is
// lost, and nothing is left lying.
func TestRandomKillsLoseNothingAndRepeatNothing(t *testing.T) {
	t.Parallel()
	list := schedule(*seed, *kills, *gap)
	t.Logf("seed %d:%s", *seed, written(list))
	w := open(t, size{workers: 3, apart: true, pictures: 3})
	w.misbehave("dataverse", `[{"method":"POST","latency_ms":100,"rate":0.3},{"method":"POST","drop_after_commit":true,"rate":0.02}]`)
	w.misbehave("mail", `[{"state":"dot","latency_ms":300,"rate":0.3},{"state":"dot","cut":true,"rate":0.01}]`)
	item, far := w.items(1)[0], w.firstSwept()
	enough := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() { w.load(enough, item) })
	load.Go(func() { w.senders.happen(enough, far) })
	load.Go(func() { w.gallery.busy(enough) })

	began := time.Now()
	var fallen []*struck
	for _, s := range list {
		if !wait(t.Context(), time.Until(began.Add(s.at))) {
			return
		}
		fallen = append(fallen, w.strike(s))
	}
	wait(t.Context(), 2*time.Second)
	for _, m := range mix {
		for n := range *alone {
			from := len(w.all())
			one := w.strike(strike{blow: m.blow, who: n})
			one.alone = true
			fallen = append(fallen, one)
			wait(t.Context(), 10*time.Second)
			w.await("well after "+string(m.blow), 2*time.Minute, func() bool { return w.over(from) })
		}
	}
	close(enough)
	load.Wait()
	counts := w.verdict()
	t.Logf("%d presses and %d blows within %s: %v", len(w.all()), len(fallen), time.Since(began).Round(time.Second), counts)
	w.gallery.last()
	w.quiet()
	t.Logf("%d cases: %v", len(w.senders.all()), w.judgeCases(moments(fallen)))
	t.Log(w.recovery(fallen))
}

// moments are when blows fell, and when one that froze a worker was over.
func moments(fallen []*struck) (all []span) {
	for _, s := range fallen {
		all = append(all, span{s.at, s.at})
		if s.blow == freezeWorker {
			all = append(all, span{s.at.Add(frozenFor), s.at.Add(frozenFor)})
		}
	}
	return all
}

// over reports whether all but the last of the presses since from have ended.
func (w *world) over(from int) bool {
	all := w.all()
	for _, p := range all[:from] {
		p.mu.Lock()
		ended := !p.ended.IsZero()
		p.mu.Unlock()
		if !ended {
			return false
		}
	}
	return true
}

// load presses until it is enough: four times a second, and now and then in a crowd.
func (w *world) load(enough <-chan struct{}, item string) {
	r := rand.New(rand.NewPCG(*seed, 2))
	for n := 0; ; {
		select {
		case <-enough:
			return
		case <-w.ctx.Done():
			return
		case <-time.After(time.Duration(r.IntN(500)) * time.Millisecond):
		}
		size := 1
		if r.IntN(8) == 0 {
			size = 12
		}
		for range size {
			n++
			p := &press{Mark: fmt.Sprintf("k-%d", n), Flow: "crash-read", Product: item, cancel: never, Step: "under load"}
			switch at := r.IntN(100); {
			case at < 20:
				p.Flow = "crash-write"
			case at < 28:
				p.door = true
			case at < 36:
				p.Flow = "crash-share"
				w.press(&press{Mark: p.Mark, key: p.Mark + "-again", Flow: p.Flow, Product: item, cancel: never, Step: p.Step})
			case at < 46:
				p.cancel = time.Duration(r.IntN(400)) * time.Millisecond
			case at < 66:
				p.wait = -1 // as long as the gateway waits by itself
			}
			w.press(p)
		}
	}
}

// strike lets a blow fall. What it ends is started again by whoever watches it.
func (w *world) strike(s strike) *struck {
	one := &struck{blow: s.blow, at: time.Now()}
	switch s.blow {
	case killWorker:
		w.workers[s.who%len(w.workers)].signal(syscall.SIGKILL)
	case freezeWorker:
		g := w.workers[s.who%len(w.workers)]
		g.signal(syscall.SIGSTOP)
		time.AfterFunc(frozenFor, func() { g.signal(syscall.SIGCONT) })
	case killAPI:
		w.serve.signal(syscall.SIGKILL)
	case killPatchbay:
		w.killPatchbay()
	case killTemporal:
		w.killServer("temporal", syscall.SIGKILL)
	case killPostgres:
		w.killPostgres()
	case killBackend:
		w.killBackend(s.who)
	case killAll:
		w.killPostgres()
		w.killServer("temporal", syscall.SIGKILL)
		w.killPatchbay()
	}
	if s.blow == killAPI || s.blow == killPatchbay || s.blow == killAll || s.blow == killPostgres {
		w.under.Go(func() {
			for wait(w.ctx, 10*time.Millisecond) {
				ctx, cancel := context.WithTimeout(w.ctx, time.Second)
				status, _ := get(ctx, w.serve.at+"/readyz", nil)
				cancel()
				if status == http.StatusOK {
					break
				}
			}
			one.back = time.Since(one.at)
		})
	}
	return one
}

func (w *world) killPatchbay() {
	w.serve.signal(syscall.SIGKILL)
	for _, g := range w.workers {
		g.signal(syscall.SIGKILL)
	}
}

// killPostgres ends PostgreSQL as its own immediate shutdown does: no process writes
// down what it has in memory, and none is left that holds the shared memory.
func (w *world) killPostgres() { w.killServer("postgres", syscall.SIGQUIT) }

// killServer ends a server, unless it is down already.
func (w *world) killServer(name string, s syscall.Signal) {
	if pid := w.env.PIDs()[name]; pid > 0 { // 0 would be all of us
		_ = syscall.Kill(pid, s)
	}
}

// killBackend ends one connection of patchbay's.
func (w *world) killBackend(who int) {
	conn, err := w.owner()
	if err != nil {
		return // the database is away
	}
	defer func() { _ = conn.Close(w.ctx) }()
	_, _ = conn.Exec(w.ctx, `
		with all_of_ours as (select pid, row_number() over (order by pid) - 1 as n, count(*) over () as many
			from pg_stat_activity where usename = 'patchbay_app')
		select pg_terminate_backend(pid) from all_of_ours where n = $1 % many`, who)
}

// wait waits for d; false when ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func TestTheScheduleOfKillsFollowsFromTheSeed(t *testing.T) {
	t.Parallel()
	first := schedule(7, 1000, 4)
	require.Equal(t, first, schedule(7, 1000, 4))
	require.NotEqual(t, first, schedule(8, 1000, 4))
	many, soon := map[blow]int{}, 0
	for i, s := range first {
		many[s.blow]++
		if i > 0 && s.at-first[i-1].at < 2*time.Second {
			soon++
		}
	}
	for _, m := range mix {
		require.InDelta(t, m.share*10, many[m.blow], 50, m.blow)
	}
	require.InDelta(t, 100, soon, 40)
}
