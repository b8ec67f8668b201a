package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// followed is a bundle with a table that is followed.
type followed struct {
	*bundle
	feed   connector.Feed
	stream connector.Stream
}

func newFollowed(t *testing.T, change ...func(*connector.Config)) *followed {
	t.Helper()
	b := newBundle(t, append([]func(*connector.Config){func(c *connector.Config) {
		c.Tables["person"] = connector.Table{Path: "person", Keys: [][]string{{"no"}}}
		c.Tables["pet"] = connector.Table{Path: "pet", Keys: [][]string{{"no"}}}
	}}, change...)...)
	b.exec(`create table person (id serial, no text primary key, name text, secret text default 'geheim', age int, born date, weight numeric(10, 3), seen timestamptz, ready bool, extra jsonb, tags text[]);
		create table pet (no int primary key, owner text references person (no), kind varchar(10))`)
	f := &followed{bundle: b, feed: connector.Feed{Name: "t1", Tables: []connector.FeedTable{
		{Table: "person", Key: []string{"no"}, Columns: []string{"name", "age", "born", "weight", "seen", "ready", "extra", "tags"}},
		{Table: "pet", Key: []string{"no"}, Columns: []string{"owner", "kind"}},
	}}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		f.close()
		err := b.pg.DropFeed(ctx, f.feed.Name)
		for n := 0; err != nil && n < 5; n++ { // by a connection that a test has killed
			err = b.pg.DropFeed(ctx, f.feed.Name)
		}
		require.NoError(t, err)
	})
	return f
}

func (f *followed) tail(after string) {
	f.Helper()
	f.close()
	var err error
	f.stream, err = f.pg.Tail(f.Context(), f.feed, after)
	require.NoError(f, err)
}

func (f *followed) close() {
	if f.stream != nil {
		_ = f.stream.Close(context.Background())
		f.stream = nil
	}
}

// changes gives so many changes, and the position after them.
func (f *followed) changes(n int) ([]connector.Tail, string) {
	f.Helper()
	var all []connector.Tail
	for until := time.Now().Add(20 * time.Second); len(all) < n; {
		require.True(f, time.Now().Before(until), "%d of %d changes came", len(all), n)
		got, err := f.stream.Next(f.Context(), 1000, time.Second)
		require.NoError(f, err)
		all = append(all, got.Changes...)
		if len(all) >= n {
			require.Len(f, all, n)
			return all, got.Position
		}
	}
	return all, ""
}

// tails is a change without what differs from run to run.
func said(t connector.Tail) string {
	body, err := json.Marshal(map[string]any{"op": t.Table + " " + t.Op, "row": t.Row, "was": t.Was, "missing": t.Missing})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func TestAStreamTellsWhatCommitsInItsOrderAndAsReadersGiveIt(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.tail("")
	f.exec(`insert into person (no, name, age, born, weight, seen, ready, extra, tags)
		values ('A', 'Anna "x"', 30, '1990-02-28', 60.500, '2026-02-28 13:00:00.5+01', true, '{"a": [1, 1.50]}', '{x,"y z",NULL}')`)
	f.exec(`begin; update person set age = 31 where no = 'A'; insert into pet values (1, 'A', 'cat'); commit`)
	f.exec(`begin; insert into pet values (2, 'A', 'dog'); rollback`)
	f.exec(`update person set secret = 'other' where no = 'A'; delete from pet`)
	got, position := f.changes(5)
	read, err := f.pg.ReadByKey(t.Context(), "person", []string{"no"}, []connector.Row{{"no": "A"}}, f.feed.Tables[0].Columns)
	require.NoError(t, err)
	require.Equal(t, "create", got[0].Op)
	require.Equal(t, json.Number("30"), got[0].Row["age"])
	first := got[0].Row
	require.Equal(t, "2026-02-28T12:00:00.5+00:00", first["seen"])
	require.Equal(t, []any{"x", "y z", nil}, first["tags"])
	require.Equal(t, read[0], got[1].Row, "what the stream tells equals what a reader gives")
	require.Equal(t, read[0], got[3].Row)
	require.JSONEq(t, `{"missing":null,"op":"pet create","row":{"kind":"cat","no":1,"owner":"A"},"was":null}`, said(got[2]))
	require.JSONEq(t, `{"missing":null,"op":"pet delete","row":{"no":1},"was":null}`, said(got[4]))
	seen := map[string]bool{}
	for i, c := range got {
		require.NotContains(t, fmt.Sprint(c), "geheim")
		require.False(t, seen[c.ID])
		seen[c.ID] = true
		require.WithinDuration(t, time.Now(), c.At, time.Minute)
		if i > 0 {
			require.False(t, c.At.Before(got[i-1].At))
			require.Greater(t, c.Version, got[i-1].Version)
		}
	}
	require.Equal(t, got[1].At, got[2].At, "one transaction")

	f.tail("") // nothing was confirmed
	again, _ := f.changes(5)
	require.Equal(t, got, again, "repeats are equal, their IDs too")
	f.tail(position)
	idle, err := f.stream.Next(t.Context(), 10, 50*time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, idle.Changes, "what is after the position is told, and nothing before")
	require.Zero(t, idle.Behind)
	require.True(t, f.pg.Reached(idle.Position, position))
	require.NoError(t, f.stream.Confirm(t.Context(), position))
	f.exec(`insert into pet values (3, 'A', 'cow')`)
	f.changes(1)
	f.tail("")
	got, _ = f.changes(1)
	require.Equal(t, json.Number("3"), got[0].Row["no"], "what was confirmed is not told again")
}

func TestAKeyThatChangesIsToldWithTheKeyBefore(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`insert into person (no, name) values ('A', 'Anna'); insert into pet values (1, 'A', 'cat')`)
	f.tail("")
	f.exec(`update pet set no = 7 where no = 1; update pet set kind = 'dog'; truncate pet; delete from person`)
	got, _ := f.changes(4)
	require.JSONEq(t, `{"missing":null,"op":"pet update","row":{"kind":"cat","no":7,"owner":"A"},"was":{"no":1}}`, said(got[0]))
	require.Nil(t, got[1].Was)
	require.JSONEq(t, `{"missing":null,"op":"pet truncate","row":null,"was":null}`, said(got[2]))
	require.JSONEq(t, `{"missing":null,"op":"person delete","row":{"no":"A"},"was":null}`, said(got[3]))
}

func TestALongValueThatDidNotChangeIsReadByKey(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	long := strings.Repeat("0123456789abcdef", 20_000)
	f.exec(`alter table person alter name set storage external; insert into person (no, name, age) values ('A', '` + long + `', 1)`)
	f.tail("")
	f.exec(`update person set age = 2`)
	got, _ := f.changes(1)
	require.Equal(t, []string{"name"}, got[0].Missing)
	require.NotContains(t, got[0].Row, "name")
	missing := f.feed.Tables[0]
	missing.Columns = got[0].Missing
	rows, err := f.pg.ReadFeed(t.Context(), missing, []connector.Row{got[0].Row, {"no": "B"}})
	require.NoError(t, err)
	require.Equal(t, connector.Row{"no": "A", "name": long}, rows[0].Row)
	require.NotEmpty(t, rows[0].Version)
	require.WithinDuration(t, time.Now(), rows[0].At, time.Minute)
	require.Zero(t, rows[1])
}

func TestAWriteIsToldWithItsOrigin(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.tail("")
	write := func(origin string) {
		results, err := f.pg.Upsert(t.Context(), connector.Upsert{Table: "person", Key: []string{"no"}, Rows: []connector.Row{{"no": "A", "name": origin}}, Origin: origin})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
	}
	write("flow/x")
	write("")
	_, err := f.pg.Load(t.Context(), connector.Load{Table: "person", Key: []string{"no"}, Origin: "flow/y",
		Sheet: connector.Sheet{Columns: []string{"no", "name"}, Cells: []connector.Cell{connector.Cell(`"B"`), connector.Cell(`"b"`)}}})
	require.NoError(t, err)
	rows, err := f.pg.ReadVersions(t.Context(), "person", []string{"no"}, []connector.Row{{"no": "A"}}, nil)
	require.NoError(t, err)
	results, err := f.pg.UpsertAt(t.Context(), connector.Upsert{Table: "person", Key: []string{"no"}, Rows: []connector.Row{{"no": "A", "name": "z"}}, Origin: "flow/z"}, []string{rows[0].Version})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	f.exec(`begin; select pg_logical_emit_message(true, 'other', 'flow/w'); update person set name = 'q' where no = 'A'; commit`)
	got, _ := f.changes(5)
	var origins []string
	for _, c := range got {
		origins = append(origins, c.Origin)
	}
	require.Equal(t, []string{"flow/x", "", "flow/y", "flow/z", ""}, origins)
}

func TestALargeTransactionComesInPartsAndIsConfirmedByItsLast(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.tail("")
	f.exec(`insert into person (no) select n from generate_series(1, 1000) as n`)
	n, first := 0, ""
	for n < 1000 {
		got, err := f.stream.Next(t.Context(), 300, time.Second)
		require.NoError(t, err)
		if len(got.Changes) == 0 {
			continue
		}
		n += len(got.Changes)
		require.LessOrEqual(t, len(got.Changes), 300)
		if n < 1000 {
			require.True(t, first == "" || got.Position == first, "the position of a part is that of before")
			first = got.Position
			require.NoError(t, f.stream.Confirm(t.Context(), got.Position))
		} else {
			require.NotEqual(t, first, got.Position)
		}
	}
	f.tail(first)
	f.changes(1000)
}

func TestAPositionThatIsGoneIsSaid(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.tail("")
	f.exec(`insert into pet values (1, null, 'cat')`)
	_, first := f.changes(1)
	expired := func(after string) {
		t.Helper()
		f.close()
		_, err := f.pg.Tail(t.Context(), f.feed, after)
		require.Equal(t, fault.Conflict, fault.Of(err).Class)
		require.Equal(t, "connector.cursor_expired", fault.Of(err).Code)
	}
	f.exec(`insert into pet values (2, null, 'cat')`)
	_, second := f.changes(1)
	require.NoError(t, f.stream.Confirm(t.Context(), second))
	f.close()
	require.Eventually(t, func() bool {
		return f.text(`select active from pg_replication_slots where slot_name like 'patchbay_t1_%' and database = current_database()`) == "false"
	}, time.Minute, 10*time.Millisecond)
	expired(first) // confirmed beyond it
	f.tail(second)
	expired("FFFFFF/0") // of a log that is longer than this one

	f.exec(`alter publication patchbay_t1 drop table pet`)
	expired(second)
	f.tail("") // made whole
	f.exec(`alter table pet drop column kind cascade`)
	f.feed.Tables[1].Columns = []string{"owner"}
	expired(second)
	f.tail("")
	f.close()
	require.NoError(t, f.pg.DropFeed(t.Context(), f.feed.Name))
	expired(second)
	require.NoError(t, f.pg.DropFeed(t.Context(), f.feed.Name), "what is not there is no error")
	_, err := f.pg.Tail(t.Context(), f.feed, "x")
	require.Equal(t, fault.Invalid, fault.Of(err).Class)
}

func TestAFeedHasOneReaderAndADeadOneIsMadeToGo(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	dead, err := f.pg.Tail(t.Context(), f.feed, "")
	require.NoError(t, err)
	defer func() { _ = dead.Close(context.Background()) }()
	f.exec(`insert into pet values (1, null, 'cat')`)
	f.tail("")
	f.changes(1)
	require.Eventually(t, func() bool { _, err := dead.Next(t.Context(), 10, 10*time.Millisecond); return err != nil }, time.Minute, 10*time.Millisecond)
}

func TestAFeedIsChangedWhileNothingIsLost(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.feed.Tables = f.feed.Tables[:1]
	f.feed.Tables[0].Columns = []string{"name"}
	f.tail("")
	f.exec(`insert into person (no, name, age) values ('A', 'a', 1); insert into pet values (1, null, 'cat')`)
	_, position := f.changes(1)
	f.exec(`update person set age = 2`)
	f.feed.Tables[0].Columns = []string{"age"}
	f.feed.Tables = append(f.feed.Tables, connector.FeedTable{Table: "pet", Key: []string{"no"}})
	f.tail(position)
	f.exec(`update person set age = 3; insert into pet values (2, null, 'cat')`)
	got, _ := f.changes(3)
	require.JSONEq(t, `{"missing":null,"op":"person update","row":{"no":"A"},"was":null}`, said(got[0]), "of its time the column was not allowed, and the other is not now")
	require.JSONEq(t, `{"missing":null,"op":"person update","row":{"age":3,"no":"A"},"was":null}`, said(got[1]))
	require.JSONEq(t, `{"missing":null,"op":"pet create","row":{"no":2},"was":null}`, said(got[2]))
	require.Equal(t, "2 5", f.text(`select prattrs from pg_publication_rel where prrelid = 'person'::regclass`))
}

func TestATableThatCannotBeFollowedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`create table heap (no int, name text, g int generated always as (no + 1) stored, hidden text)`)
	refused := func(code, what string, columns ...string) {
		t.Helper()
		c := f.config
		c.Tables = map[string]connector.Table{"heap": {Path: "heap", Keys: [][]string{{"no"}}}}
		f.config = c
		pg := f.build(f.resolve)
		_, err := pg.Tail(t.Context(), connector.Feed{Name: "t1", Tables: []connector.FeedTable{{Table: "heap", Key: []string{"no"}, Columns: columns}}}, "")
		require.Equal(t, code, fault.Of(err).Code)
		require.Contains(t, fault.Of(err).Text, what)
	}
	refused("connector.replica_identity", "alter table", "name")
	f.exec(`alter table heap replica identity full`)
	refused("connector.replica_identity", "by column g", "name")
	f.exec(`alter table heap add primary key (no, hidden); alter table heap replica identity default`)
	refused("connector.replica_identity", "by column hidden", "name")
	refused("connector.generated_column", "column g", "g", "hidden")
	f.exec(`create unique index u on heap (no); alter table heap replica identity using index u`)
	refused("postgres.unknown_column", "no such column", "nothing")
	require.Equal(t, "0", f.text(`select count(*) from pg_replication_slots where database = current_database()`), "nothing is made for a feed that is refused")
}
