package egress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestWhatIsPutIsPulledExactly(t *testing.T) {
	t.Parallel()
	b := bare(t)
	// Names that PostgreSQL or we could not have as they are.
	b.plan.Sync.Tables[0].Columns = columns("name", "Telephone 1", `a"quote`, ":batch", "xmin", strings.Repeat("ä", 40), "address/city")
	b.prepare()
	newest := version(9)
	newest.Seen = map[string]int64{"de": 9, "fr": 4}
	other := flow.Version{Stamp: 7, Region: "ch", Seen: map[string]int64{"ch": 1}}
	deltas := []flow.Delta{
		{Key: []string{`"A-1"`}, Cells: []flow.SyncCell{
			{Value: []byte(`"Müller & Söhne \u0000 \ud83d\ude00 	"`), Version: newest}, {Value: []byte(`null`), Version: newest}, {},
			{Value: []byte(`12345678901234567890.10`), Version: other}, {Value: []byte(`""`), Version: newest}, {Value: []byte(`{"b":1,"a":[1.0,1e2]}`), Version: newest}, {Value: []byte(`true`), Version: version(1)}}},
		{Key: []string{`12.50`}, Was: []string{`"a\"\\\u0000"`}, Moved: &newest, Cells: []flow.SyncCell{{}, {}, {Value: []byte(`1`), Version: other}, {}, {}, {}, {}}},
		{Key: []string{`"A-3"`}, Gone: &other},
		{Key: []string{`"A-4"`}, Gone: &newest, Cells: []flow.SyncCell{{Value: []byte(`"back"`), Version: newest}, {}, {}, {}, {}, {}, {}}},
	}
	deltas[0].Cells[0].Value = []byte(strings.ReplaceAll(string(deltas[0].Cells[0].Value), "\t", `\t`))
	before := time.Now().Add(-time.Minute)
	b.put("account", deltas...)
	b.put("contact", flow.Delta{Key: []string{`1`, `"x"`}, Cells: []flow.SyncCell{{Value: []byte(`"other table"`), Version: other}}})

	fr := b.dial("fr")
	got := b.pull(fr, "account", 0, 1000)
	require.Len(t, got, 1)
	require.Equal(t, deltas, got[0].Deltas)
	require.True(t, got[0].Oldest.Equal(time.UnixMicro(7)), "the oldest of its changes")
	require.True(t, got[0].MadeAt.After(before) && got[0].MadeAt.Before(before.Add(2*time.Minute)))
	require.Empty(t, b.pull(fr, "account", got[0].ID, 1000), "after the last there is none")
	require.Equal(t, []string{`1`, `"x"`}, b.pull(fr, "contact", 0, 1000)[0].Deltas[0].Key)
}

func TestPullGivesWholeBatchesInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.put("account")
	for n := range 4 {
		b.put("account", account(2*n), account(2*n+1))
	}
	ch := b.dial("ch")
	require.Equal(t, [][]string{{`"A-0"`, `"A-1"`}, {`"A-2"`, `"A-3"`}}, keys(b.pull(ch, "account", 0, 5)), "no part of a batch")
	require.Equal(t, [][]string{{`"A-0"`, `"A-1"`}}, keys(b.pull(ch, "account", 0, 1)), "at least one batch")
	all := b.pull(ch, "account", 0, 100)
	require.Equal(t, [][]string{{`"A-4"`, `"A-5"`}, {`"A-6"`, `"A-7"`}}, keys(b.pull(ch, "account", all[1].ID, 100)))
	require.Empty(t, b.pull(ch, "account", all[3].ID, 100))
}

// A transaction takes its place in the order before it does the rest of its work, and the
// ends of many come in any order: a sequence would let a later number be seen first.
func TestNoReaderMissesABatch(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const writers, each = 8, 25
	ctx := t.Context()
	var wg sync.WaitGroup
	errs := make([]error, writers*each)
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				err := b.store.Tx(ctx, func(tx pgx.Tx) error {
					if err := b.egress.Put(ctx, tx, b.plan.Flow, b.table("account"), []flow.Delta{account(w*each + n)}); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, `select pg_sleep($1)`, rand.Float64()/200)
					if n%10 == 9 && err == nil {
						return pgx.ErrTxClosed // some roll back, and leave no batch
					}
					return err
				})
				if n%10 == 9 && errors.Is(err, pgx.ErrTxClosed) {
					err = nil
				}
				errs[w*each+n] = err
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	p := b.dial("fr")
	seen, after, last := map[string]bool{}, int64(0), false
	for !last {
		select {
		case <-ended:
			last = true // one more look
		default:
		}
		for batches := b.pull(p, "account", after, 7); len(batches) > 0; batches = b.pull(p, "account", after, 7) {
			for _, batch := range batches {
				require.Greater(t, batch.ID, after)
				after = batch.ID
				seen[batch.Deltas[0].Key[0]] = true
			}
		}
	}
	require.NoError(t, errors.Join(errs...))
	require.Len(t, seen, writers*(each-2))
}

func TestAnAcknowledgementNeverGoesBackAndIsOfOnePeer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	b.put("account", account(1))
	b.put("account", account(2))
	ch, fr := b.dial("ch"), b.dial("fr")
	all := b.pull(ch, "account", 0, 100)
	require.NoError(t, ch.Acknowledge(ctx, b.plan.Flow, "account", all[1].ID))
	require.NoError(t, ch.Acknowledge(ctx, b.plan.Flow, "account", all[0].ID), "an earlier one is no failure")
	upto, err := ch.Acknowledged(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.Equal(t, all[1].ID, upto, "and changes nothing")
	upto, err = fr.Acknowledged(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.Zero(t, upto, "nobody acknowledges for another")
	upto, err = ch.Acknowledged(ctx, b.plan.Flow, "contact")
	require.NoError(t, err)
	require.Zero(t, upto, "nor for another table")

	require.NoError(t, fr.Acknowledge(ctx, b.plan.Flow, "account", 1<<62))
	upto, err = fr.Acknowledged(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.Equal(t, all[1].ID, upto, "what is not there yet is not acknowledged")
	// The answer to an acknowledgement may be lost, and no batch may come after it.
	b.put("account", account(3))
	third := b.pull(ch, "account", all[1].ID, 10)[0].ID
	require.Empty(t, b.pull(ch, "account", third, 10))
	upto, err = ch.Acknowledged(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.Equal(t, third, upto, "whoever asks for what is after a batch keeps that one")
	require.NoError(t, ch.Agrees(ctx, b.plan.Flow, b.table("account")))
	for _, of := range [][2]string{{"account-sync", "nothing"}, {"other", "account"}} {
		requireFault(t, fr.Acknowledge(ctx, of[0], of[1], 5), fault.NotFound, egress.CodeMissing)
	}
}

func TestBatchesGoWhenAllRegionsHaveThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	for n := range 3 {
		b.put("account", account(n), account(n+10))
	}
	b.put("contact", flow.Delta{Key: []string{`1`, `2`}, Gone: &flow.Version{Stamp: 1, Region: "de", Seen: map[string]int64{"de": 1}}})
	ch, fr := b.dial("ch"), b.dial("fr")
	all := b.pull(ch, "account", 0, 100)
	prune := func(want int64) {
		t.Helper()
		gone, err := b.egress.Prune(ctx, b.plan.Flow)
		require.NoError(t, err)
		require.Equal(t, want, gone)
	}
	require.NoError(t, ch.Acknowledge(ctx, b.plan.Flow, "account", all[2].ID))
	prune(0)
	waiting, err := b.egress.Backlog(ctx, b.plan.Flow)
	require.NoError(t, err)
	require.Len(t, waiting, 4, "two regions, two tables")
	require.Equal(t, []any{"ch", "account", int64(0), int64(0)}, []any{waiting[0].Peer, waiting[0].Table, waiting[0].Batches, waiting[0].Rows})
	require.True(t, waiting[0].Oldest.IsZero() && waiting[0].Since.IsZero() && !waiting[0].Seen.IsZero())
	w := waiting[2]
	require.Equal(t, []any{"fr", "account", int64(3), int64(6)}, []any{w.Peer, w.Table, w.Batches, w.Rows})
	require.True(t, w.Oldest.Equal(now.Add(time.Second)) && !w.Since.IsZero() && w.Seen.IsZero() && w.Bytes > 50, w)

	require.NoError(t, fr.Acknowledge(ctx, b.plan.Flow, "account", all[1].ID))
	prune(4)
	prune(0)
	require.Equal(t, keys(all[2:]), keys(b.pull(fr, "account", all[1].ID, 100)), "what somebody has still to fetch is there")
	var rows int
	require.NoError(t, b.connect(b.database.Owner).QueryRow(ctx, `select count(*) from `+b.relation("account")).Scan(&rows))
	require.Equal(t, 2, rows)

	// A region that was restored from a backup would not know that it lacks something.
	_, err = fr.Pull(ctx, b.plan.Flow, b.table("account"), all[0].ID, 100)
	requireFault(t, err, fault.Conflict, egress.CodeForgotten)
}

func (b *bundle) relation(table string) (name string) {
	b.Helper()
	require.NoError(b, b.connect(b.database.Owner).QueryRow(b.Context(), `select quote_ident(relation) from egress.border where flow = $1 and "table" = $2`, b.plan.Flow, table).Scan(&name))
	return "egress." + name
}

// A database that was restored from a backup has forgotten the numbers that it gave.
func TestABatchAfterARestoreIsAfterAllThatWereFetched(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.put("account", account(1))
	fr := b.dial("fr")
	fetched := b.pull(fr, "account", 0, 100)
	b.owner(`delete from egress.batch`)
	b.owner(`update egress.border set last = 0`)
	b.put("account", account(2))
	require.Equal(t, [][]string{{`"A-2"`}}, keys(b.pull(fr, "account", fetched[0].ID, 100)))
}

func TestADeltaThatDoesNotFitIsRefusedWithoutItsValues(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	secret := []byte(`"SECRET"`)
	good := account(1)
	long := slices.Concat([]byte(`"SECRET`), make([]byte, egress.MaxValue), []byte(`"`))
	for i := range egress.MaxValue {
		long[7+i] = 'x'
	}
	cell := func(c flow.SyncCell) flow.Delta { return flow.Delta{Key: good.Key, Cells: []flow.SyncCell{c, {}, {}}} }
	for name, d := range map[string]flow.Delta{
		"a cell outside the columns": {Key: good.Key, Cells: append(slices.Clone(good.Cells), flow.SyncCell{Value: secret, Version: version(1)})},
		"too few cells":              {Key: good.Key, Cells: good.Cells[:2]},
		"no key":                     {Cells: good.Cells},
		"two keys":                   {Key: []string{`"SECRET"`, `"SECRET"`}},
		"a key that is null":         {Key: []string{`null`}, Cells: good.Cells},
		"a key that is no JSON":      {Key: []string{`SECRET`}, Cells: good.Cells},
		"another former key":         {Key: good.Key, Was: []string{`"SECRET"`, `2`}},
		"no JSON":                    cell(flow.SyncCell{Value: []byte(`"SECRET`), Version: version(1)}),
		"no UTF-8":                   cell(flow.SyncCell{Value: []byte("\"SECRET\xff\""), Version: version(1)}),
		"empty":                      cell(flow.SyncCell{Value: []byte{}, Version: version(1)}),
		"too long":                   cell(flow.SyncCell{Value: long, Version: version(1)}),
		"no version":                 cell(flow.SyncCell{Value: secret}),
		"of no region":               cell(flow.SyncCell{Value: secret, Version: flow.Version{Stamp: 1, Seen: map[string]int64{"de": 1}}}),
		"nothing seen":               cell(flow.SyncCell{Value: secret, Version: flow.Version{Stamp: 1, Region: "de"}}),
		"before all time":            cell(flow.SyncCell{Value: secret, Version: flow.Version{Stamp: -1, Region: "de", Seen: map[string]int64{"de": 1}}}),
		"more than can be counted":   cell(flow.SyncCell{Value: secret, Version: flow.Version{Stamp: 1, Region: "de", Seen: map[string]int64{"de": 1 << 60}}}),
	} {
		err := b.tryPut("account", good, d)
		f := requireFault(t, err, fault.Bug, "egress.delta")
		require.NotContains(t, f.Error(), "SECRET", name)
	}
	require.Empty(t, b.pull(b.dial("fr"), "account", 0, 10), "and nothing of its batch is there")
	b.put("account", good)
}

func TestATableThatIsNotPreparedIsNamed(t *testing.T) {
	t.Parallel()
	b := bare(t)
	requireFault(t, b.tryPut("account", account(1)), fault.Unavailable, "egress.unprepared")
	b.prepare()
	b.plan.Sync.Tables[0].Columns = columns("name", "telephone1", "newly allowed")
	requireFault(t, b.tryPut("account", account(1)), fault.Unavailable, "egress.unprepared")
	b.plan.Sync.Tables[0].Columns = columns("name", "telephone1", "emailaddress1")
	b.plan.Sync.Tables[0].Key = []string{"name"}
	requireFault(t, b.tryPut("account", account(1)), fault.Unavailable, "egress.unprepared")
}

func TestAnEditOfTheAllowListTakesColumnsAndGivesThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	both := flow.Delta{Key: []string{`"A-1"`}, Cells: []flow.SyncCell{{Value: []byte(`"n"`), Version: version(1)}, {Value: []byte(`"+49"`), Version: version(2)}, {Value: []byte(`"@"`), Version: version(3)}}}
	b.put("account", both)
	fr := b.dial("fr")
	before := *b.table("account")

	b.plan.Sync.Tables[0].Columns = columns("name", "emailaddress1", "city")
	_, err := fr.Pull(ctx, b.plan.Flow, b.table("account"), 0, 10)
	f := requireFault(t, err, fault.Conflict, egress.CodeColumns)
	require.Equal(t, "account.city", f.Fields[0].Path, "the edit is not applied there yet")
	requireFault(t, fr.Agrees(ctx, b.plan.Flow, b.table("account")), fault.Conflict, egress.CodeColumns)
	require.NoError(t, fr.Agrees(ctx, b.plan.Flow, b.table("contact")))
	require.Empty(t, b.pull(fr, "contact", 0, 10), "the other tables go on")

	b.prepare()
	got := b.pull(fr, "account", 0, 10)
	require.Equal(t, []flow.SyncCell{both.Cells[0], both.Cells[2], {}}, got[0].Deltas[0].Cells, "what waits is there without what is not allowed any more")
	_, err = fr.Pull(ctx, b.plan.Flow, &before, 0, 10)
	f = requireFault(t, err, fault.Conflict, egress.CodeColumns)
	require.Equal(t, "account.telephone1", f.Fields[0].Path, "the edit is not applied here yet")
	before.Columns = columns("name", "emailaddress1")
	_, err = fr.Pull(ctx, b.plan.Flow, &before, 0, 10)
	f = requireFault(t, err, fault.Conflict, egress.CodeColumns)
	require.Equal(t, "account.city", f.Fields[0].Path, "a column more over there would be acknowledged unread")
	var left int
	require.NoError(t, b.connect(b.database.Owner).QueryRow(ctx, `select count(*) from pg_attribute where attname = 'telephone1' and attrelid = $1::text::regclass and not attisdropped`, b.relation("account")).Scan(&left))
	require.Zero(t, left)

	// A table that is not named any more goes, and so does a region.
	b.plan.Sync.Tables = b.plan.Sync.Tables[:1]
	contact := before
	contact.Name, contact.Key, contact.Columns = "contact", []string{"tenant", "number"}, columns("fullname")
	b.plan.Sync.Regions = []flow.Region{{Name: "de"}, {Name: "fr"}}
	ch := b.dial("ch")
	b.peers = b.peers[1:]
	b.prepare()
	_, err = fr.Pull(ctx, b.plan.Flow, &contact, 0, 10)
	requireFault(t, err, fault.NotFound, egress.CodeMissing)
	_, err = ch.Pull(ctx, b.plan.Flow, b.table("account"), 0, 10)
	requireFault(t, err, fault.Unauthorized, egress.CodeDenied)
	require.Len(t, b.pull(fr, "account", 0, 10), 1)

	require.NoError(t, egress.Retire(ctx, b.database.Owner, b.plan.Flow))
	_, err = fr.Pull(ctx, b.plan.Flow, b.table("account"), 0, 10)
	requireFault(t, err, fault.Unauthorized, egress.CodeDenied)
	requireFault(t, b.tryPut("account", account(1)), fault.Unavailable, "egress.unprepared")
}

func TestAKeyChangesOnlyWhenNothingWaitsThatIsKnownByTheOldOne(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	b.put("account", account(1))
	old := *b.table("account")
	b.plan.Sync.Tables[0].Key = []string{"name"}
	b.plan.Sync.Tables[0].Columns = columns("accountnumber", "telephone1", "emailaddress1")
	requireFault(t, egress.Prepare(ctx, b.database.Owner, "de", b.plan, b.peers), fault.Conflict, "egress.key")
	ch, fr := b.dial("ch"), b.dial("fr")
	_, err := fr.Pull(ctx, b.plan.Flow, b.table("account"), 0, 10)
	requireFault(t, err, fault.Conflict, egress.CodeColumns)
	for _, p := range []*egress.Peer{ch, fr} {
		got, err := p.Pull(ctx, b.plan.Flow, &old, 0, 10)
		require.NoError(t, err, "nothing was changed")
		require.NoError(t, p.Acknowledge(ctx, b.plan.Flow, "account", got[0].ID))
	}
	b.prepare()
	b.put("account", account(2))
	require.Equal(t, [][]string{{`"A-2"`}}, keys(b.pull(fr, "account", 0, 10)))
}

func TestWhatDoesNotBelongTogetherIsNotPrepared(t *testing.T) {
	t.Parallel()
	b := bare(t)
	sound := func() *flow.Plan {
		s := *b.plan.Sync
		s.Tables = slices.Clone(s.Tables)
		return &flow.Plan{Flow: b.plan.Flow, Sync: &s}
	}
	for name, c := range map[string]struct {
		region string
		peers  []egress.PeerRole
		change func(*flow.Plan)
		code   string
	}{
		"no synchronization":   {change: func(p *flow.Plan) { p.Sync = nil }, code: "egress.plan"},
		"another region":       {region: "us", code: "egress.plan"},
		"a region without":     {peers: b.peers[:1], code: "egress.peers"},
		"a region twice":       {peers: []egress.PeerRole{b.peers[0], b.peers[0]}, code: "egress.peers"},
		"itself":               {region: "fr", code: "egress.peers"},
		"a role for two":       {peers: []egress.PeerRole{b.peers[0], {Region: "fr", Role: b.peers[0].Role}}, code: "egress.peers"},
		"a role of others":     {peers: []egress.PeerRole{b.peers[0], {Region: "fr", Role: "postgres"}}, code: "egress.peers"},
		"a role to be quoted":  {peers: []egress.PeerRole{b.peers[0], {Region: "fr", Role: `patchbay_"x`}}, code: "egress.peers"},
		"no key":               {change: func(p *flow.Plan) { p.Sync.Tables[0].Key = nil }, code: "egress.plan"},
		"a column twice":       {change: func(p *flow.Plan) { p.Sync.Tables[0].Columns = columns("name", "name") }, code: "egress.plan"},
		"the key as a column":  {change: func(p *flow.Plan) { p.Sync.Tables[0].Columns = columns("accountnumber") }, code: "egress.plan"},
		"a column of no name":  {change: func(p *flow.Plan) { p.Sync.Tables[0].Columns = columns("") }, code: "egress.plan"},
		"a table twice":        {change: func(p *flow.Plan) { p.Sync.Tables[1] = p.Sync.Tables[0] }, code: "egress.plan"},
		"a password like that": {peers: []egress.PeerRole{b.peers[0], {Region: "fr", Role: b.peers[1].Role, Password: "häslich"}}, code: "store.password"},
	} {
		plan, region, peers := sound(), "de", b.peers
		if c.change != nil {
			c.change(plan)
		}
		if c.region != "" {
			region = c.region
		}
		if c.peers != nil {
			peers = c.peers
		}
		err := egress.Prepare(t.Context(), b.database.Owner, region, plan, peers)
		require.Equal(t, c.code, fault.Of(err).Code, name)
		require.NotContains(t, err.Error(), "slich")
	}
}

func TestPreparingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.put("account", account(1))
	fr := b.dial("fr")
	got := b.pull(fr, "account", 0, 10)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = egress.Prepare(t.Context(), b.database.Owner, "de", b.plan, b.peers) })
	}
	wg.Wait()
	require.Equal(t, make([]error, 4), errs, "processes that apply together wait for each other")
	require.Equal(t, got, b.pull(fr, "account", 0, 10))
	b.peers[1].Password = ""
	b.prepare()
	require.Equal(t, got, b.pull(b.dial("fr"), "account", 0, 10), "without a password the one that the role has is kept")
	require.NoError(t, b.store.Ping(context.Background()))
	_, err := b.store.Setting(t.Context(), "still works", func() []byte { return []byte(fmt.Sprint(1)) })
	require.NoError(t, err, "the application keeps its rights")
}
