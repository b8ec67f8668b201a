package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// batchSize is how many events one delivery of a batch has, batchSenders and
	// oneSenders over how many connections they come.
	batchSize    = 100
	batchSenders = 8
	oneSenders   = 32
	// toldEvents are delivered to be told of under load, and idleEvents one by one.
	toldEvents = 1000
	idleEvents = 20
)

// stream is what one round of deliveries came to.
type stream struct {
	events int
	took   time.Duration
	cpu    map[string]float64
	stored tables
	memory []int64 // of patchbay, ten times a second
}

func (s stream) rate() float64 { return float64(s.events) / s.took.Seconds() }

// eventRounds collects what the section measures.
type eventRounds struct {
	dropped, single, kept, raw []stream
	actions, bare, told        []float64 // a thousand events; told: events a second until the last mail
	batches, singles           []float64 // runs that carried several of these events, and that carried one
	idle                       []time.Duration
	group                      []int // events of one transaction
	again                      int   // deliveries that the server refused for now
}

// events measures the event pattern: what is refused by a filter, what is accepted, what
// is told under load, and how soon one event alone is.
func events(ctx context.Context, env *environment, peer *peer, o options) error {
	var all eventRounds
	warm := o
	warm.lasting, warm.profile = min(o.lasting, time.Second), ""
	if err := all.streams(ctx, env, warm, nil); err != nil {
		return err
	}
	all = eventRounds{group: all.group}
	raw, err := newRawRows(ctx, env.database, all.group[0])
	if err != nil {
		return err
	}
	defer func() { _ = raw.conn.Close(context.WithoutCancel(ctx)) }()
	for n := range o.rounds {
		now := o
		if n < o.rounds-1 {
			now.profile = ""
		}
		if err := all.streams(ctx, env, now, raw); err != nil {
			return err
		}
	}
	for range o.rounds {
		if err := all.tell(ctx, env, peer); err != nil {
			return err
		}
	}
	for range o.rounds {
		if err := all.alone(ctx, env); err != nil {
			return err
		}
	}
	all.report(ctx, env, o)
	return nil
}

// streams measures dropping, accepting and raw inserts, each once.
func (r *eventRounds) streams(ctx context.Context, env *environment, o options, raw *rawRows) error {
	dull, news := &cases{}, &cases{facing: true}
	news.n.Store(time.Now().UnixMicro()) // not those of the round before
	for _, kind := range []struct {
		name, flow, media string
		connections, size int
		next              func([]byte) []byte
		into              *[]stream
	}{
		{"batch", dropping, manyEvents, batchSenders, batchSize, dull.batch(batchSize), &r.dropped},
		{"one", dropping, oneEvent, oneSenders, 1, dull.event, &r.single},
		{"kept", keeping, manyEvents, batchSenders, batchSize, news.batch(batchSize), &r.kept},
	} {
		one, err := env.stream(ctx, o, kind.name, func() (int, time.Duration, error) {
			n, again, took, err := senders(ctx, env.api, kind.connections, o.lasting, "/v1/hooks/"+kind.flow, kind.media, kind.next)
			r.again += again
			return n * kind.size, took, err
		})
		if err != nil {
			return fmt.Errorf("delivering (%s): %w", kind.name, err)
		}
		*kind.into = append(*kind.into, one)
	}
	if raw == nil {
		group, err := groupSize(ctx, env.database)
		r.group = append(r.group, group)
		return err
	}
	o.profile = ""
	one, err := env.stream(ctx, o, "raw", func() (int, time.Duration, error) { return raw.write(ctx, o.lasting) })
	r.raw = append(r.raw, one)
	return err
}

// groupSize is how many events one transaction of the path had.
func groupSize(ctx context.Context, address string) (n int, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = conn.QueryRow(ctx, `select count(*) / greatest(count(distinct xmin::text), 1) from event where flow = $1`, keeping).Scan(&n)
	return max(n, 1), err
}

// stream measures one round, and profiles it when told.
func (e *environment) stream(ctx context.Context, o options, name string, send func() (int, time.Duration, error)) (s stream, err error) {
	if err := pause(ctx, 1200*time.Millisecond); err != nil { // the statistics of what was before
		return s, err
	}
	before, err := counted(ctx, e.database)
	if err != nil {
		return s, err
	}
	used, err := e.running.cpu()
	if err != nil {
		return s, err
	}
	if o.profile != "" {
		if err := e.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			return s, err
		}
	}
	watch := watchMemory(e.running["patchbay"])
	s.events, s.took, err = send()
	if s.memory = watch(); err != nil {
		return s, err
	}
	if s.cpu, err = e.running.since(used); err != nil {
		return s, err
	}
	if o.profile != "" {
		if err := e.takeProfiles(ctx, o.profile+"-"+name); err != nil {
			return s, err
		}
		_ = os.Remove(filepath.Join(e.dir, "run-dev", "heap.pprof")) // the next one is awaited
	}
	if err := pause(ctx, 1200*time.Millisecond); err != nil {
		return s, err
	}
	after, err := counted(ctx, e.database)
	s.stored = after.since(before)
	return s, err
}

// tell delivers events as fast as they are taken and waits for their mails, beside a
// workflow for each.
func (r *eventRounds) tell(ctx context.Context, env *environment, peer *peer) error {
	before, err := env.actions(ctx)
	if err != nil {
		return err
	}
	box := &mailbox{env: env}
	if _, err := box.news(ctx); err != nil {
		return err
	}
	news := &cases{facing: true}
	news.n.Store(time.Now().UnixMicro())
	w, err := dialWire(env.api)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	began, mails := time.Now(), 0
	last := began
	for range toldEvents / batchSize {
		body := news.batch(batchSize)(nil)
		for err = w.post("/v1/hooks/"+telling, manyEvents, body); errors.Is(err, errLater); err = w.post("/v1/hooks/"+telling, manyEvents, body) {
			r.again++
		}
		if err != nil {
			return err
		}
	}
	if err := await(ctx, "the mail of every event", 2*time.Minute, func() bool {
		at, err := box.news(ctx)
		if mails += len(at); len(at) > 0 {
			last = at[len(at)-1]
		}
		return err == nil && mails >= toldEvents
	}); err != nil {
		return err
	}
	r.told = append(r.told, toldEvents/last.Sub(began).Seconds())
	if err := env.quiet(ctx, time.Minute); err != nil {
		return err
	}
	after, err := env.actions(ctx)
	if err != nil {
		return err
	}
	r.actions = append(r.actions, 1000*(after-before)/toldEvents)
	if err := r.shape(ctx, env.database, began); err != nil {
		return err
	}
	if err := tellBare(ctx, peer, 500); err != nil {
		return err
	}
	bare, err := env.actions(ctx)
	r.bare = append(r.bare, 1000*(bare-after)/500)
	return err
}

// shape counts the runs that carried what was told since.
func (r *eventRounds) shape(ctx context.Context, address string, since time.Time) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var several, one float64
	err = conn.QueryRow(ctx, `select count(*) filter (where size > 1), count(*) filter (where size = 1) from batch where flow = $1 and claimed_at > $2`,
		telling, since).Scan(&several, &one)
	r.batches, r.singles = append(r.batches, several), append(r.singles, one)
	return err
}

// mailbox is how far somebody has read the mails of the sandbox.
type mailbox struct {
	env  *environment
	last int64
}

// news gives when the mails were taken that have come since.
func (m *mailbox) news(ctx context.Context) (at []time.Time, err error) {
	for {
		resp, err := m.env.get(ctx, fmt.Sprintf("%s/_sandbox/mail?since=%d", m.env.sandbox, m.last))
		if err != nil {
			return at, err
		}
		var list []struct {
			N  int64     `json:"n"`
			At time.Time `json:"at"`
		}
		err = json.NewDecoder(resp.Body).Decode(&list)
		_ = resp.Body.Close()
		if err != nil || len(list) == 0 {
			return at, err
		}
		for _, mail := range list {
			m.last, at = mail.N, append(at, mail.At)
		}
	}
}

// alone delivers one event after the other, each when the mail of the one before is
// there, and looks in the drop when it was taken.
func (r *eventRounds) alone(ctx context.Context, env *environment) error {
	news := &cases{facing: true}
	news.n.Store(time.Now().UnixMicro())
	w, err := dialWire(env.api)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	box := &mailbox{env: env}
	if _, err := box.news(ctx); err != nil {
		return err
	}
	for range idleEvents {
		began := time.Now()
		if err := w.post("/v1/hooks/"+telling, oneEvent, news.event(nil)); err != nil {
			return err
		}
		var at []time.Time
		if err := await(ctx, "the mail of an event", 20*time.Second, func() bool {
			at, err = box.news(ctx)
			return err == nil && len(at) > 0
		}); err != nil {
			return err
		}
		r.idle = append(r.idle, at[0].Sub(began))
		if err := pause(ctx, 150*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// report prints the section, goals beside the figures.
func (r *eventRounds) report(ctx context.Context, env *environment, o options) {
	fmt.Printf("\nEvents, %d rounds of %s, median (min … max); CloudEvents over kept connections, each proved by a secret in a header\n", o.rounds, o.lasting)
	line := func(name string, rounds []stream, goal string) {
		fmt.Printf("  %-34s %24s events/s%s\n", name, spread(rates(rounds), 0), goal)
		fmt.Printf("  %-34s %s\n", "", costsOf(rounds))
	}
	line(fmt.Sprintf("dropped by a filter, in batches of %d", batchSize), r.dropped, "; goal at least 20000")
	line("dropped by a filter, one by one", r.single, "; goal at least 5000")
	line(fmt.Sprintf("accepted and durable, batches of %d", batchSize), r.kept, "")
	line(fmt.Sprintf("raw inserts, %d in a transaction", r.group[0]), r.raw, "")
	quotients := make([]float64, len(r.kept))
	for i := range quotients {
		quotients[i] = r.kept[i].rate() / r.raw[i].rate()
	}
	fmt.Printf("  %-34s %24s of the raw inserts; goal at least 0.5\n", "", spread(quotients, 2))
	if r.again > 0 {
		fmt.Printf("  %-34s %d DELIVERIES WERE REFUSED FOR NOW (503) and sent again: the database took longer than 1.8 s\n", "", r.again)
	}
	fmt.Printf("  %-34s %s\n", "what an accepted event leaves", leftovers(ctx, env.database))
	fmt.Printf("  %-34s %s\n", "resident memory of patchbay", flood(r.kept))
	fmt.Printf("  %-34s %24s Temporal actions/1000 events; goal below 50; %s mails/s; in %s batches and %s runs of one\n", "told under load", spread(r.actions, 1),
		spread(r.told, 0), spread(r.batches, 0), spread(r.singles, 0))
	fmt.Printf("  %-34s %24s Temporal actions/1000 events\n", "one workflow per event", spread(r.bare, 1))
	fmt.Printf("  %-34s p50 %.0f ms, p95 %.0f ms from the delivery to the mail in the drop, quiet: 0s; goal p50 below 150 ms\n", "one event alone",
		milliseconds(quantile(r.idle, 0.5)), milliseconds(quantile(r.idle, 0.95)))
}

// flood is how the memory went while events were accepted as fast as they came, all
// rounds after each other.
func flood(rounds []stream) string {
	var events int
	var all []int64
	for _, s := range rounds {
		events, all = events+s.events, append(all, s.memory...)
	}
	if len(all) == 0 {
		return "not known"
	}
	return fmt.Sprintf("%d MB before, %d MB half way, %d MB after %d events that were kept; %d MB at most", all[0]>>20, all[len(all)/2]>>20, all[len(all)-1]>>20, events,
		slices.Max(all)>>20)
}

func rates(rounds []stream) []float64 {
	values := make([]float64, len(rounds))
	for i, s := range rounds {
		values[i] = s.rate()
	}
	return values
}

// costsOf is what a thousand events cost.
func costsOf(rounds []stream) string {
	thousand := func(value func(stream) float64) float64 {
		values := make([]float64, len(rounds))
		for i, s := range rounds {
			values[i] = 1000 * value(s) / float64(max(s.events, 1))
		}
		return median(values)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(rounds[0].cpu)) {
		if ms := thousand(func(s stream) float64 { return 1000 * s.cpu[name] }); ms >= 0.5 {
			parts = append(parts, fmt.Sprintf("%s %.0f", name, ms))
		}
	}
	return fmt.Sprintf("of 1000: CPU ms %s; %.1f commits, %.0f rows changed, %.0f kB written ahead", strings.Join(parts, ", "),
		thousand(func(s stream) float64 { return s.stored.commits }), thousand(func(s stream) float64 { return s.stored.changed }),
		thousand(func(s stream) float64 { return s.stored.wal })/1000)
}

// leftovers is what the tables hold for each event of the flow that keeps all.
func leftovers(ctx context.Context, address string) string {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var n, rows, bytes float64
	err = conn.QueryRow(ctx, `
		select (select count(*) from event where flow = $1)::float8,
		       ((select count(*) from event) + (select count(*) from record) + (select count(*) from change_window))::float8,
		       (pg_total_relation_size('event') + pg_total_relation_size('record') + pg_total_relation_size('change_window'))::float8`, keeping).Scan(&n, &rows, &bytes)
	if err != nil || n == 0 {
		return fmt.Sprint("not known: ", err)
	}
	return fmt.Sprintf("%.1f rows (event, record, window), %.0f bytes with all indexes; one that is dropped: none but its counter", rows/n, bytes/n)
}
