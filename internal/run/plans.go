package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

// fresh is how long a process may not know that a plan or a connection was
// replaced; cachedPlans bounds what it remembers of old ones.
const (
	fresh       = time.Second
	cachedPlans = 512
)

type (
	// Plans is the append-only table of compiled flows, which of them are in force,
	// and the connections. It is safe for concurrent use and remembers what it read:
	// a plan by its digest for ever, what is in force for a second.
	Plans struct {
		store *store.Store

		mu          sync.Mutex
		digests     map[string]*flow.Plan
		current     map[string]cached[string] // flow → digest
		connections map[string]cached[flow.Connection]
	}

	cached[T any] struct {
		value T
		until time.Time
	}
)

// NewPlans gives the plans of a store.
func NewPlans(s *store.Store) *Plans {
	return &Plans{
		store:       s,
		digests:     map[string]*flow.Plan{},
		current:     map[string]cached[string]{},
		connections: map[string]cached[flow.Connection]{},
	}
}

// Put keeps a plan without putting it in force and gives its digest.
func (p *Plans) Put(ctx context.Context, plan *flow.Plan) (digest string, err error) {
	err = p.store.Tx(ctx, func(tx pgx.Tx) error {
		digest, err = put(ctx, tx, plan)
		return err
	})
	return digest, err
}

func put(ctx context.Context, tx pgx.Tx, plan *flow.Plan) (string, error) {
	body, err := json.Marshal(plan)
	if err != nil {
		return "", fault.New(fault.Bug, "plan.encode", "a plan cannot be encoded", err)
	}
	digest := plan.Digest()
	_, err = tx.Exec(ctx, `insert into plan (digest, flow, body) values ($1, $2, $3) on conflict do nothing`, digest, plan.Flow, body)
	return digest, err
}

// Apply puts plans and connections in force, all or none, and names what it
// changed: "flow NAME", "connection NAME", sorted. What is not named stays as it
// is: nothing is removed.
func (p *Plans) Apply(ctx context.Context, plans []*flow.Plan, connections []flow.Connection, by string) (changed []string, err error) {
	err = p.store.Tx(ctx, func(tx pgx.Tx) error {
		changed = []string{}
		note := func(sql, what, name string, args ...any) error {
			tag, err := tx.Exec(ctx, sql, append([]any{name}, args...)...)
			if err == nil && tag.RowsAffected() > 0 {
				changed = append(changed, what+" "+name)
			}
			return err
		}
		// One apply at a time: two of different directories would else mix.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('apply', 2))`); err != nil {
			return err
		}
		for _, c := range connections {
			body, err := json.Marshal(c)
			if err != nil {
				return fault.New(fault.Bug, "connection.encode", "a connection cannot be encoded", err)
			}
			if err := note(`
				insert into connection (name, body) values ($1, $2)
				on conflict (name) do update set body = excluded.body, applied_at = now()
				where connection.body is distinct from excluded.body`, "connection", c.Name, body); err != nil {
				return err
			}
		}
		for _, plan := range plans {
			digest, err := put(ctx, tx, plan)
			if err != nil {
				return err
			}
			if err := note(`
				insert into flow_current (flow, digest, applied_by) values ($1, $2, $3)
				on conflict (flow) do update set digest = excluded.digest, applied_by = excluded.applied_by, applied_at = now()
				where flow_current.digest <> excluded.digest`, "flow", plan.Flow, digest, by); err != nil {
				return err
			}
		}
		return nil
	})
	p.forget()
	slices.Sort(changed)
	return changed, err
}

// forget makes the process that applied see at once what it applied.
func (p *Plans) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.current)
	clear(p.connections)
}

// Current gives the plan a new press of the flow gets, and its digest; NotFound
// "flow.not_found" when there is none.
func (p *Plans) Current(ctx context.Context, name string) (*flow.Plan, string, error) {
	p.mu.Lock()
	known, ok := p.current[name]
	p.mu.Unlock()
	digest := known.value
	if !ok || time.Now().After(known.until) {
		err := p.store.Read(ctx, func(c *pgxpool.Conn) error {
			return c.QueryRow(ctx, `select digest from flow_current where flow = $1`, name).Scan(&digest)
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, "", p.unknown(ctx, name)
		}
		if err != nil {
			return nil, "", err
		}
		p.mu.Lock()
		p.current[name] = cached[string]{digest, time.Now().Add(fresh)}
		p.mu.Unlock()
	}
	plan, err := p.ByDigest(ctx, digest)
	return plan, digest, err
}

// unknown is the fault of a name that no flow has.
func (p *Plans) unknown(ctx context.Context, name string) error {
	all, err := p.List(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Plan.Flow
	}
	if meant := fault.Closest(name, names); meant != "" {
		return fault.NotFoundf("flow.not_found", "there is no flow %q; did you mean %q?", name, meant)
	}
	return fault.NotFoundf("flow.not_found", "there is no flow %.60q; GET /v1/flows lists those in force", name)
}

// ByDigest gives a plan that was ever put; the caller must not change it.
// NotFound "plan.not_found" when there is none.
func (p *Plans) ByDigest(ctx context.Context, digest string) (*flow.Plan, error) {
	p.mu.Lock()
	plan := p.digests[digest]
	p.mu.Unlock()
	if plan != nil {
		return plan, nil
	}
	var body []byte
	err := p.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select body from plan where digest = $1`, digest).Scan(&body)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "plan.not_found", "there is no plan with this digest", nil)
	}
	if err != nil {
		return nil, err
	}
	if plan, err = decodePlan(body, digest); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.digests) >= cachedPlans {
		clear(p.digests)
	}
	p.digests[digest] = plan
	return plan, nil
}

// decodePlan restores a plan as flowfile compiled it. The digest is of the bytes
// that were stored, so a field that flow.Plan got since leaves older plans valid.
// A plan is not run when its bytes were changed behind our back, nor when it has a
// field that this version does not know and would leave out (promise 6).
func decodePlan(body []byte, digest string) (*flow.Plan, error) {
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != digest {
		return nil, fault.New(fault.Bug, "plan.digest", "a stored plan does not have the digest it is kept under", nil)
	}
	var plan flow.Plan
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&plan); err != nil {
		return nil, fault.New(fault.Bug, "plan.decode", "a stored plan cannot be read by this version of Patchbay", err)
	}
	for i, param := range plan.Params {
		plan.Params[i].Default = typed(param.Type, param.Default)
	}
	return &plan, nil
}

// unreadable reports whether err of ByDigest is about that plan alone.
func unreadable(err error) bool {
	f := fault.Of(err)
	return f.Code == "plan.digest" || f.Code == "plan.decode" || f.Code == "plan.not_found"
}

// List gives the flows in force, by name. One whose plan cannot be read is left
// out, so that it hides no other; Current says what is wrong with it.
func (p *Plans) List(ctx context.Context) ([]flow.Applied, error) {
	var all []flow.Applied
	err := p.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select digest, applied_at from flow_current order by flow`)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (flow.Applied, error) {
			var a flow.Applied
			err := r.Scan(&a.Digest, &a.AppliedAt)
			return a, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]flow.Applied, 0, len(all))
	for _, a := range all {
		switch a.Plan, err = p.ByDigest(ctx, a.Digest); {
		case err == nil:
			list = append(list, a)
		case !unreadable(err):
			return nil, err
		}
	}
	return list, nil
}

// Connection gives one connection; NotFound "connection.not_found" when there is none.
func (p *Plans) Connection(ctx context.Context, name string) (flow.Connection, error) {
	p.mu.Lock()
	known, ok := p.connections[name]
	p.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.value, nil
	}
	all, err := p.Connections(ctx)
	if err != nil {
		return flow.Connection{}, err
	}
	remembered := make(map[string]cached[flow.Connection], len(all))
	for _, c := range all {
		remembered[c.Name] = cached[flow.Connection]{c, time.Now().Add(fresh)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.connections, remembered)
	if c, ok := remembered[name]; ok {
		return c.value, nil
	}
	delete(p.connections, name)
	return flow.Connection{}, fault.New(fault.NotFound, "connection.not_found", "there is no such connection", nil)
}

// Connections gives all connections, by name.
func (p *Plans) Connections(ctx context.Context) ([]flow.Connection, error) {
	var list []flow.Connection
	err := p.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select body from connection order by name`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowTo[flow.Connection])
		return err
	})
	return list, err
}
