package postgres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// at writes rows of a table by version and gives the codes of what became of them.
func (f *followed) at(table string, versions []string, rows ...connector.Row) []string {
	f.Helper()
	results, err := f.pg.UpsertAt(f.Context(), connector.Upsert{Table: table, Key: []string{"no"}, Rows: rows}, versions)
	require.NoError(f, err)
	return outcomes(results)
}

func outcomes(results []connector.Result) []string {
	list := make([]string, len(results))
	for i, r := range results {
		if r.Err != nil {
			list[i] = fault.Of(r.Err).Code
		}
	}
	return list
}

func (f *followed) version(table string, no any) string {
	f.Helper()
	rows, err := f.pg.ReadVersions(f.Context(), table, []string{"no"}, []connector.Row{{"no": no}}, nil)
	require.NoError(f, err)
	return rows[0].Version
}

func TestAWriteTakesEffectOnlyWhileTheRowHasItsVersion(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	require.Equal(t, []string{"", ""}, f.at("person", []string{"", ""}, connector.Row{"no": "A", "name": "a"}, connector.Row{"no": "B", "name": "b"}))
	a := f.version("person", "A")
	require.NotEmpty(t, a)
	require.Equal(t, []string{"connector.version", "", "connector.version", ""}, f.at("person", []string{"", a, "17", ""},
		connector.Row{"no": "B", "name": "x"}, connector.Row{"no": "A", "name": "a2"}, connector.Row{"no": "Z", "name": "x"}, connector.Row{"no": "C", "age": 4}))
	require.Equal(t, []string{"connector.version"}, f.at("person", []string{a}, connector.Row{"no": "A", "name": "x"}))
	require.Equal(t, "A a2,B b,C 4", f.text(`select string_agg(no || ' ' || coalesce(name, age::text), ',' order by no) from person`))

	f.exec(`insert into pet values (1, 'B', 'cat')`)
	results, err := f.pg.DeleteAt(t.Context(), connector.Delete{Table: "person", Key: []string{"no"}, Keys: []connector.Row{{"no": "A"}, {"no": "B"}, {"no": "C"}, {"no": "D"}}},
		[]string{f.version("person", "A"), f.version("person", "B"), "1", "1"})
	require.NoError(t, err)
	require.Equal(t, []string{"", "connector.reference", "connector.version", ""}, outcomes(results))
	require.Equal(t, "B,C", f.text(`select string_agg(no, ',' order by no) from person`))
}

func TestARowThatIsRefusedLeavesTheOthersWritten(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	var rows []connector.Row
	var versions, want []string
	for i := range 40 {
		row, code := connector.Row{"no": i, "kind": "cat"}, ""
		switch i {
		case 3:
			row["kind"], code = "longer than ten", "postgres.too_long"
		case 17:
			row["owner"], code = "nobody", "connector.reference"
		case 20:
			row, code = connector.Row{"kind": "cat"}, "postgres.key_missing"
		case 31:
			row["kind"], code = "cut     \x20 \x20 \x20 ", "connector.truncated" // blanks that PostgreSQL leaves out
		}
		rows, versions, want = append(rows, row), append(versions, ""), append(want, code)
	}
	require.Equal(t, want, f.at("pet", versions, rows...))
	require.Equal(t, "36", f.text(`select count(*) from pet`))
	// The same as updates.
	for i := range rows {
		if rows[i]["no"] != nil && want[i] == "" {
			versions[i] = f.version("pet", i)
		}
	}
	for _, i := range []int{3, 17, 31} {
		f.exec(fmt.Sprintf(`insert into pet values (%d, null, 'dog')`, i))
		versions[i] = f.version("pet", i)
	}
	require.Equal(t, want, f.at("pet", versions, rows...))
	require.Equal(t, "3", f.text(`select count(*) from pet where kind = 'dog'`), "what is refused stays as it is")
}

func TestAValueThatTheDatabaseWouldChangeIsRefused(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`create function cut() returns trigger language plpgsql as $$ begin
			if new.name = 'skip' then return null; end if;
			if new.name = 'key' then new.no = 'other'; end if;
			new.name = left(new.name, 5); return new;
		end $$;
		create trigger cut before insert or update on person for each row execute function cut()`)
	rows := []connector.Row{
		{"no": "A", "name": "short"}, {"no": "B", "name": "longer"}, {"no": "C", "weight": json.Number("1.23456")},
		{"no": "D", "weight": json.Number("1.2300000")}, {"no": "E", "seen": "2026-02-28T13:00:00+01:00", "extra": map[string]any{"b": []any{json.Number("1.0"), nil}, "a": "x"}},
		{"no": "F", "seen": "2026-02-28T13:00:00.1234567Z"}, {"no": "G", "name": "skip"}, {"no": "H", "name": "key"}, {"no": "I", "tags": []any{"x", nil}, "ready": true, "born": "2026-02-28", "age": json.Number("5.0")},
	}
	want := []string{"", "connector.truncated", "connector.truncated", "", "", "connector.truncated", "postgres.raised", "postgres.raised", ""}
	rows[8]["age"] = json.Number("5")
	require.Equal(t, want, f.at("person", make([]string, len(rows)), rows...))
	require.Equal(t, "A,D,E,I", f.text(`select string_agg(no, ',' order by no) from person`))
	versions := make([]string, len(rows))
	for i := range rows {
		f.exec(fmt.Sprintf(`insert into person (no, name) values ('%s', 'old') on conflict do nothing`, rows[i]["no"]))
		versions[i] = f.version("person", rows[i]["no"])
	}
	want[7] = "connector.truncated"
	require.Equal(t, want, f.at("person", versions, rows...))
	require.Equal(t, "B,C,F,G,H", f.text(`select string_agg(no, ',' order by no) from person where name = 'old' and no not in ('D', 'E', 'I')`))
}

func TestOfWritersByVersionOneWins(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	const keys, writers, rounds = 20, 4, 15
	var won [keys]int
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed error
	for w := range writers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				var asked []connector.Row
				for i := range keys {
					asked = append(asked, connector.Row{"no": i})
				}
				r.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
				now, err := f.pg.ReadVersions(t.Context(), "pet", []string{"no"}, asked, []string{"kind"})
				versions, rows := make([]string, keys), make([]connector.Row, keys)
				for i, v := range now {
					n := 0
					if v.Version != "" {
						_, _ = fmt.Sscan(v.Row["kind"].(string), &n)
					}
					versions[i], rows[i] = v.Version, connector.Row{"no": asked[i]["no"], "kind": fmt.Sprint(n + 1)}
				}
				results, wrong := f.pg.UpsertAt(t.Context(), connector.Upsert{Table: "pet", Key: []string{"no"}, Rows: rows}, versions)
				mu.Lock()
				failed = errors.Join(failed, err, wrong)
				for i, r := range results {
					if r.Err == nil {
						won[asked[i]["no"].(int)]++
					} else if code := fault.Of(r.Err).Code; code != "connector.version" {
						failed = errors.Join(failed, r.Err)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.NoError(t, failed)
	for i, n := range won {
		require.Equal(t, fmt.Sprint(n), f.text(fmt.Sprintf(`select kind from pet where no = %d`, i)), "each write that won is counted once")
	}
}

func TestRangesBesideAStreamMissNothingAndOverwriteNothingNewer(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`insert into pet select n, null, '0' from generate_series(1, 3000) as n`)
	f.feed.Tables = f.feed.Tables[1:]
	f.tail("")
	_, _, err := f.load() // with nothing beside it, and by way of a warning
	require.NoError(t, err)

	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			conn := f.connect()
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				no := r.IntN(3200)
				sql := fmt.Sprintf(`update pet set kind = kind::int + 1 where no between %d and %d`, no, no+r.IntN(5))
				if n%7 == 0 {
					sql = fmt.Sprintf(`insert into pet values (%d, null, '0') on conflict do nothing`, no)
				} else if n%11 == 0 {
					sql = fmt.Sprintf(`delete from pet where no = %d`, no)
				}
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					return
				}
			}
		})
	}
	known, position, err := f.load()
	close(stop)
	writers.Wait()
	require.NoError(t, err)
	// Where commits do not wait for the log, one that does brings those before it along.
	f.exec(`set synchronous_commit = on`)
	f.exec(`select txid_current()`)
	var end string
	require.NoError(t, f.sql.QueryRow(t.Context(), `select pg_current_wal_lsn()::text`).Scan(&end))
	for !f.pg.Reached(position, end) {
		got, err := f.stream.Next(t.Context(), 1000, 100*time.Millisecond)
		require.NoError(t, err)
		position = got.Position
		apply(known, got.Changes)
	}
	want := map[string]string{}
	rows, err := f.sql.Query(t.Context(), `select no::text, kind from pet`)
	require.NoError(t, err)
	for rows.Next() {
		var no, kind string
		require.NoError(t, rows.Scan(&no, &kind))
		want[no] = kind
	}
	require.NoError(t, rows.Err())
	require.Equal(t, want, known)
}

func apply(known map[string]string, changes []connector.Tail) {
	for _, c := range changes {
		no := fmt.Sprint(c.Row["no"])
		if c.Op == "delete" {
			delete(known, no)
			continue
		}
		known[no] = c.Row["kind"].(string)
	}
}

// load reads the table by ranges while the stream goes on, as whoever synchronizes does:
// of a range counts what the stream did not tell of meanwhile.
func (f *followed) load() (map[string]string, string, error) {
	known := map[string]string{}
	position := ""
	var after connector.Row
	for {
		chunk, err := f.pg.ReadChunk(f.Context(), f.feed.Tables[0], after, 170)
		if err != nil {
			return nil, "", err
		}
		newer := map[string]bool{}
		for position == "" || !f.pg.Reached(position, chunk.High) {
			got, err := f.stream.Next(f.Context(), 500, 20*time.Millisecond)
			if err != nil {
				return nil, "", err
			}
			position = got.Position
			for _, c := range got.Changes {
				newer[fmt.Sprint(c.Row["no"])] = true
			}
			apply(known, got.Changes)
		}
		for _, row := range chunk.Rows {
			if no := fmt.Sprint(row["no"]); !newer[no] {
				known[no] = row["kind"].(string)
			}
		}
		if after = chunk.Last; after == nil {
			return known, position, nil
		}
	}
}

func TestARangeReadsOnlyTheColumnsThatWereAllowed(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.exec(`insert into person (no, name, secret) select n, 'name' || n, 'geheim' from generate_series(10, 15) as n`)
	ids := map[string]string{}
	list, err := f.pg.Identities(t.Context(), "person")
	require.NoError(t, err)
	for _, i := range list {
		ids[i.Column] = i.ID
	}
	require.Equal(t, "string", list[2].Type)
	table := connector.FeedTable{Table: "person", Key: []string{"no"}, Columns: []string{"name", "age"}, IDs: ids}
	chunk, err := f.pg.ReadChunk(t.Context(), table, nil, 4)
	require.NoError(t, err)
	require.Len(t, chunk.Rows, 4)
	require.Equal(t, connector.Row{"no": "13"}, chunk.Last)
	require.Len(t, chunk.At, 4)
	require.True(t, f.pg.Reached(chunk.High, chunk.Low))
	chunk, err = f.pg.ReadChunk(t.Context(), table, chunk.Last, 4)
	require.NoError(t, err)
	require.Nil(t, chunk.Last)
	require.Equal(t, connector.Row{"no": "14", "name": "name14", "age": nil}, chunk.Rows[0])

	f.exec(`alter table person rename name to tmp; alter table person rename secret to name`)
	chunk, err = f.pg.ReadChunk(t.Context(), table, nil, 4)
	require.NoError(t, err)
	require.Equal(t, connector.Row{"no": "10", "age": nil}, chunk.Rows[0], "another column took the name")
	rows, err := f.pg.ReadFeed(t.Context(), table, []connector.Row{{"no": "10"}})
	require.NoError(t, err)
	require.Equal(t, connector.Row{"no": "10", "age": nil}, rows[0].Row)
	f.exec(`alter table person rename no to nr; alter table person rename tmp to no`)
	_, err = f.pg.ReadChunk(t.Context(), table, nil, 4)
	require.Equal(t, "connector.identity", fault.Of(err).Code)

	f.exec(`drop table pet`)
	before, err := f.pg.Identities(t.Context(), "person")
	require.NoError(t, err)
	f.exec(`drop table person; create table person (like "Acc".invoice)`)
	after, err := f.pg.Identities(t.Context(), "person")
	require.NoError(t, err)
	table0, _, _ := strings.Cut(before[0].ID, ".")
	table1, _, _ := strings.Cut(after[0].ID, ".")
	require.NotEqual(t, table0, table1, "a table that was made anew is another")
}
