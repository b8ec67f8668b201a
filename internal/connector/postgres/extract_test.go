package postgres_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// extract reads all sheets of a query, and how many there were.
func (b *bundle) extract(q connector.Query) (rows [][]string, pages int) {
	b.Helper()
	for token := ""; ; {
		sheet, err := b.pg.ExtractPage(b.Context(), q, token)
		require.NoError(b, err)
		require.Equal(b, q.Select, sheet.Columns)
		for i := range sheet.Rows() {
			row := make([]string, 0, len(q.Select))
			for _, cell := range sheet.Row(i) {
				require.True(b, json.Valid(cell), "%s", cell)
				row = append(row, string(cell))
			}
			rows = append(rows, row)
		}
		if pages++; sheet.Next == "" {
			return rows, pages
		}
		token = sheet.Next
	}
}

func TestASheetHoldsEachTypeAsItsJSON(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create domain price as numeric(20, 4) check (value >= 0); create type mood as enum ('good', 'bad');
		create table ledger (account int, day date, n numeric, p price, big bigint, f float8, yes boolean, t text, c char(4), j json, jb jsonb, d date, at timestamptz,
			there timestamp, raw bytea, list text[], numbers numeric[], id uuid, m mood, span interval, primary key (account, day));
		insert into ledger values (1, '2026-01-01', 9007199254740993.10, 12.5, -9223372036854775808, 1e20, true, E'a"b\\c\n\t\u0001ü', 'ab', '{"a" : 0.10}', '[1.50, null]',
			'2026-02-28', '2026-02-28 12:00:00.5+02', '2026-02-28 12:00:00', '\x00ff', array['x', null, E'q"\\'], '{1.10,2}', '00000000-0000-4000-8000-000000000001', 'good', '1 day');
		insert into ledger (account, day) values (1, '2026-01-02');`)
	b.config.Tables["ledger"] = connector.Table{Path: "ledger", Keys: [][]string{{"account", "day"}}}
	rows, _ := b.extract(connector.Query{Table: "ledger", Select: []string{"n", "p", "big", "f", "yes", "t", "c", "j", "jb", "d", "at", "there", "raw", "list", "numbers", "id", "m", "span"}})
	require.Equal(t, []string{"9007199254740993.10", "12.5000", "-9223372036854775808", "1e+20", "true", `"a\"b\\c\n\t\u0001ü"`, `"ab  "`, `{"a" : 0.10}`, `[1.50, null]`,
		`"2026-02-28"`, `"2026-02-28T10:00:00.5Z"`, `"2026-02-28T12:00:00Z"`, `"AP8="`, `["x",null,"q\"\\"]`, `[1.10,2]`, `"00000000-0000-4000-8000-000000000001"`, `"good"`, `"1 day"`}, rows[0])
	require.Equal(t, strings.Fields(strings.Repeat("null ", 18)), rows[1])
}

func TestSheetsFollowTheKeyWhateverHappensBetweenThem(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (account numeric, day date, total numeric, primary key (account, day));
		insert into ledger select n / 3, date '2026-01-01' + n, n from generate_series(0, 22) as n`)
	q := connector.Query{Table: "ledger", Select: []string{"total"}, Limit: 5}
	first, err := b.pg.ExtractPage(t.Context(), q, "")
	require.NoError(t, err)
	b.exec(`insert into ledger values (-1, '2026-01-01', 100); delete from ledger where total < 5`) // it moves no page
	second, err := b.pg.ExtractPage(t.Context(), q, first.Next)
	require.NoError(t, err)
	require.Equal(t, "5", string(second.Cells[0]))
	again, err := newAgain(b).ExtractPage(t.Context(), q, first.Next)
	require.NoError(t, err)
	require.Equal(t, second, again, "a token serves every process")
	require.Positive(t, again.Bytes)
	rows, pages := b.extract(q)
	require.Len(t, rows, 19)
	require.Equal(t, 4, pages)
	require.Equal(t, []string{"22"}, rows[18])
	q.Limit = 19
	_, pages = b.extract(q)
	require.Equal(t, 1, pages, "a page that is full is the last one where no row follows")

	q.Where = []connector.Match{{Column: "day", Value: "2026-01-08"}, {Column: "total", Value: json.Number("7.0")}}
	rows, _ = b.extract(q)
	require.Equal(t, [][]string{{"7"}}, rows)
	q.Where = []connector.Match{{Column: "total", Value: nil}}
	rows, _ = b.extract(q)
	require.Empty(t, rows)
	for _, token := range []string{"x", "s.e30", "s.WyJhIl0", "1.2.3"} {
		_, err = b.pg.ExtractPage(t.Context(), q, token)
		require.Equal(t, "connector.page_token", fault.Of(err).Code, token)
	}
}

func TestAnInjectedValueIsAValue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.write(connector.Row{"Number": `x' or '1'='1`, "note": "it"}, connector.Row{"Number": "B"})
	q := connector.Query{Table: "invoice", Select: []string{"note"}, Where: []connector.Match{{Column: "Number", Value: `x' or '1'='1`}}}
	rows, _ := b.extract(q)
	require.Equal(t, [][]string{{`"it"`}}, rows)
	q.Where = []connector.Match{{Column: "Number", Value: `'; drop table "Acc".invoice; --`}}
	rows, _ = b.extract(q)
	require.Empty(t, rows)
	require.Equal(t, "2", b.text(`select count(*) from "Acc".invoice`))
}

func TestSinceLeavesOutWhatIsOlderAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.write(connector.Row{"Number": "old", "at": "2026-01-01T00:00:00Z", "quantity": json.Number("1")}, connector.Row{"Number": "same", "at": "2026-01-02T01:00:00+01:00", "quantity": json.Number("2")},
		connector.Row{"Number": "new", "at": "2026-01-03T00:00:00Z", "quantity": json.Number("3")}, connector.Row{"Number": "unknown"})
	for since, want := range map[*connector.Since]string{
		{Column: "at", Value: "2026-01-02T00:00:00Z"}:      `[[new] [same] [unknown]]`,
		{Column: "quantity", Value: json.Number("2")}:      `[[new] [same] [unknown]]`,
		{Column: "Number", Value: "same"}:                  `[[same] [unknown]]`,
		{Column: "due", Value: "2026-01-02T00:00:00Z"}:     `[[new] [old] [same] [unknown]]`,
		{Column: "at", Value: "2026-01-03T00:00:00.0001Z"}: `[[unknown]]`,
	} {
		q := connector.Query{Table: "invoice", Select: []string{"Number"}, Since: since}
		rows, _ := b.extract(q)
		require.Equal(t, want, strings.ReplaceAll(fmt.Sprint(rows), `"`, ``))
		page, err := b.pg.ReadPage(t.Context(), q, "")
		require.NoError(t, err)
		require.Len(t, page.Rows, len(rows), "a page of rows says the same")
	}
	_, err := b.pg.ExtractPage(t.Context(), connector.Query{Table: "invoice", Select: []string{"Number"}, Since: &connector.Since{Column: "at", Value: "no time"}}, "")
	require.Equal(t, "postgres.invalid_date", fault.Of(err).Code)
}

// One value that nobody can use must not keep all the other rows from being read.
func TestWhatNoNumberOrDateCanBeStaysTheTextThatItIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for value, text := range map[string]string{
		"'NaN'::numeric": "NaN", "'Infinity'::float8": "Infinity", "'-Infinity'::numeric": "-Infinity", "'infinity'::date": "infinity",
		"'0044-03-15 BC'::date": "0044-03-15 BC", "'10000-01-01'::date": "10000-01-01", "'-infinity'::timestamptz": "-infinity",
		"'0044-03-15 BC'::timestamptz": "0044-03-15 00:00:00+00 BC", "'12000-01-01'::timestamp": "12000-01-01 00:00:00",
	} {
		b.exec(`drop table if exists ledger; create table ledger as select 1 as account, date '2026-01-01' as day, ` + value + ` as v`)
		rows, _ := b.extract(connector.Query{Table: "ledger", Select: []string{"v"}})
		require.Equal(t, [][]string{{`"` + text + `"`}}, rows, value)
	}
}

func TestATableThatChangesUnderARead(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (account int, day date, v int, primary key (account, day)); insert into ledger values (1, '2026-01-01', 5)`)
	q := connector.Query{Table: "ledger", Select: []string{"v"}}
	rows, _ := b.extract(q)
	require.Equal(t, [][]string{{"5"}}, rows)
	b.exec(`alter table ledger alter v type text using 'a"b'`)
	rows, _ = b.extract(q)
	require.Equal(t, [][]string{{`"a\"b"`}}, rows, "a type that was remembered is not believed")
	b.exec(`alter table ledger drop v`)
	_, err := b.pg.ExtractPage(t.Context(), q, "")
	require.Equal(t, "postgres.unknown_column", fault.Of(err).Code)
	b.exec(`drop table ledger; create table ledger (account int, day date, v int); insert into ledger select 1, '2026-01-01', n from generate_series(1, 3) as n`)
	_, err = newAgain(b).ExtractPage(t.Context(), connector.Query{Table: "ledger", Select: []string{"v"}, Limit: 2}, "")
	require.Equal(t, "postgres.key_twice", fault.Of(err).Code, "a page that follows such a key would leave rows out")
	b.exec(`insert into ledger values (null, '2026-01-01', 4)`)
	_, err = newAgain(b).ExtractPage(t.Context(), connector.Query{Table: "ledger", Select: []string{"v"}}, "")
	require.Equal(t, "postgres.key_null", fault.Of(err).Code)
}

func TestAPageLargerThanTheConnectionAllowsEndsEarlier(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *connector.Config) { c.Limits.MaxBytes = 10_000 })
	b.exec(`create table ledger (account int, day date, v text, primary key (account, day));
		insert into ledger select n, '2026-01-01', repeat('x', 3000) from generate_series(1, 20) as n`)
	rows, pages := b.extract(connector.Query{Table: "ledger", Select: []string{"v"}})
	require.Len(t, rows, 20)
	require.Equal(t, 5, pages)
}

func TestATableTellsItsColumnsAndKeys(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (note text, account numeric(10, 2), day date, code varchar(7) not null unique, tags text[], primary key (account, day));
		create unique index on ledger (note) where day > '2026-01-01'`)
	d, err := b.pg.Describe(t.Context(), "ledger")
	require.NoError(t, err)
	require.Equal(t, connector.Description{Keys: [][]string{{"account", "day"}, {"code"}}, Columns: []connector.Described{
		{Name: "note", Type: "string", Nullable: true}, {Name: "account", Type: "decimal", Precision: 10, Scale: 2}, {Name: "day", Type: "date"},
		{Name: "code", Type: "string", Length: 7}, {Name: "tags", Type: "list", Nullable: true}}}, d)
	_, err = b.pg.Describe(t.Context(), "nowhere")
	require.Equal(t, "postgres.unknown_resource", fault.Of(err).Code)
}
