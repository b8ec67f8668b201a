package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

type (
	// bundle is some regions, each with a database of its own and a system in memory.
	bundle struct {
		testing.TB
		sync    *flow.Sync
		regions map[string]*place
	}

	// place is one region. It is its own outbox: what it observes is delivered by pump.
	place struct {
		*bundle
		Place
		store   *store.Store
		replica *Replica
		reading map[string]*Reading
		out     []flow.Delta
		sent    map[string]int // how much of out each other region has
		system  map[string]map[string]string
		at      time.Time
	}
)

func newBundle(t testing.TB, regions ...string) *bundle {
	t.Helper()
	b := &bundle{TB: t, regions: map[string]*place{}, sync: &flow.Sync{
		Skew: time.Minute, MaxRow: 1000,
		Conflict: []flow.ConflictRule{{Rule: flow.RuleLatest}, {Table: "account", Column: "phone", Rule: flow.RuleHold}, {Table: "account", Column: "credit", Rule: flow.RuleRegion, Region: "de"}},
		Tables: []flow.SyncTable{
			{Name: "account", Key: []string{"number"}, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}, {Name: "phone", Type: flow.String}, {Name: "credit", Type: flow.Decimal}}},
			{Name: "contact", Key: []string{"tenant", "number"}, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}, {Name: "account", Type: flow.String, Refers: "account"}}},
		},
	}}
	for _, name := range regions {
		s := storetest.New(t)
		p := &place{bundle: b, Place: Place{Flow: "share", Region: name, Sync: b.sync}, store: s, reading: map[string]*Reading{}, sent: map[string]int{},
			system: map[string]map[string]string{}, at: time.Now().Add(-time.Hour)}
		p.replica = New(s, p)
		b.regions[name] = p
	}
	return b
}

// Put is Outbox.
func (p *place) Put(_ context.Context, _ pgx.Tx, _ string, _ *flow.SyncTable, deltas []flow.Delta) error {
	p.out = append(p.out, deltas...)
	return nil
}

// values makes values of texts: "" is absent, a number stays one.
func values(texts ...string) [][]byte {
	out := make([][]byte, len(texts))
	for i, s := range texts {
		switch {
		case s == "":
		case s[0] >= '0' && s[0] <= '9', s == "null":
			out[i] = []byte(s)
		default:
			out[i] = []byte(`"` + s + `"`)
		}
	}
	return out
}

func key(parts ...string) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = `"` + p + `"`
	}
	return out
}

// tick is the next time of a region's source.
func (p *place) tick() time.Time { p.at = p.at.Add(time.Second); return p.at }

func (p *place) observe(table string, rows ...Observed) Counts {
	p.Helper()
	if p.reading[table] == nil {
		r, err := p.replica.Begin(p.Context(), p.Place, table)
		require.NoError(p, err)
		p.reading[table] = r
	}
	c, err := p.replica.Observe(p.Context(), p.Place, p.reading[table], rows, Progress{Cursor: "next"})
	require.NoError(p, err)
	return c
}

// account observes one account.
func (p *place) account(number string, texts ...string) Counts {
	p.Helper()
	return p.observe("account", Observed{ID: p.Region + "-" + number, Key: key(number), Values: values(texts...), At: p.tick()})
}

// receive delivers what another region has observed since.
func (p *place) receive(from string) Counts {
	p.Helper()
	other := p.regions[from]
	deltas := other.out[p.sent[from]:]
	p.sent[from] = len(other.out)
	c, _, err := p.replica.Receive(p.Context(), p.Place, from, "account", deltas, int64(len(other.out)))
	require.NoError(p, err)
	return c
}

func (p *place) writing(table string) *Writing {
	p.Helper()
	w, err := p.replica.Write(p.Context(), p.Place, table, time.Minute)
	require.NoError(p, err)
	require.NotNil(p, w)
	return w
}

func (p *place) orders(w *Writing) []Order {
	p.Helper()
	o, err := p.replica.Pending(p.Context(), p.Place, w, 100)
	require.NoError(p, err)
	return o
}

func (p *place) settle(w *Writing, s ...Settled) Counts {
	p.Helper()
	c, err := p.replica.Settle(p.Context(), p.Place, w, s)
	require.NoError(p, err)
	return c
}

// write carries out all that is pending of the accounts, and tells what that was.
func (p *place) write() (lines []string) {
	p.Helper()
	w := p.writing("account")
	for orders := p.orders(w); len(orders) > 0; orders = p.orders(w) {
		var settled []Settled
		for _, o := range orders {
			lines = append(lines, line(o))
			s := Settled{Order: o, Outcome: flow.SyncApplied}
			if o.Create {
				s.ID = p.Region + "-" + strings.Trim(o.Key[0], `"`)
			}
			settled = append(settled, s)
		}
		p.settle(w, settled...)
	}
	require.NoError(p, p.replica.Release(p.Context(), p.Place, w))
	return lines
}

// line says what an order is.
func line(o Order) string {
	verb := "update"
	switch {
	case o.Check:
		verb = "check"
	case o.Create:
		verb = "create"
	case o.Delete:
		verb = "delete"
	}
	text := fmt.Sprint(verb, " ", o.ID, " ", strings.Join(o.Key, "/"))
	if o.Was != nil {
		text += " was " + strings.Join(o.Was, "/")
	}
	for i, v := range o.Set {
		if v != nil {
			text += fmt.Sprintf(" %d=%s(%s)", i, v, o.Base[i])
		}
	}
	return text
}

// pump lets everything arrive and be written everywhere.
func (b *bundle) pump() {
	b.Helper()
	names := []string{}
	for name := range b.regions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, other := range names {
			if other != name {
				b.regions[name].receive(other)
			}
		}
		b.regions[name].write()
	}
}

// told tells what is known of an account, a value a line.
func (p *place) told(number string) []string {
	p.Helper()
	a, err := p.replica.Account(p.Context(), p.Place, "account", key(number))
	require.NoError(p, err)
	out := []string{string(a.Outcome)}
	for _, c := range a.Values {
		out = append(out, string(c.Value))
	}
	return out
}

func (p *place) digests() []Part {
	p.Helper()
	d, err := p.replica.Digests(p.Context(), p.Place, "account", 16)
	require.NoError(p, err)
	return d
}
