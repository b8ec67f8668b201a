package app

import (
	"context"
	"strings"
	"sync"

	"patchbay/internal/mirror"
	"patchbay/internal/replica"
	"patchbay/internal/store"
)

// bells ring for the tables of this region's system when a process that its webhooks come
// to says so. They belong beside a worker, which follows these tables.
type bells struct {
	store   *store.Store
	replica *replica.Replica

	mu     sync.Mutex
	by     map[string]map[string]*mirror.Bell // by flow and table
	hooked map[string]bool                    // flows whose system tells of its changes
}

// run listens until ctx ends.
func (b *bells) run(ctx context.Context) {
	b.store.Listen(ctx, replica.Changed, func(payload string) { b.heard(ctx, payload) })
}

func (b *bells) heard(ctx context.Context, payload string) {
	if payload == "" { // anything may have happened
		hooks, err := b.replica.Hooks(ctx)
		if err != nil {
			return // sources are asked often until somebody tells of them
		}
		for name := range hooks {
			b.ring(name, "")
		}
		return
	}
	name, table, _ := strings.Cut(payload, " ")
	b.ring(name, table)
}

// ring rings for one table, or for all of a flow.
func (b *bells) ring(name, table string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hooked == nil {
		b.hooked = map[string]bool{}
	}
	b.hooked[name] = true
	for of, bell := range b.by[name] {
		if table == "" || of == table {
			bell.Ring()
		}
	}
}

// of gives the bell of a table.
func (b *bells) of(name, table string) *mirror.Bell {
	b.mu.Lock()
	defer b.mu.Unlock()
	bell := b.by[name][table]
	if bell != nil {
		return bell
	}
	if b.by == nil {
		b.by = map[string]map[string]*mirror.Bell{}
	}
	if b.by[name] == nil {
		b.by[name] = map[string]*mirror.Bell{}
	}
	bell = mirror.NewBell()
	if b.by[name][table] = bell; b.hooked[name] {
		bell.Ring()
	}
	return bell
}
