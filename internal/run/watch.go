package run

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/store"
)

// channel is the notification channel of changed runs. The payload is the sender
// and the run_ids, separated by blanks; a step stands before one that made a step.
const channel = "work"

const (
	pollEvery   = time.Second // a watcher of a run ticks at least this often
	pollAny     = 10 * pollEvery
	perNotice   = 200    // run_ids in one notification, of at most 8,000 bytes
	noticesHeld = 10_000 // run_ids that wait to be sent; more are dropped, watchers poll
)

type (
	// hub tells watchers that a run may have changed: those of this process at
	// once, those of others by NOTIFY.
	hub struct {
		store    *store.Store
		announce bool
		self     string // tells our own notifications from those of others

		mu       sync.Mutex
		watchers map[string]map[*watcher]struct{} // by run_id
		relays   map[chan struct{}]struct{}       // who waits for rows that wait
		changed  map[string]struct{}              // run_ids to be announced
		wake     chan struct{}                    // of capacity 1
	}

	watcher struct {
		tick  chan struct{} // of capacity 1: ticks that nobody took are one
		timer *time.Timer
		steps bool // it wants to know of every step, not only of answers and ends
	}
)

func newHub(s *store.Store, announce bool) *hub {
	return &hub{
		store:    s,
		announce: announce,
		self:     lowerBase32.EncodeToString(randomBytes(5)),
		watchers: map[string]map[*watcher]struct{}{},
		relays:   map[chan struct{}]struct{}{},
		changed:  map[string]struct{}{},
		wake:     make(chan struct{}, 1),
	}
}

// Run carries hints between processes until ctx ends: it hears what others
// changed and tells what this one did. Without it watchers only poll.
func (b *Book) Run(ctx context.Context) error {
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { b.store.Listen(ctx, channel, b.hub.hear) })
	b.hub.tell(ctx)
	return nil
}

// Watch gives a channel that ticks whenever the run may have changed and at least
// once a second: a hint, on which the caller reads the run again. Of "" it ticks
// whenever any run may have changed, and each ten seconds. stop releases it; so does
// the end of ctx. The channel is never closed.
func (b *Book) Watch(ctx context.Context, runID string) (ticks <-chan struct{}, stop func()) {
	return b.hub.watch(ctx, runID, true)
}

// WatchAnswer is Watch for who only wants the answer or the end: that somebody has
// begun to read or to write is no tick.
func (b *Book) WatchAnswer(ctx context.Context, runID string) (ticks <-chan struct{}, stop func()) {
	return b.hub.watch(ctx, runID, false)
}

// Waiting gives a channel that ticks when rows may wait to be claimed: a hint, for
// who claims looks by itself every now and then as well. It ends with ctx and is
// never closed.
func (b *Book) Waiting(ctx context.Context) <-chan struct{} {
	h, tick := b.hub, make(chan struct{}, 1)
	h.mu.Lock()
	h.relays[tick] = struct{}{}
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.relays, tick)
	})
	return tick
}

// rowsWait is called after a commit that left rows to be claimed.
func (h *hub) rowsWait() { h.publish(anyRows) }

// anyRows stands among run_ids for rows that wait to be claimed.
const anyRows = "*"

// tellRelays ticks for whoever claims; the caller holds the lock.
func (h *hub) tellRelays() {
	for tick := range h.relays {
		select {
		case tick <- struct{}{}:
		default:
		}
	}
}

func (h *hub) watch(ctx context.Context, runID string, steps bool) (<-chan struct{}, func()) {
	w := &watcher{tick: make(chan struct{}, 1), steps: steps}
	h.mu.Lock()
	defer h.mu.Unlock()
	every := pollEvery
	if runID == "" {
		every = pollAny
	}
	w.timer = time.AfterFunc(every, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, watching := h.watchers[runID][w]; watching {
			w.send()
			w.timer.Reset(every)
		}
	})
	if h.watchers[runID] == nil {
		h.watchers[runID] = map[*watcher]struct{}{}
	}
	h.watchers[runID][w] = struct{}{}
	remove := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		w.timer.Stop()
		delete(h.watchers[runID], w)
		if len(h.watchers[runID]) == 0 {
			delete(h.watchers, runID)
		}
	}
	// For a caller who has left already, remove may run before this returns.
	detach := context.AfterFunc(ctx, remove)
	return w.tick, func() { detach(); remove() }
}

func (w *watcher) send() {
	select {
	case w.tick <- struct{}{}:
	default:
	}
}

// publish is called after a commit that changed the runs.
func (h *hub) publish(runIDs ...string) { h.spread("", runIDs) }

// stepped is called after a commit that took the runs a step further, short of an
// answer or an end.
func (h *hub) stepped(runIDs ...string) { h.spread(step, runIDs) }

// step stands before a run_id that made a step.
const step = "+"

func (h *hub) spread(mark string, runIDs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range runIDs {
		h.tick(mark + id)
		if h.announce && len(h.changed) < noticesHeld {
			h.changed[mark+id] = struct{}{}
		}
	}
	for w := range h.watchers[""] {
		w.send()
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// tick tells who in this process watches; the caller holds the lock.
func (h *hub) tick(notice string) {
	if notice == anyRows {
		h.tellRelays()
		return
	}
	id, stepped := strings.CutPrefix(notice, step)
	for w := range h.watchers[id] {
		if w.steps || !stepped {
			w.send()
		}
	}
}

// hear takes a notification; an empty one means that some may have been missed.
func (h *hub) hear(payload string) {
	sender, ids, _ := strings.Cut(payload, " ")
	if sender == h.self {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if payload == "" {
		for _, watchers := range h.watchers {
			for w := range watchers {
				w.send()
			}
		}
		h.tellRelays()
		return
	}
	for notice := range strings.FieldsSeq(ids) {
		h.tick(notice)
	}
	for w := range h.watchers[""] {
		w.send()
	}
}

// tell announces changed runs, all that gathered since the last time in one
// transaction: NOTIFY serialises commits, so it stays out of those that matter.
func (h *hub) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		payloads := h.payloads()
		if len(payloads) == 0 {
			continue
		}
		// A lost hint costs a watcher its next poll and nothing else.
		_ = h.store.Write(ctx, func(c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, quick+`select pg_notify($1, p) from quick, unnest($2::text[]) as p`, channel, payloads)
			return err
		})
	}
}

func (h *hub) payloads() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var payloads []string
	ids := make([]string, 0, min(len(h.changed), perNotice))
	flush := func() {
		if len(ids) > 0 {
			payloads = append(payloads, h.self+" "+strings.Join(ids, " "))
			ids = ids[:0]
		}
	}
	for id := range h.changed {
		if ids = append(ids, id); len(ids) == perNotice {
			flush()
		}
	}
	flush()
	clear(h.changed)
	return payloads
}
