package quota

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/group"
)

type (
	// Options tune Quotas.
	Options struct {
		Speed float64 // divides windows; 0 and 1 are real time
		// Lease is how long the places of a process are its own after it was last heard
		// of; 0: ten seconds.
		Lease time.Duration
	}

	// Quotas are those of all connections, as one process uses them. It is safe for
	// concurrent use; whoever made it closes it, before its store.
	Quotas struct {
		store   *store.Store
		options Options
		holder  string // of leases
		orders  *group.Group[*order, outcome]

		mu     sync.Mutex
		meters map[string]*Meter
	}

	// order is what a meter wants of the row of its connection.
	order struct {
		meter   *Meter
		use     Use
		enters  bool // a token and a place are wanted; else only what is to be reported
		silence time.Duration
		end     bool // all is given back
	}

	// outcome is what an order came to: a token, or how long there is none.
	outcome struct {
		token *token
		wait  time.Duration
	}
)

const (
	mostOrders   = 256
	defaultLease = 10 * time.Second
	// commitTimeout bounds a transaction, whatever its callers do.
	commitTimeout = 5 * time.Second
)

// New gives the quotas of a store.
func New(s *store.Store, o Options) *Quotas {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	q := &Quotas{store: s, options: o, holder: rand.Text()[:16], meters: map[string]*Meter{}}
	q.orders = group.New(mostOrders, 1, q.fill)
	return q
}

// Meter gives the meter of a connection; nil when it states no quotas. There is one in
// a process for each connection, which knows the quotas that were given last.
func (q *Quotas) Meter(c flow.Connection) *Meter {
	if len(c.Quotas) == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.meters[c.Name]
	if m == nil {
		m = &Meter{of: q, name: c.Name, pools: map[Use]*pool{}, shut: map[Use]refusal{}, amends: map[amendKey]int64{}, usual: usually(q.options.Speed)}
		q.meters[c.Name] = m
	}
	m.set(c.Quotas)
	return m
}

// Close gives back what this process took ahead, and its places. Its meters give
// nothing any more.
func (q *Quotas) Close(ctx context.Context) {
	q.mu.Lock()
	meters := q.meters
	q.meters = map[string]*Meter{}
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range meters {
		all.Go(func() {
			if m.stop() {
				_, _ = q.orders.Do(ctx, &order{meter: m, end: true}) // else it lapses
			}
		})
	}
	all.Wait()
}

// fill executes orders in one transaction, meter by meter in the order of their names.
func (q *Quotas) fill(ctx context.Context, in []*order) ([]group.Reply[outcome], error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	replies := make([]group.Reply[outcome], len(in))
	by := map[*Meter][]int{}
	var meters []*Meter
	for i, o := range in {
		if by[o.meter] == nil {
			meters = append(meters, o.meter)
		}
		by[o.meter] = append(by[o.meter], i)
	}
	slices.SortFunc(meters, func(a, b *Meter) int { return cmp.Compare(a.name, b.name) })
	bills := make([]*bill, len(meters))
	asked := time.Now()
	for i, m := range meters {
		orders := make([]*order, len(by[m]))
		for j, at := range by[m] {
			orders[j] = in[at]
		}
		bills[i] = m.bill(orders)
	}
	err := q.store.Tx(ctx, func(tx pgx.Tx) error {
		for _, b := range bills {
			if err := b.settle(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	for i, m := range meters {
		outcomes := m.settled(bills[i], asked, err)
		for j, at := range by[m] {
			replies[at].Out = outcomes[j]
		}
	}
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// change gives f the state of a connection, under its lock, and the time, and keeps what
// f makes of it.
func change(ctx context.Context, tx pgx.Tx, connection string, f func(s *state, now int64)) error {
	var body []byte
	var now time.Time
	var batch pgx.Batch
	batch.Queue(`insert into quota (connection, state) values ($1, '{}') on conflict do nothing`, connection)
	batch.Queue(`select state from quota where connection = $1 for update`, connection).QueryRow(func(r pgx.Row) error { return r.Scan(&body) })
	batch.Queue(`select clock_timestamp()`).QueryRow(func(r pgx.Row) error { return r.Scan(&now) }) // after the lock
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	s, err := stateOf(body)
	if err != nil {
		return err
	}
	f(s, now.UnixMicro())
	if body, err = json.Marshal(s); err != nil {
		return fmt.Errorf("encoding the quotas of %s: %w", connection, err)
	}
	_, err = tx.Exec(ctx, `update quota set state = $2 where connection = $1`, connection, body)
	return err
}

func stateOf(body []byte) (*state, error) {
	s := &state{}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fault.New(fault.Bug, "quota.decode", "what is used of a quota cannot be read", err)
	}
	return s, nil
}
