package postgres_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/connector"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/fault"
)

func sheet(columns string, rows ...string) connector.Sheet {
	s := connector.Sheet{Columns: strings.Split(columns, ",")}
	for _, row := range rows {
		for cell := range strings.SplitSeq(row, "|") {
			s.Cells = append(s.Cells, connector.Cell(cell))
			if cell == "" {
				s.Cells[len(s.Cells)-1] = nil
			}
		}
	}
	return s
}

func (b *bundle) load(pg *postgres.Postgres, m *connector.Mark, s connector.Sheet) ([]connector.Refusal, error) {
	b.Helper()
	return pg.Load(b.Context(), connector.Load{Table: "invoice", Key: []string{"Number"}, Sheet: s, Mark: m})
}

func codes(t *testing.T, refusals []connector.Refusal) map[int]string {
	t.Helper()
	found := map[int]string{}
	for _, r := range refusals {
		f := fault.Of(r.Err)
		require.Equal(t, fault.Rejected, f.Class)
		require.NotContains(t, f.Error(), "canary")
		found[r.Row] = f.Code
	}
	require.Len(t, found, len(refusals))
	return found
}

func TestASheetIsWrittenByKeyExactly(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.write(connector.Row{"Number": "A", "note": "kept", "quantity": json.Number("1")})
	refusals, err := b.load(b.pg, nil, sheet("Number,amount,quantity,note,due,paid,at,extra",
		`"A"|9007199254740993.0123|5.0||"2026-02-28"|true|"2026-02-28T12:00:00.123456+02:00"|{"n":0.10,"t":"a\tb\\"}`,
		`"B"|"12.50"|null|"a\"\\ü\n"|null|false|null|"text"`,
		`"C"|0.50|1|"x"|null|false|null|null`))
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Equal(t, `("A",9007199254740993.0123,5,kept,2026-02-28,t,"2026-02-28 10:00:00.123456+00","{""n"": 0.10, ""t"": ""a\\tb\\\\""}",hidden)`,
		strings.Replace(b.text(`select i from "Acc".invoice as i where "Number" = 'A'`), "(A,", `("A",`, 1), "an absent column keeps its value")
	require.Equal(t, "a\"\\ü\n", b.text(`select note from "Acc".invoice where "Number" = 'B'`))
	require.Equal(t, `"text"`, b.text(`select extra from "Acc".invoice where "Number" = 'B'`))
	require.Equal(t, "3", b.text(`select count(*) from "Acc".invoice`))
}

func TestRowsThatTheDatabaseRefusesAreNamedAndTakeNoOtherAlong(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`alter table "Acc".invoice add parent text references "Acc".invoice deferrable initially deferred; alter table "Acc".invoice alter note set not null`)
	b.write(connector.Row{"Number": "canary-0", "note": "canary"})
	rows := make([]string, 400)
	want := map[int]string{}
	for i := range rows {
		rows[i] = fmt.Sprintf(`"canary-%03d"|%d|"note %d"|null|null`, i+1, i, i)
	}
	bad := func(i int, code, row string) { rows[i], want[i] = row, "postgres."+code }
	bad(3, "check", `"canary-b"|-1|"c"|null|null`)
	bad(4, "check", `"canary-c"|-1|"d"|null|null`)
	bad(7, "too_long", `"canary-d"|1|"canarycanarycanary"|null|null`)
	bad(9, "too_long", `"canary-e"|1|"canary            "|null|null`)
	bad(11, "duplicate_key", `"canary-f"|1|"canary"|null|null`)
	bad(19, "invalid_date", `"canary-g"|1|"e"|"2026-02-30"|null`)
	bad(20, "invalid_date", `"canary-h"|1|"f"|"now"|null`)
	bad(23, "key_missing", `null|1|"g"|null|null`)
	bad(24, "null", `"canary-i"|1|null|null|null`)
	bad(29, "reference", `"canary-j"|1|"h"|null|"canary-nobody"`)
	bad(31, "out_of_range", `"canary-k"|99999999999999999999|"i"|null|null`)
	bad(32, "too_precise", `"canary-l"|1.00001|"j"|null|null`)
	bad(33, "not_finite", `"canary-m"|"NaN"|"k"|null|null`)
	bad(35, "value", `"canary-n"|"1-2"|"l"|null|null`)
	bad(36, "value", `"canary-o"|1|"m|null|null`)
	bad(37, "encoding", `"canary-p"|1|"a\u0000b"|null|null`)
	bad(38, "encoding", `"canary-q"|1|"a`+"\xff"+`b"|null|null`)
	bad(399, "value", `"canary-r"|1|"n"|"2026"-|null`)
	refusals, err := b.load(b.pg, &mark(1, "sheet")[0], sheet("Number,amount,note,due,parent", rows...))
	require.NoError(t, err)
	require.Equal(t, want, codes(t, refusals))
	require.Equal(t, fmt.Sprint(401-len(want)), b.text(`select count(*) from "Acc".invoice`))

	again, err := b.load(b.pg, &mark(2, "sheet")[0], sheet("Number,amount,note,due,parent", rows...))
	require.NoError(t, err)
	require.Equal(t, want, codes(t, again), "who did not hear of it is told what was refused then")
	applied, err := b.pg.Applied(t.Context(), mark(3, "sheet"))
	require.NoError(t, err)
	require.Equal(t, []bool{true}, applied)
}

func TestEveryRowOfASheetMayBeRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := connector.Sheet{Columns: []string{"Number", "amount"}}
	for i := range 700 {
		s.Cells = append(s.Cells, fmt.Appendf(nil, "%d", i), []byte("-1"))
	}
	m := mark(1, "sheet")[0]
	for range 2 { // written, and asked for: more reasons than one row of marks holds
		refusals, err := b.load(b.pg, &m, s)
		require.NoError(t, err)
		require.Len(t, refusals, 700)
		require.Equal(t, 699, refusals[699].Row)
		require.Equal(t, "postgres.check", fault.Of(refusals[699].Err).Code)
	}
	require.Equal(t, "0", b.text(`select count(*) from "Acc".invoice`))
}

func TestASheetWhoseAnswerWasLostIsWrittenOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	u, err := url.Parse(b.owner)
	require.NoError(t, err)
	wire := newLine(t, u.Host)
	password, _ := u.User.Password()
	u.User, u.RawQuery, u.Host = nil, "", wire.address
	secrets := strings.NewReplacer("${env:DB}", u.String(), "${env:PASSWORD}", password)
	pg := b.build(func(text string) (string, error) { return secrets.Replace(text), nil })
	s := sheet("Number,amount", `"A"|10.25`, `"B"|-1`)
	m := mark(1, "sheet")[0]
	wire.loses(true)
	_, err = b.load(pg, &m, s)
	require.Equal(t, fault.InDoubt, fault.Of(err).Class)
	require.Equal(t, 1, wire.losses())
	wire.loses(false)
	b.exec(`update "Acc".invoice set amount = 7`) // somebody corrects it meanwhile
	refusals, err := b.load(pg, &m, s)
	require.NoError(t, err)
	require.Equal(t, map[int]string{1: "postgres.check"}, codes(t, refusals))
	require.Equal(t, "{7.0000}", b.text(`select array_agg(amount) from "Acc".invoice`))

	_, err = b.pg.Applied(t.Context(), mark(5, "other sheet"))
	require.NoError(t, err)
	late := mark(4, "other sheet")[0]
	_, err = b.load(pg, &late, sheet("Number,amount", `"C"|1`))
	require.Equal(t, "postgres.fenced", fault.Of(err).Code)
	require.Equal(t, fault.Unavailable, fault.Of(err).Class)
	require.Equal(t, "{A}", b.text(`select array_agg("Number") from "Acc".invoice`))
}

func TestASheetWhoseSenderMayNotSendAnyMoreIsNotCommitted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	frozen := func() error {
		return fault.New(fault.Unavailable, "worker.frozen", "its worker stood still for a while", nil)
	}
	_, err := b.pg.Load(t.Context(), connector.Load{Table: "invoice", Key: []string{"Number"}, Sheet: sheet("Number", `"A"`), Mark: &mark(1, "sheet")[0], Held: frozen})
	require.Equal(t, "worker.frozen", fault.Of(err).Code)
	require.Equal(t, "0", b.text(`select count(*) from "Acc".invoice`))
	require.Equal(t, "0", b.text(`select count(*) from patchbay_effect`))
}

func TestRowsOfASheetThatAreOneToTheDatabaseAreWrittenInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`create table ledger (account numeric, day date, total numeric, primary key (account, day))`)
	refusals, err := b.pg.Load(t.Context(), connector.Load{Table: "ledger", Key: []string{"account", "day"},
		Sheet: sheet("account,day,total", `1|"2026-01-01"|5`, `1.0|"2026-01-01"|6`, `2|"2026-01-01"|7`)})
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Equal(t, "{6,7}", b.text(`select array_agg(total order by account) from ledger`), "the later wins")
}

func TestWhatIsWrongWithTheTableIsNoMatterOfRowsOfASheet(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	load := func(table, key string, s connector.Sheet) string {
		_, err := b.pg.Load(t.Context(), connector.Load{Table: table, Key: []string{key}, Sheet: s})
		return fault.Of(err).Code
	}
	require.Equal(t, "postgres.unknown_resource", load("nowhere", "Number", sheet("Number", `"A"`)))
	require.Equal(t, "postgres.unknown_column", load("invoice", "Number", sheet("Number,nope", `"A"|1`)))
	require.Equal(t, "postgres.no_key", load("invoice", "quantity", sheet("Number,quantity", `"A"|1`)))
	require.Equal(t, "connector.key", load("invoice", "Number", sheet("quantity", `1`)))
	require.Equal(t, "connector.unknown_column", load("invoice", "Number", sheet(`Number,a"b`, `"A"|1`)))
	refusals, err := b.pg.Load(t.Context(), connector.Load{Table: "invoice", Key: []string{"Number"}, Sheet: sheet("Number")})
	require.NoError(t, err)
	require.Empty(t, refusals)
	b.exec(`drop table patchbay_effect`)
	_, err = b.load(b.pg, &mark(1, "sheet")[0], sheet("Number", `"A"`))
	require.Equal(t, "connector.markers", fault.Of(err).Code)
}

// What a table gives, another takes, to the last digit and byte.
func TestASheetGoesFromTableToTable(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const columns = `(id bigint primary key, n numeric, f float8, yes boolean, t text, c varchar(40), j jsonb, d date, at timestamptz, there timestamp, raw bytea, list text[], numbers numeric[], grid int[])`
	b.exec(`create table here ` + columns + `; create table there ` + columns)
	for _, name := range []string{"here", "there"} {
		b.config.Tables[name] = connector.Table{Path: name, Keys: [][]string{{"id"}}}
	}
	all := []string{"id", "n", "f", "yes", "t", "c", "j", "d", "at", "there", "raw", "list", "numbers", "grid"}
	id := 0
	rapid.Check(t, func(r *rapid.T) {
		id++
		texts := rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\\n\t\r\x01{},üŁ€𝄞' |"))).Filter(func(s string) bool { return utf8.RuneCountInString(s) <= 40 })
		t1, t2, e1 := texts.Draw(r, "t"), texts.Draw(r, "c"), texts.Draw(r, "e")
		n := rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?`).Draw(r, "n")
		raw := rapid.SliceOf(rapid.Byte()).Draw(r, "raw")
		_, err := b.sql.Exec(b.Context(), `insert into here values ($1::bigint, $2::text::numeric, $3, $4, $5, $6, jsonb_build_array($5::text, $2::text::numeric), date '0001-01-01' + $7::int, timestamptz '2000-01-01' + $8::int * interval '1.000001 s',
			timestamp '1970-01-01' + $8::int * interval '0.000001 s', $9, array[$10, null, $5], array[$2::text::numeric, 1.10], array[[1,2],[3,$1::bigint::int]])`,
			id, n, rapid.Float64Range(-1e300, 1e300).Draw(r, "f"), rapid.Bool().Draw(r, "yes"), t1, t2, rapid.IntRange(0, 3000000).Draw(r, "d"), rapid.Int32().Draw(r, "at"), raw, e1)
		require.NoError(r, err)
	})
	rows := 0
	for token := ""; ; {
		s, err := b.pg.ExtractPage(t.Context(), connector.Query{Table: "here", Select: all, Limit: 40}, token)
		require.NoError(t, err)
		refusals, err := b.pg.Load(t.Context(), connector.Load{Table: "there", Key: []string{"id"}, Sheet: s})
		require.NoError(t, err)
		require.Empty(t, refusals)
		rows += s.Rows()
		if token = s.Next; token == "" {
			break
		}
	}
	require.Equal(t, id, rows)
	require.Equal(t, "0", b.text(`select count(*) from here full join there using (id) where (here.*)::text is distinct from (there.*)::text`))
}
