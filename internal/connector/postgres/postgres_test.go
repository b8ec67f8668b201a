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
	"patchbay/internal/connector/postgres"
	"patchbay/internal/fault"
)

func TestMoneyIsExactInBothDirections(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const amount, quantity = "9007199254740993.0123", "9007199254740993"
	b.write(connector.Row{"Number": "A", "amount": json.Number(amount), "quantity": json.Number(quantity)},
		connector.Row{"Number": "B", "amount": amount, "due": "2026-02-28", "at": "2026-02-28T12:00:00.123456+02:00",
			"extra": connector.Row{"n": json.Number("0.10"), "list": []any{true, nil}}})
	require.Equal(t, "{"+amount+","+amount+"}", b.text(`select array_agg(amount) from "Acc".invoice`), "PostgreSQL has it to the digit")
	rows, err := b.pg.ReadByKey(t.Context(), "invoice", []string{"Number"}, []connector.Row{{"Number": "B"}, {"Number": "none"}, {"Number": "A"}},
		[]string{"amount", "quantity", "due", "at", "extra", "paid"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{
		{"Number": "B", "amount": json.Number(amount), "quantity": nil, "due": "2026-02-28", "at": "2026-02-28T10:00:00.123456+00:00",
			"extra": connector.Row{"n": json.Number("0.10"), "list": []any{true, nil}}, "paid": false},
		nil,
		{"Number": "A", "amount": json.Number(amount), "quantity": json.Number(quantity), "due": nil, "at": nil, "extra": nil, "paid": false},
	}, rows, "in the order of the keys")
}

func TestAbsentKeepsAndNullClears(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.write(connector.Row{"Number": "A", "note": "n", "quantity": json.Number("1")})
	require.Equal(t, "hidden", b.text(`select hidden from "Acc".invoice`), "an absent column has its default")
	b.write(connector.Row{"Number": "A", "quantity": nil}, connector.Row{"Number": "B", "note": "m"}, connector.Row{"Number": "C"})
	require.Equal(t, "n", b.text(`select note from "Acc".invoice where "Number" = 'A'`))
	require.Equal(t, "null", b.text(`select quantity from "Acc".invoice where "Number" = 'A'`))
	b.write(connector.Row{"Number": "C"}) // a row that is its key
	require.Equal(t, "3", b.text(`select count(*) from "Acc".invoice`))
}

func TestARefusedRowTakesNoOtherAlongAndShowsNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.write(connector.Row{"Number": "canary-0", "note": "canary"})
	rows := make([]connector.Row, 40)
	for i := range rows {
		rows[i] = connector.Row{"Number": fmt.Sprintf("canary-%02d", i+1), "amount": json.Number("1")}
	}
	rows[3]["amount"] = json.Number("-1")
	rows[7]["note"] = strings.Repeat("canary", 3)
	rows[11]["note"] = "canary"
	rows[19]["due"] = "canary"
	rows[23]["Number"] = nil
	rows[29]["paid"] = nil
	rows[31]["canary"] = "1"
	rows[37]["note"] = "a\x00b"
	rows[39]["amount"] = json.Number("99999999999999999999")
	results, err := b.upsert(b.pg, nil, rows...)
	require.NoError(t, err)
	want := map[int]string{3: "postgres.check", 7: "postgres.too_long", 11: "postgres.duplicate_key", 19: "postgres.invalid_date", 23: "postgres.key_missing",
		29: "postgres.null", 31: "postgres.unknown_column", 37: "postgres.value", 39: "postgres.out_of_range"}
	delete(want, 31) // the schema is unknown here: the statement itself is wrong, see below
	for i, r := range results {
		if r.Err != nil {
			require.NotContains(t, r.Err.Error(), "canary")
		}
		if code := want[i]; code != "" && i < 31 {
			require.Equal(t, code, fault.Of(r.Err).Code, "row %d", i)
		}
	}
	require.Equal(t, "postgres.unknown_column", fault.Of(results[31].Err).Code)

	delete(rows[31], "canary")
	results, err = b.upsert(b.pg, nil, rows...)
	require.NoError(t, err)
	for i, r := range results {
		if code := want[i]; code != "" {
			require.Equal(t, code, fault.Of(r.Err).Code, "row %d", i)
			require.Equal(t, fault.Rejected, fault.Of(r.Err).Class)
			require.NotContains(t, r.Err.Error(), "canary")
			continue
		}
		require.NoError(t, r.Err, "row %d", i)
	}
	require.Equal(t, "33", b.text(`select count(*) from "Acc".invoice`))
}

func TestTwoRowsThatAreOneToTheDatabaseAreWrittenInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (account numeric, day date, total numeric, primary key (account, day))`)
	results, err := b.pg.Upsert(t.Context(), connector.Upsert{Table: "ledger", Key: []string{"account", "day"}, Rows: []connector.Row{
		{"account": json.Number("1"), "day": "2026-01-01", "total": json.Number("5")},
		{"account": json.Number("1.0"), "day": "2026-01-01", "total": json.Number("6")},
	}})
	require.NoError(t, err)
	require.Equal(t, make([]connector.Result, 2), results)
	require.Equal(t, "{6}", b.text(`select array_agg(total) from ledger`), "the later wins")
}

func TestPagesFollowTheKeyAndHoldOnlyWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (account numeric, day date, total numeric, primary key (account, day));
		insert into ledger select n / 3, date '2026-01-01' + n, n from generate_series(0, 22) as n`)
	q := connector.Query{Table: "ledger", Select: []string{"total"}, Limit: 5}
	var got []string
	pages := 0
	for token := ""; ; pages++ {
		page, err := b.pg.ReadPage(t.Context(), q, token)
		require.NoError(t, err)
		for _, row := range page.Rows {
			require.Len(t, row, 1)
			got = append(got, row["total"].(json.Number).String())
		}
		if pages == 1 {
			b.exec(`delete from ledger where total = 9; insert into ledger values (-1, '2026-01-01', 100)`) // it moves no page
		}
		if token = page.Next; token == "" {
			break
		}
	}
	var want []string
	for n := range 23 {
		want = append(want, fmt.Sprint(n))
	}
	require.Equal(t, want, got)
	require.Equal(t, 4, pages)

	q.Where = []connector.Match{{Column: "account", Value: json.Number("2.0")}, {Column: "day", Value: "2026-01-08"}}
	page, err := b.pg.ReadPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, connector.Page{Rows: []connector.Row{{"total": json.Number("7")}}}, page)
	q.Where = []connector.Match{{Column: "total", Value: nil}}
	page, err = b.pg.ReadPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Empty(t, page.Rows)

	b.exec(`alter table ledger drop constraint ledger_pkey; alter table ledger alter account drop not null; insert into ledger (day) values ('2026-01-01')`)
	fresh := newAgain(b)
	_, err = fresh.ReadPage(t.Context(), connector.Query{Table: "ledger", Select: []string{"total"}}, "")
	require.Equal(t, "postgres.key_null", fault.Of(err).Code, "such a row would be on no page")
}

// newAgain is the connector in another process.
func newAgain(b *bundle) *postgres.Postgres {
	b.Helper()
	values := strings.NewReplacer("${env:DB}", withoutUser(b.owner), "${env:PASSWORD}", passwordOf(b.owner))
	return b.build(func(text string) (string, error) { return values.Replace(text), nil })
}

func TestWhatIsNoQueryIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *connector.Config) { c.URL = "postgres://127.0.0.1:1/none" }) // where nobody answers
	good := connector.Query{Table: "invoice", Select: []string{"amount"}}
	for _, change := range []func(*connector.Query){
		func(q *connector.Query) { q.Table = "no-such-table" },
		func(q *connector.Query) { q.Select = nil },
		func(q *connector.Query) { q.Select = []string{`a"; drop table x; --`} },
		func(q *connector.Query) { q.Where = []connector.Match{{Column: "a = 1 or b", Value: "x"}} },
		func(q *connector.Query) { q.Where = []connector.Match{{Column: "a", Value: []any{"x"}}} },
		func(q *connector.Query) { q.Expand = map[string]string{"a": "b"} },
	} {
		q := good
		change(&q)
		_, err := b.pg.ReadPage(t.Context(), q, "")
		require.Equal(t, fault.Invalid, fault.Of(err).Class)
	}
	for _, token := range []string{"x", "e30", "1.2.3"} {
		_, err := b.pg.ReadPage(t.Context(), good, token)
		require.Equal(t, "connector.page_token", fault.Of(err).Code)
	}
	_, err := b.pg.ReadPage(t.Context(), good, "")
	require.Equal(t, "vendor.unreachable", fault.Of(err).Code)
	require.NotContains(t, err.Error(), "127.0.0.1")
	results, err := b.upsert(b.pg, nil)
	require.NoError(t, err)
	require.Empty(t, results)
	_, err = b.upsert(b.pg, nil, connector.Row{"Number": "A"})
	require.Equal(t, fault.Unavailable, fault.Of(err).Class, "a write that never got there is not in doubt")
}

func TestWhatIsWrongWithTheConnectionIsNoMatterOfRows(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	upsert := func(table string, key ...string) *fault.Fault {
		_, err := b.pg.Upsert(t.Context(), connector.Upsert{Table: table, Key: key, Rows: []connector.Row{
			{"Number": "A", "quantity": json.Number("1")}, {"Number": "B", "quantity": json.Number("1")}}})
		return fault.Of(err)
	}
	require.Equal(t, "postgres.unknown_resource", upsert("nowhere", "Number").Code)
	require.Equal(t, "postgres.no_key", upsert("invoice", "quantity").Code)
	require.NoError(t, b.pg.Probe(t.Context()))

	denied := b.build(func(text string) (string, error) {
		return strings.NewReplacer("${env:DB}", withoutUser(b.owner), "${env:PASSWORD}", "wrong-secret").Replace(text), nil
	})
	f := fault.Of(denied.Probe(t.Context()))
	require.Equal(t, fault.Unauthorized, f.Class)
	require.NotContains(t, f.Error(), "wrong-secret")
	for _, address := range []string{"https://x/db", "postgres://user:secret@x/db", "postgres://x/db?sslmode=disable", "postgres://x"} {
		wrong := b.build(func(string) (string, error) { return address, nil })
		f := fault.Of(wrong.Probe(t.Context()))
		require.Equal(t, "connector.url", f.Code)
		require.NotContains(t, f.Error(), "secret")
	}
	_, err := postgres.New(connector.Config{Name: "c", URL: "postgres://x/db", Auth: connector.Auth{Kind: "none"}}, connector.Deps{})
	require.Equal(t, "connector.auth", fault.Of(err).Code)
}

func TestACallerThatGivesUpLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *connector.Config) { c.Limits.Concurrent = 1 })
	b.write(connector.Row{"Number": "A", "quantity": json.Number("1")})
	tx, err := b.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `update "Acc".invoice set quantity = 2`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = b.pg.Upsert(ctx, connector.Upsert{Table: "invoice", Key: []string{"Number"}, Rows: []connector.Row{{"Number": "A", "quantity": json.Number("3")}}})
	require.ErrorIs(t, err, context.DeadlineExceeded, "it was not committed, and that is certain")
	require.NoError(t, tx.Commit(t.Context()))
	b.write(connector.Row{"Number": "B"}) // the place among those at work was given back
	require.Equal(t, "2", b.text(`select quantity from "Acc".invoice where "Number" = 'A'`))
}
