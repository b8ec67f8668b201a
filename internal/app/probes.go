package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/httpapi"
	"patchbay/starters"
	"patchbay/workers"
)

// Ready implements httpapi.Readiness. Database and Temporal are asked, and the
// canaries tell whether what they say is true: the check of the leg at fault fails
// with them.
func (a *api) Ready(ctx context.Context) []httpapi.Check {
	song := a.canary.Song()
	checks := append(a.servers(ctx), httpapi.Check{Name: string(starters.WorkerLeg), Status: "ok"})
	if a.face.Working != nil && !a.face.Working() {
		checks[2].Status, checks[2].Detail = "fail", "the worker's build is not current yet"
	}
	for i := range checks {
		if c := &checks[i]; c.Status == "ok" && !song.Well() && c.Name == string(song.Leg) {
			c.Status, c.Detail = "fail", song.Detail
		}
	}
	return append(checks, heard(song))
}

// heard is the check of the canaries themselves.
func heard(song starters.Song) httpapi.Check {
	c := httpapi.Check{Name: "canary", Status: "ok"}
	switch {
	case song.Passed.IsZero() && song.Misses == 0:
		c.Status, c.Detail = "fail", "the first is on its way"
	case song.Passed.IsZero():
		c.Status, c.Detail = "fail", "none has come through yet: "+song.Detail
	case !song.Well():
		c.Status, c.Detail = "fail", fmt.Sprintf("none has come through for %s: %s", ago(song.Passed), song.Detail)
	case song.Misses > 0:
		c.Status, c.Detail = "warn", fmt.Sprintf("the last came through %s ago; since then: %s", ago(song.Passed), song.Detail)
	default:
		c.Detail = fmt.Sprintf("came through %s ago, in %s", ago(song.Passed), song.Took.Round(time.Millisecond))
	}
	return c
}

func ago(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }

// servers asks the database and Temporal, at the same time: one that hangs says
// nothing of the other.
func (c *core) servers(ctx context.Context) []httpapi.Check {
	var checks [2]httpapi.Check
	var asked sync.WaitGroup
	asked.Go(func() {
		checks[0] = verdict(string(starters.StoreLeg), c.store.Ping(ctx), "the database does not answer in time")
	})
	asked.Go(func() {
		checks[1] = verdict(string(starters.TemporalLeg), durable.Ready(ctx, c.temporal, c.Namespace), "Temporal does not answer in time")
	})
	asked.Wait()
	return checks[:]
}

// verdict is the check of a server by the error of asking it; late is what a
// deadline means.
func verdict(name string, err error, late string) httpapi.Check {
	switch {
	case err == nil:
		return httpapi.Check{Name: name, Status: "ok"}
	case errors.Is(err, context.DeadlineExceeded) && fault.Of(err).Class != fault.Unavailable:
		return httpapi.Check{Name: name, Status: "fail", Detail: late}
	}
	return httpapi.Check{Name: name, Status: "fail", Detail: fault.Of(err).Text}
}

// Ready implements httpapi.Readiness. A build that is not current is no failure:
// it is waiting to be, or finishes the runs that began with it.
func (w *work) Ready(ctx context.Context) []httpapi.Check {
	checks := w.servers(ctx)
	build := httpapi.Check{Name: "build", Status: "ok", Detail: Build()}
	switch current, err := workers.Current(ctx, w.temporal); {
	case err != nil:
		build.Status, build.Detail = "warn", "whether build "+Build()+" is current is not known"
	case !current:
		build.Status, build.Detail = "warn", "build "+Build()+" is not current; it takes no new runs"
		if ramping, percent, err := durable.Ramp(ctx, w.temporal, contract.Deployment); err == nil && ramping == Build() {
			build.Detail = fmt.Sprintf("build %s is not current; %d %% of the new runs begin with it", ramping, percent)
		}
	default:
		if found := w.found.Load(); found != nil && len(found.Left) > 0 {
			build.Status, build.Detail = "warn", fmt.Sprintf("%d open runs wait for a worker of the build they began with, such as %s for %s",
				len(found.Left), found.Left[0].WorkflowID, found.Left[0].Build)
		}
	}
	return append(checks, build)
}

// serveProbes serves ln until ctx ends. It owns ln.
func serveProbes(ctx context.Context, ln net.Listener, probes http.Handler) error {
	server := &http.Server{Handler: probes, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	// A probe is asked again: none is worth waiting for.
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the probes: %w", err)
	}
	return nil
}
