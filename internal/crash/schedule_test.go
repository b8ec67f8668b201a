package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

type (
	// blow is what happens to a process.
	blow string

	// strike is one blow of a schedule.
	strike struct {
		at   time.Duration // from the beginning
		blow blow
		who  int // of several that it may hit
	}
)

// The blows, each by kill -9 where nothing else is said.
const (
	killWorker   blow = "worker"
	freezeWorker blow = "worker frozen for 30 s" // SIGSTOP, then SIGCONT
	killAPI      blow = "API"
	killPatchbay blow = "patchbay" // API and all workers
	killTemporal blow = "Temporal"
	killPostgres blow = "PostgreSQL"      // all its processes at once, without a checkpoint
	killBackend  blow = "one backend"     // pg_terminate_backend
	killAll      blow = "all at a stroke" // of the above
)

// mix is how often each comes, in parts of a hundred: the worker 45, the API 25,
// Temporal 15, PostgreSQL 10, everything 5.
var mix = []struct {
	blow  blow
	share int
}{
	{killWorker, 35}, {freezeWorker, 10}, {killAPI, 20}, {killPatchbay, 5},
	{killTemporal, 15}, {killPostgres, 6}, {killBackend, 4}, {killAll, 5},
}

// schedule gives n strikes, gap seconds apart on average. One in ten comes within
// two seconds of the one before it. The same seed gives the same schedule.
func schedule(seed uint64, n int, gap float64) []strike {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([]strike, n)
	var at float64
	for i := range list {
		if r.IntN(10) == 0 {
			at += 0.2 + 1.8*r.Float64()
		} else {
			at += 2 + 2*(gap-2)*r.Float64()
		}
		list[i] = strike{at: time.Duration(at * float64(time.Second)), who: r.IntN(1 << 20)}
		for part := r.IntN(100); list[i].blow == ""; {
			for _, m := range mix {
				if part -= m.share; part < 0 {
					list[i].blow = m.blow
					break
				}
			}
		}
	}
	return list
}

func written(list []strike) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "\n%7.1f s  %s", s.at.Seconds(), s.blow)
	}
	return b.String()
}
