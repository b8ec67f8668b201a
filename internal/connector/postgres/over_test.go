package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
)

// over writes pets over what they were and gives the codes of what became of them.
func (f *followed) over(was []connector.Row, rows ...connector.Row) []string {
	f.Helper()
	results, err := f.pg.UpsertOver(f.Context(), connector.Upsert{Table: "pet", Key: []string{"no"}, Rows: rows, Origin: "patchbay:test"}, was)
	require.NoError(f, err)
	return outcomes(results)
}

func pet(no int, kind any) connector.Row {
	return connector.Row{"no": json.Number(fmt.Sprint(no)), "owner": nil, "kind": kind}
}

func TestARowIsWrittenOverWhatItWasThoughtToBeAlone(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	var rows, was []connector.Row
	var want []string
	for i := range 200 {
		rows, was, want = append(rows, pet(199-i, "cat")), append(was, nil), append(want, "")
	}
	require.Equal(t, want, f.over(was, rows...), "none of them was there")
	require.Equal(t, "200", f.text(`select count(*) from pet where kind = 'cat' and owner is null`))
	f.exec(`update pet set kind = 'dog' where no = 7; update pet set kind = null where no = 8; delete from pet where no = 9; insert into pet values (300, null, 'ant')`)
	for i := range rows {
		no := 199 - i
		rows[i], was[i] = pet(no, "cow"), connector.Row{"owner": nil, "kind": "cat"}
		if no >= 7 && no <= 9 {
			want[i] = "connector.version"
		}
		if no == 8 {
			was[i]["kind"], want[i] = nil, ""
		}
	}
	rows, was, want = append(rows, pet(300, "cow"), pet(301, "cow")), append(was, nil, nil), append(want, "connector.version", "")
	require.Equal(t, want, f.over(was, rows...))
	require.Equal(t, "dog,ant", f.text(`select string_agg(kind, ',' order by no) from pet where kind <> 'cow'`))
	require.Equal(t, "199", f.text(`select count(*) from pet where kind = 'cow'`))
}

func TestWhatATriggerKeepsIsNotTakenForWhatWasGiven(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`create function big() returns trigger language plpgsql as $$ begin new.kind = upper(new.kind); return new; end $$;
		create trigger big before insert or update on pet for each row execute function big()`)
	var rows, was []connector.Row
	for i := range 50 {
		rows, was = append(rows, pet(i, "cat")), append(was, nil)
	}
	for _, code := range f.over(was, rows...) {
		require.Equal(t, "connector.truncated", code)
	}
	require.Equal(t, "0", f.text(`select count(*) from pet`))
	f.exec(`insert into pet select n, null, 'dog' from generate_series(0, 49) n`)
	for i := range was {
		was[i] = connector.Row{"owner": nil, "kind": "DOG"}
	}
	for _, code := range f.over(was, rows...) {
		require.Equal(t, "connector.version", code, "who reads it learns more")
	}
	require.Equal(t, "50", f.text(`select count(*) from pet where kind = 'DOG'`))
}

// What is known of a write is asked with the versions of its changes: the one that was given
// for the write is between them.
func TestAStreamLeavesOutWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	type question struct {
		origin    string
		last, end int64
		n         int
	}
	var asked []question
	know := true
	f.feed.Known = func(_ context.Context, origin string, last, end int64, n int) bool {
		asked = append(asked, question{origin, last, end, n})
		return know
	}
	f.tail("")
	write := func(from int) int64 {
		var rows, was []connector.Row
		for i := range 120 {
			rows, was = append(rows, pet(from+i, "cat")), append(was, nil)
		}
		results, err := f.pg.UpsertOver(t.Context(), connector.Upsert{Table: "pet", Key: []string{"no"}, Rows: rows, Origin: "patchbay:test"}, was)
		require.NoError(t, err)
		return results[0].Version
	}
	version := write(0)
	f.exec(`insert into pet values (1000, null, 'dog')`)
	next := func(n int) (all []connector.Tail) {
		for deadline := time.Now().Add(30 * time.Second); len(all) < n && time.Now().Before(deadline); {
			got, err := f.stream.Next(t.Context(), 1000, time.Second)
			require.NoError(t, err)
			all = append(all, got.Changes...)
		}
		require.Len(t, all, n)
		return all
	}
	require.Equal(t, "dog", next(1)[0].Row["kind"], "the person's alone")
	require.Len(t, asked, 1)
	require.Equal(t, "patchbay:test", asked[0].origin)
	require.Equal(t, 120, asked[0].n)
	require.LessOrEqual(t, asked[0].last, version)
	require.GreaterOrEqual(t, asked[0].end, version)

	know = false
	write(2000)
	for i, c := range next(120) {
		require.Equal(t, json.Number(fmt.Sprint(2000+i)), c.Row["no"])
		require.Equal(t, "patchbay:test", c.Origin)
	}
}
