package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/contract"
	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/mirror"
	"patchbay/internal/replica"
)

type (
	// mirrors serves activities.Mirrors: it gives package mirror the region's own system and
	// the borders of the others.
	mirrors struct {
		systems *systems
		replica *replica.Replica
		border  *egress.Egress
		resolve func(string) (string, error)
		speed   float64
		region  string // ours; empty: none
		log     *zap.Logger
		bells   *bells

		mu    sync.Mutex
		peers map[string]*egress.Peer // by URL
	}
)

const (
	// mirrorRound is how long one activity of a synchronization works.
	mirrorRound = 5 * time.Minute
	// mirrorPoll is how often a source that does not tell of its changes is asked.
	mirrorPoll = time.Second
	// mirrorSeldom is how often one is asked whose webhooks tell of them: what a webhook does
	// not tell of is found so.
	mirrorSeldom = 30 * time.Second
	// pruneEvery is how often what all regions have is removed from the border.
	pruneEvery = 5 * time.Second
)

// side is our end of a synchronization.
func (m *mirrors) side(ctx context.Context, plan *flow.Plan, in contract.SyncInput, held func() error) (*mirror.Side, error) {
	if plan.Sync == nil || plan.Sync.Region(in.Region) == nil {
		return nil, fault.New(fault.Bug, "sync.plan", "the plan shares nothing of region "+in.Region, nil)
	}
	if in.Region != m.region {
		return nil, fault.New(fault.Conflict, "sync.region", "this process belongs to region "+m.region+", and not to "+in.Region, nil)
	}
	system, err := m.systems.open(ctx, plan, plan.Sync.Region(in.Region).Connection)
	if err != nil {
		return nil, err
	}
	return &mirror.Side{
		Place: m.place(plan), System: system, Replica: m.replica, Poll: mirrorPoll, Seldom: m.seldom(plan), Speed: m.speed, Held: held,
		Bell: func(table string) *mirror.Bell { return m.bells.of(plan.Flow, table) },
		Broke: func(table, trace string) {
			m.log.Error("the work on a table broke off", zap.String("flow", plan.Flow), zap.String("table", table), zap.String("trace", trace))
		},
	}, nil
}

// seldom keeps a change that no webhook tells of within what users are told to expect.
func (m *mirrors) seldom(plan *flow.Plan) time.Duration {
	if plan.Sync.Lag <= 0 {
		return mirrorSeldom
	}
	promised := time.Duration(float64(plan.Sync.Lag) * max(m.speed, 1)) // a plan has it divided already
	return min(mirrorSeldom, promised/2)
}

func (m *mirrors) place(plan *flow.Plan) replica.Place {
	return replica.Place{Flow: plan.Flow, Region: m.region, Sync: plan.Sync}
}

// Export gathers what changes in our region, removes from the border what all others have,
// and tells others who compare what we know.
func (m *mirrors) Export(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error) {
	s, err := m.side(ctx, plan, in, held)
	if err != nil {
		return contract.SyncCounts{}, err
	}
	pruning, stop := context.WithCancel(ctx)
	var pruned sync.WaitGroup
	pruned.Go(func() { m.prune(pruning, plan.Flow) })
	pruned.Go(func() { s.Publish(pruning, m.border) })
	s.Told = m.told(ctx, plan, replica.PartExport, "")
	done := s.Export(ctx, until)
	stop()
	pruned.Wait()
	return counted(done), nil
}

// prune removes what was acknowledged, until ctx ends. What cannot be removed now is
// removed later.
func (m *mirrors) prune(ctx context.Context, name string) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for {
				if n, err := m.border.Prune(ctx, name); err != nil || n == 0 {
					break
				}
			}
		}
	}
}

// Import takes what another region has for ours.
func (m *mirrors) Import(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error) {
	s, err := m.side(ctx, plan, in, held)
	if err != nil {
		return contract.SyncCounts{}, err
	}
	s.Told = m.told(ctx, plan, replica.PartImport, in.From)
	peer, err := m.peer(ctx, plan, in.From)
	if err != nil {
		s.Told(map[string]*fault.Fault{"all tables": fault.Of(err)})
		return contract.SyncCounts{}, err
	}
	return counted(s.Import(ctx, in.From, peer, until)), nil
}

// told keeps what tables suffer from, for the console; it is told again, so that what
// cannot be kept now is kept later.
func (m *mirrors) told(ctx context.Context, plan *flow.Plan, part, peer string) func(map[string]*fault.Fault) {
	return func(trouble map[string]*fault.Fault) {
		_ = m.replica.Report(ctx, m.place(plan), part, peer, trouble)
	}
}

// peer connects to the border of another region, once.
func (m *mirrors) peer(ctx context.Context, plan *flow.Plan, region string) (*egress.Peer, error) {
	r := plan.Sync.Region(region)
	if r == nil || r.Egress == "" {
		return nil, fault.Invalidf("sync.no_peer", "how to reach region %s is not known; give its egress URL under regions in connections.yaml", region)
	}
	url, err := m.resolve(r.Egress)
	if err != nil {
		return nil, fmt.Errorf("the border of region %s: %w", region, err)
	}
	m.mu.Lock()
	p := m.peers[url]
	m.mu.Unlock()
	if p != nil {
		return p, nil
	}
	// Dialling a region that is away takes its time, and holds up no other.
	if p, err = egress.Dial(ctx, url); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.peers[url]; other != nil {
		p.Close()
		return other, nil
	}
	if m.peers == nil {
		m.peers = map[string]*egress.Peer{}
	}
	m.peers[url] = p
	return p, nil
}

// close ends the connections to other regions.
func (m *mirrors) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for url, p := range m.peers {
		p.Close()
		delete(m.peers, url)
	}
}

// counted is what was done, as it travels.
func counted(c mirror.Counts) contract.SyncCounts {
	out := contract.SyncCounts{Changes: c.Changes, Batches: c.Batches, Outcomes: map[string]int64{}, Trouble: c.Trouble}
	for outcome, n := range c.Outcomes {
		out.Outcomes[string(outcome)] = n
	}
	return out
}

// Compare compares our system and the other regions with what we know, as often as the flow says.
func (m *mirrors) Compare(ctx context.Context, plan *flow.Plan, in contract.SyncInput, until time.Time, held func() error) (contract.SyncCounts, error) {
	s, err := m.side(ctx, plan, in, held)
	if err != nil {
		return contract.SyncCounts{}, err
	}
	done := contract.SyncCounts{Outcomes: map[string]int64{}, Trouble: map[string]*fault.Fault{}}
	for {
		last, err := m.replica.Comparisons(ctx, s.Place)
		if err != nil {
			return done, err
		}
		wait := compareLate
		for _, c := range last {
			wait = max(wait, time.Until(c.At.Add(plan.Sync.Reconcile)))
		}
		if time.Now().Add(wait).After(until) {
			wait = time.Until(until)
		}
		select {
		case <-ctx.Done():
			return done, nil
		case <-time.After(wait):
		}
		if !time.Now().Before(until) {
			return done, nil
		}
		found, err := m.compare(ctx, plan, s)
		if err != nil {
			return done, err
		}
		for _, c := range found {
			done.Changes += c.Records
			done.Outcomes["drift"] += c.Drift
			done.Outcomes["repaired"] += c.Repaired
		}
		done.Batches++
	}
}

// compare compares our system, and each other region, with what we know. What one of them
// suffers from is kept with its name, and keeps none from the others.
func (m *mirrors) compare(ctx context.Context, plan *flow.Plan, s *mirror.Side) ([]flow.SyncCompared, error) {
	all, trouble, err := s.Compare(ctx)
	if err != nil {
		return all, err
	}
	_ = m.replica.Report(ctx, s.Place, replica.PartCompare, "", trouble) // told again the next time
	peers := map[string]mirror.Comparable{}
	for _, r := range plan.Sync.Regions {
		if r.Name == m.region {
			continue
		}
		var found []flow.SyncCompared
		peer, err := m.peer(ctx, plan, r.Name)
		if err == nil {
			peers[r.Name] = peer
			found, trouble, err = s.CompareWith(ctx, r.Name, peer, m.border)
		}
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if err != nil {
			trouble = map[string]*fault.Fault{"all tables": fault.Of(err)}
		}
		_ = m.replica.Report(ctx, s.Place, replica.PartCompare, r.Name, trouble) // as above
		all = append(all, found...)
	}
	// Whoever is away may not know of a deletion yet: its values are erased the next time.
	if _, err := s.Erase(ctx, peers, m.border); ctx.Err() != nil {
		return all, err
	}
	return all, nil
}

// compareLate is how long a region that was just started is left alone before its system
// is compared.
const compareLate = 5 * time.Second
