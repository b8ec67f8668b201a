package dataverse

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"patchbay/internal/sandbox/storage"
)

// hooks is what the system keeps of who is told of what, and the way to wake
// whoever tells them.
type hooks struct {
	hosts []string // that webhooks may go to, besides this machine
	wake  chan struct{}

	mu         sync.Mutex
	known      bool
	generation int // of what is registered
	steps      []step
}

func newHooks(hosts []string) *hooks { return &hooks{hosts: hosts, wake: make(chan struct{}, 1)} }

// allowed reports whether a webhook may go to a host.
func (h *hooks) allowed(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return strings.EqualFold(host, "localhost") || slices.Contains(h.hosts, strings.ToLower(host))
}

// forget drops what is known of the registration, after it changed.
func (h *hooks) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.steps = false, nil
	h.generation++
}

// stir wakes the deliverer, when anything is registered.
func (h *hooks) stir() {
	h.mu.Lock()
	some := !h.known || len(h.steps) > 0
	h.mu.Unlock()
	if !some {
		return
	}
	select {
	case h.wake <- struct{}{}:
	default: // it is awake
	}
}

// registered is what is registered, read when it is not known. What a reading saw
// that began before a change was committed is not kept.
func (s *System) registered(ctx context.Context, tx storage.Tx) ([]step, error) {
	h := s.hooks
	h.mu.Lock()
	known, steps, generation := h.known, h.steps, h.generation
	h.mu.Unlock()
	if known {
		return steps, nil
	}
	steps, err := s.readSteps(ctx, tx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.generation == generation {
		h.known, h.steps = true, steps
	}
	return steps, nil
}

// event is what a write did to one row.
type event struct {
	message  string
	old, now storage.Row // nil before a creation, after a deletion
	set      storage.Row // what the request named; of a creation all that the row has
}

// raise puts the deliveries of an event beside its effect: they are sent once
// both are committed, also when the process ends before.
func (s *System) raise(ctx context.Context, tx storage.Tx, r *request, t *Table, e event) error {
	if t.Untracked {
		return nil
	}
	steps, err := s.registered(ctx, tx)
	if err != nil {
		return err
	}
	for _, x := range steps {
		if x.message != e.message || x.logical != t.Logical || !x.wants(t, e) {
			continue
		}
		id := newGUID()
		job := storage.Row{"id": id, "at": r.At, "step": x.name, "logical": t.Logical, "message": e.message, "correlation": r.correlation(),
			"url": x.to.url, "auth": x.to.auth, "kind": x.to.kind, "organization": s.env.Host}
		body := s.remoteContext(r, t, x, e, id)
		if len(body) > maxContext {
			job["oversized"] = true
			body = s.trimmedContext(r, t, x, e, id)
		}
		job["body"] = string(body)
		if err := tx.Insert(ctx, s.env.jobs, job); err != nil {
			return fmt.Errorf("keeping a delivery: %w", err)
		}
	}
	return nil
}

// wants reports whether an event passes the filter of a step: a listed column
// stands in the request, whatever its value.
func (x step) wants(t *Table, e event) bool {
	if e.message != "Update" || len(x.asked) == 0 {
		return true
	}
	return slices.ContainsFunc(x.asked, func(logical string) bool {
		c := t.column(logical)
		if c == nil {
			return false
		}
		_, named := e.set[c.Property()]
		return named
	})
}

// correlation is the id that all events of one request share.
func (r *request) correlation() string {
	if given := r.Header.Get("X-Ms-Correlation-Id"); guidForm.MatchString(given) && len(given) == 36 {
		return strings.ToLower(given)
	}
	if r.shared == "" {
		r.shared = newGUID()
	}
	return r.shared
}

// jobs are the deliveries that are due, with their effects committed.
func jobs(schema string) *storage.Table {
	return storage.NewTable(storage.Table{Schema: schema, Name: "asyncoperation",
		Columns: []storage.Column{{Name: "id", Kind: storage.GUID}, {Name: "at", Kind: storage.Time}, {Name: "step"}, {Name: "logical"}, {Name: "message"}, {Name: "correlation"},
			{Name: "url"}, {Name: "auth"}, {Name: "kind", Kind: storage.Int}, {Name: "organization"}, {Name: "oversized", Kind: storage.Bool}, {Name: "body"}},
		Primary: []string{"id"}})
}
