package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
	"patchbay/internal/telemetry"
	"patchbay/internal/web"
	"patchbay/starters"
)

type (
	// Face is how the API and the console of a process look to its callers.
	Face struct {
		Dev         bool         // unauthenticated calls from loopback are the principal "dev"
		Keys        httpapi.Keys // bearer keys; nil: none
		Hosts       []string     // Host headers to serve; empty: any
		Proxies     []netip.Prefix
		UI          string       // of the Temporal Web UI; empty: no links
		Address     string       // URL at which people reach the console; empty: the Temporal Web UI has no links to it
		Sandbox     string       // that offers samples; empty: none
		Environment string       // shown in the console
		Data        string       // directory of an environment of this machine; empty: none
		Regions     []web.Region // whose consoles run beside
		Version     string
		// Working reports whether a worker in this process takes tasks and its build
		// is Current; nil: there is none here.
		Working func() bool
	}

	// api is the API, the console, the relay and what they need.
	api struct {
		*core
		face    Face
		trigger *starters.Trigger
		relay   *starters.Relay
		inlet   *starters.Inlet
		waker   *starters.Waker
		canary  *starters.Canary
		lags    *lags
		keeper  *starters.Schedules
		server  *httpapi.Server
	}
)

func newAPI(c *core, f Face) *api {
	a := &api{core: c, face: f, lags: &lags{borders: c.borders(), speed: c.Speed}}
	eager := starters.Eager(starters.Never)
	if f.Working != nil {
		eager = f.Working
	}
	a.trigger = starters.NewTrigger(c.book, c.temporal, eager, c.Log)
	a.relay = starters.NewRelay(c.book, c.temporal, eager, c.Log)
	a.trigger.Wake = a.relay.Wake
	a.trigger.Alone = c.alone
	a.inlet = starters.NewInlet(c.inbox, a.trigger, c.book, c.Log)
	a.inlet.Allow = (&allowance{plans: c.plans, book: c.book, quotas: c.quotas, speed: c.Speed}).allow
	c.inbox.Wake = a.inlet.Wake
	a.waker = starters.NewWaker(c.topics, c.decisions, a.trigger, c.temporal, c.Log)
	c.topics.Wake = a.waker.Wake
	c.decisions.Wake = a.waker.Wake
	a.canary = starters.NewCanary(c.temporal, c.Namespace, c.store, c.Log)
	a.canary.Back = a.relay.Restore
	a.keeper = c.schedules()
	a.relay.Away = func() bool { return a.canary.Song().Misses > 0 }
	if f.Address != "" {
		page := func(runID string) string { return f.Address + "/runs/" + runID }
		a.trigger.Page, a.relay.Page = page, page
	}
	flows := catalogue{c.plans}
	console := web.Options{
		Runs: c.book, Flows: flows, Explainer: explainer{c.journal, c.inbox, c.topics, c.stage, c.reviews, c.borders()}, Queue: c.book, Certificates: c.book, Dead: c.book, Overview: c.book, Events: c.inbox, Alerts: c.board, Repairs: c.book, Topics: c.topics, Stops: stops{c.stops, c.plans, c.book, c.quotas}, Pictures: c.stage, Plans: c.reviews, Referrals: c.decisions, Schedules: c.slots, Syncs: c.borders(), Landscape: &landscape{plans: c.plans},
		Principal: func(r *http.Request) flow.Principal { return httpapi.PrincipalFrom(r.Context()) },
		UIBase:    f.UI, Namespace: c.Namespace, Environment: f.Environment, Regions: f.Regions, Version: f.Version,
	}
	if f.Sandbox != "" {
		console.Samples = samples{base: f.Sandbox, http: &http.Client{Timeout: 2 * time.Second}}
	}
	a.server = httpapi.NewServer(httpapi.Options{
		Trigger: a.trigger, Runs: c.book, Canceller: starters.NewControl(c.book, c.temporal),
		Flows: flows, Explainer: explainer{c.journal, c.inbox, c.topics, c.stage, c.reviews, c.borders()}, Dead: c.book, Hooks: alarmed{&hooks{flows: c.plans, systems: c.systems, inbox: c.inbox, replica: c.replica, region: c.Region}, a.conflicted}, Troubles: c.inbox, Repairs: c.book, Topics: c.topics, Pictures: c.stage, Plans: decisions{c.reviews, c.plans, c.mappers}, Referrals: c.decisions, Capsules: capsules{c.decisions, c.CapsuleKey}, Regions: c.borders(),
		Schedules: c.slots, Keeper: a.keeper, Stops: stops{c.stops, c.plans, c.book, c.quotas}, Paid: payments{c.paid, c.plans}, Shadows: c.shadows, Readiness: a, Doctor: a,
		Console: web.New(console), Metrics: c.Metrics.Handler(), Keys: f.Keys,
		Dev: f.Dev, Hosts: f.Hosts, Proxies: f.Proxies, Version: f.Version, Log: c.Log, Observe: c.Metrics.Request,
	})
	c.Metrics.WatchCanary(func() telemetry.Canary {
		song := a.canary.Song()
		seen := telemetry.Canary{Passed: song.Passed, Took: song.Took, Up: map[string]bool{}}
		for _, leg := range starters.Legs {
			seen.Up[string(leg)] = song.Well() || song.Leg != leg
		}
		return seen
	})
	c.Metrics.WatchSlots(c.slotCounts)
	c.Metrics.WatchQueues(c.backlogs)
	if c.Region != "" {
		c.Metrics.WatchShared(c.borders().shares)
	}
	c.Metrics.WatchBacklog(func(ctx context.Context) (telemetry.Backlog, error) {
		s, err := c.book.Stats(ctx)
		return telemetry.Backlog(s), err
	})
	return a
}

// run serves ln until ctx ends, on a book that is at work. It owns ln.
func (a *api) run(ctx context.Context, ln net.Listener) error {
	defer a.trigger.Close()
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return a.relay.Run(ctx) })
	parts.Go(func() error { a.inlet.Run(ctx); return nil })
	parts.Go(func() error { a.waker.Run(ctx); return nil })
	parts.Go(func() error { a.canary.Run(ctx); return nil })
	parts.Go(func() error { a.tidy(ctx); return nil })
	parts.Go(func() error { a.watch(ctx); return nil })
	parts.Go(func() error { a.keeper.Run(ctx); return nil })
	parts.Go(func() error {
		starters.NewResumer(a.book, a.stops, a.temporal, a.Namespace, a.Log).Run(ctx)
		return nil
	})
	if a.Region != "" {
		standings := starters.NewStandings(a.plans, a.Region, a.temporal, a.Namespace, a.Log)
		parts.Go(func() error { standings.Run(ctx); return nil })
	}
	parts.Go(func() error { a.sender().Run(ctx); return nil })
	parts.Go(func() error { return a.server.Run(ctx, ln) })
	return parts.Wait()
}

// samples asks the sandbox for parameters that work.
type samples struct {
	base string
	http *http.Client
}

func (s samples) Sample(ctx context.Context, name string) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/_sandbox/samples/"+url.PathEscape(name), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for a sample: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "sandbox.unavailable", "the sandbox does not answer", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	var sample map[string]any
	d := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<10))
	d.UseNumber()
	if err := d.Decode(&sample); err != nil || resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Bug, "sandbox.sample", "the sandbox gave no sample", err)
	}
	return sample, nil
}
