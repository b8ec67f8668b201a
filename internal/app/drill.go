package app

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/devenv"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
	"patchbay/internal/quota"
	"patchbay/internal/run"
	"patchbay/internal/store"
)

const (
	mostReplayed = 200_000
	drillTick    = 100 * time.Millisecond
	drillChunk   = 500
)

type (
	// DrillOptions are the choices of `patchbay drill`.
	DrillOptions struct {
		Data     string // directory of the `patchbay dev` that is drilled
		Flow     string
		Times    int     // as many events as were recorded, times so many
		Speed    float64 // so many times as fast
		From, To time.Time
		Generate bool   // a day with the shape of a working day, of the events that were recorded
		Seed     uint64 // of what is generated
		Wait     time.Duration
		Sample   func(DrillSample) // told each second; may be nil
	}

	// DrillSample is how it stands at one time.
	DrillSample struct {
		At        float64        `json:"at"` // seconds since the beginning
		Sent      int            `json:"sent"`
		Windows   int64          `json:"windows"` // that are open
		Runs      int64          `json:"runs"`    // that are not final
		Completed int64          `json:"completed"`
		Failed    int64          `json:"failed"`
		Mode      flow.SpikeMode `json:"mode,omitempty"`
	}

	// DrillQuota is how much of one limit that the provider of the target states was used
	// at most, as the samples saw it: requests, messages, or milliseconds of execution.
	DrillQuota struct {
		Kind flow.QuotaKind `json:"kind"`
		Per  float64        `json:"per_s"` // of the dev that is drilled, which may be sped up
		Most int64          `json:"most"`
		Peak int64          `json:"peak"`
	}

	// DrillReport is what a drill came to. Its JSON is an interface.
	DrillReport struct {
		Flow     string           `json:"flow"`
		Events   int              `json:"events"`
		Outcomes map[string]int   `json:"outcomes"`
		Took     float64          `json:"took_s"`  // until the last event was accepted
		Drained  float64          `json:"drain_s"` // from then until nothing waited
		Forecast float64          `json:"forecast_s"`
		Peak     int64            `json:"peak"` // windows and runs that waited at most
		Busiest  int64            `json:"busiest_minute"`
		Modes    []flow.SpikeMode `json:"modes"`
		Quotas   []DrillQuota     `json:"quotas"`
		Emptied  bool             `json:"emptied"`
		Samples  []DrillSample    `json:"samples"`
	}

	driller struct {
		DrillOptions
		pace   float64 // runs a second that the flow's throttle lets pass; 0: it has none for all together
		inbox  *inbox.Inbox
		quotas func(context.Context) (quota.Look, error) // of the target; nil: none is stated
		costs  int                                       // messages of a run
		began  time.Time
		report *DrillReport
	}

	planned struct {
		at    time.Duration
		event flow.Occurrence
	}
)

// Drill replays a day of events into a `patchbay dev`. It goes by the inbox, not by the
// door, so the secrets of the sources are not needed; and only where what the flow
// writes to is the sandbox, so nobody is told of anything.
func Drill(ctx context.Context, o DrillOptions) (DrillReport, error) {
	info, err := devenv.ReadInfo(o.Data)
	if err != nil || info.Database == "" {
		return DrillReport{}, fault.New(fault.Invalid, "drill.environment", "there is no patchbay dev in "+o.Data+"; a drill runs on one only, start it or name its --data", err)
	}
	db, err := store.Open(ctx, info.Database, store.Options{})
	if err != nil {
		return DrillReport{}, fmt.Errorf("opening the database of patchbay dev: %w", err)
	}
	defer db.Close()
	plans := run.NewPlans(db)
	plan, _, err := plans.Current(ctx, o.Flow)
	if err != nil {
		return DrillReport{}, err
	}
	if err := harmless(plan); err != nil {
		return DrillReport{}, err
	}
	d := &driller{DrillOptions: o, inbox: inbox.New(db, plans, judges{&mappers{}}, inbox.Options{Speed: info.Speed}), costs: messagesOf(plan),
		report: &DrillReport{Flow: o.Flow, Outcomes: map[string]int{}, Modes: []flow.SpikeMode{}, Quotas: []DrillQuota{}}}
	target, err := plans.Connection(ctx, plan.Write.Connection)
	if err != nil {
		return DrillReport{}, err
	}
	if len(target.Quotas) > 0 {
		quotas := quota.New(db, quota.Options{Speed: info.Speed})
		defer quotas.Close(context.WithoutCancel(ctx))
		d.quotas = func(ctx context.Context) (quota.Look, error) { return quotas.Look(ctx, target) }
	}
	if t := plan.Reaction.Throttle; t != nil && t.By == "" {
		d.pace = float64(t.Rate) / t.Per.Seconds()
	}
	day, err := d.day(ctx, plan)
	if err != nil {
		return DrillReport{}, err
	}
	err = d.replay(ctx, day)
	return *d.report, err
}

// harmless refuses a flow that would reach anybody outside: what it writes to has to be
// the sandbox.
func harmless(plan *flow.Plan) error {
	if plan.Reaction == nil {
		return fault.Invalidf("flow.pattern", "the flow %s reacts to no events, so there is nothing to drill", plan.Flow)
	}
	if plan.Write == nil {
		return fault.New(fault.Rejected, "drill.target", "the flow "+plan.Flow+" tells of "+plan.Emit+", which starts and continues runs of other flows: a drill would have them do their work", nil)
	}
	target := plan.Write.Connection
	_, where, _ := strings.Cut(plan.Bindings[target].Identity, " ")
	if where != "sandbox" && !strings.HasPrefix(where, "sandbox/") {
		return fault.New(fault.Rejected, "drill.target", "the flow "+plan.Flow+" writes to "+target+
			", which is not the sandbox: a drill would reach real people; drill it on a patchbay dev whose connections are those of the examples", nil)
	}
	return nil
}

// day plans when which event comes.
func (d *driller) day(ctx context.Context, plan *flow.Plan) ([]planned, error) {
	recorded, err := d.inbox.Recorded(ctx, d.Flow, d.From, d.To, mostReplayed)
	if err != nil {
		return nil, err
	}
	if len(recorded) == 0 {
		return nil, fault.New(fault.Invalid, "drill.empty", "no event of "+d.Flow+" was kept between "+d.From.Format(time.RFC3339)+" and "+d.To.Format(time.RFC3339)+
			"; deliver some, or choose another time with --from and --to", nil)
	}
	random := rand.New(rand.NewPCG(d.Seed, d.Seed)) //nolint:gosec // a day that can be repeated from its seed
	n := len(recorded)
	if d.Generate && plan.Reaction.Expect.PerDay > 0 {
		n = int(plan.Reaction.Expect.PerDay)
	}
	var day []planned
	drill := strconv.FormatInt(time.Now().UnixNano(), 36)
	for copied := range d.Times {
		for i := range n {
			r := recorded[i%len(recorded)]
			at := r.At.Sub(d.From)
			if d.Generate {
				r, at = recorded[random.IntN(len(recorded))], workingDay(random)
			}
			day = append(day, planned{time.Duration(float64(at) / d.Speed), copyOf(r.Event, plan, fmt.Sprintf("%s-%d-%d", drill, copied, i/len(recorded)), i)})
		}
	}
	if len(day) > 5*mostReplayed {
		return nil, fault.Invalidf("drill.size", "that is %d events; give fewer --times, or a shorter time", len(day))
	}
	slices.SortStableFunc(day, func(a, b planned) int { return int(a.at - b.at) })
	first := day[0].at // the silence before it tells nothing
	for i := range day {
		day[i].at -= first
	}
	return day, nil
}

// workingDay is a time of a day: most of it between eight and six, with a peak in the
// morning and one after lunch.
func workingDay(random *rand.Rand) time.Duration {
	hour := 13 + 6*random.NormFloat64()
	switch random.IntN(4) {
	case 0:
		hour = 9.5 + random.NormFloat64()
	case 1:
		hour = 14 + random.NormFloat64()
	}
	return time.Duration(min(max(hour, 0), 23.99) * float64(time.Hour))
}

// copyOf is an event of a record of its own: the copies of a day do not become one
// window. Where the flow reads its records, they have to be those that there are.
func copyOf(e flow.Occurrence, plan *flow.Plan, tag string, i int) flow.Occurrence {
	e.ID = "drill " + tag + " " + strconv.Itoa(i) + " " + e.Record
	if plan.Read != nil {
		return e
	}
	record := e.Record + "~" + tag
	renamed := func(row flow.Row) flow.Row {
		row = maps.Clone(row)
		for name, v := range row {
			if v == any(e.Record) {
				row[name] = record
			}
		}
		return row
	}
	e.Before, e.After, e.Record = renamed(e.Before), renamed(e.After), record
	return e
}

// replay delivers the day and waits until nothing waits any more.
func (d *driller) replay(ctx context.Context, day []planned) error {
	d.began = time.Now()
	d.report.Events = len(day)
	ticks := time.NewTicker(drillTick)
	defer ticks.Stop()
	sent, last := 0, DrillSample{At: -1}
	var ended time.Time
	for {
		n := sent
		for n < len(day) && n-sent < drillChunk && day[n].at <= time.Since(d.began) {
			n++
		}
		if n > sent {
			if err := d.accept(ctx, day[sent:n]); err != nil {
				return err
			}
			sent = n
			if sent == len(day) {
				ended = time.Now()
				d.report.Took = ended.Sub(d.began).Seconds()
			}
		}
		if time.Since(d.began).Seconds()-last.At >= 1 || sent == len(day) && d.report.Forecast == 0 {
			var err error
			if last, err = d.look(ctx, sent, sent == len(day)); err != nil {
				return err
			}
			if sent == len(day) && last.Windows+last.Runs == 0 {
				d.report.Drained, d.report.Emptied = time.Since(ended).Seconds(), true
				return nil
			}
			if !ended.IsZero() && time.Since(ended) > d.Wait {
				d.report.Drained = time.Since(ended).Seconds()
				return nil
			}
		}
		if sent < len(day) && day[sent].at <= time.Since(d.began) {
			continue // behind its time
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

func (d *driller) accept(ctx context.Context, part []planned) error {
	events := make([]flow.Occurrence, len(part))
	for i, p := range part {
		events[i] = p.event
		events[i].At = time.Now().UTC()
	}
	receipt, err := d.inbox.Accept(ctx, d.Flow, events)
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.InDoubt) { // as a sender does
		receipt, err = d.inbox.Accept(ctx, d.Flow, events)
	}
	for reason, n := range receipt.Outcomes {
		d.report.Outcomes[reason] += n
	}
	return err
}

// look takes a sample; ended says that all was delivered, and from then on there is a
// forecast.
func (d *driller) look(ctx context.Context, sent int, ended bool) (DrillSample, error) {
	s := DrillSample{At: time.Since(d.began).Seconds(), Sent: sent}
	b, err := d.inbox.Backlog(ctx, d.Flow)
	if err != nil {
		return s, err
	}
	s.Windows = b.Open
	if s.Runs, s.Completed, s.Failed, err = d.inbox.Open(ctx, d.Flow, d.began); err != nil {
		return s, err
	}
	spikes, err := d.inbox.Spikes(ctx)
	if err != nil {
		return s, err
	}
	for _, spike := range spikes {
		if spike.Flow == d.Flow && spike.Mode != "" {
			if s.Mode = spike.Mode; !slices.Contains(d.report.Modes, s.Mode) {
				d.report.Modes = append(d.report.Modes, s.Mode)
			}
		}
	}
	r := d.report
	r.Peak = max(r.Peak, s.Windows+s.Runs)
	r.Samples = append(r.Samples, s)
	first := r.Samples[0]
	for _, before := range r.Samples {
		if s.At-before.At <= 60 {
			first = before
			break
		}
	}
	done := s.Completed + s.Failed - first.Completed - first.Failed
	r.Busiest = max(r.Busiest, done)
	takes, tight, err := d.limits(ctx, s.Windows+s.Runs)
	if err != nil {
		return s, err
	}
	if ended && r.Forecast == 0 {
		rate := 0.0
		if passed := s.At - first.At; passed > 0 {
			rate = float64(done) / passed
		}
		r.Forecast = d.forecast(float64(s.Windows+s.Runs), rate, takes, tight)
	}
	if d.Sample != nil {
		d.Sample(s)
	}
	return s, nil
}

// limits notes how much of the target's quotas is used, and says how long its provider
// takes for what waits, and whether that is what it waits for.
func (d *driller) limits(ctx context.Context, waiting int64) (takes time.Duration, tight bool, err error) {
	if d.quotas == nil {
		return 0, false, nil
	}
	look, err := d.quotas(ctx)
	if err != nil {
		return 0, false, err
	}
	for i, u := range look.Used() {
		if i == len(d.report.Quotas) {
			d.report.Quotas = append(d.report.Quotas, DrillQuota{Kind: u.Kind, Per: u.Per.Seconds(), Most: u.Most})
		}
		d.report.Quotas[i].Peak = max(d.report.Quotas[i].Peak, u.Used)
	}
	takes, tight = look.Drain(d.costs, waiting)
	return takes, tight, nil
}

// forecast says in how many seconds nothing waits any more: at the pace of the flow's
// throttle, or without one at the rate at which runs ended in the minute before, and not
// before the target's provider has taken all of it. A rate that the provider holds down
// tells nothing beside what it states.
func (d *driller) forecast(waiting, rate float64, takes time.Duration, tight bool) float64 {
	switch {
	case d.pace > 0:
		return max(waiting/d.pace, takes.Seconds())
	case rate > 0 && !tight:
		return max(waiting/rate, takes.Seconds())
	}
	return takes.Seconds()
}
