package join_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/expr"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/join"
)

// outcomeOf packs one row of a single typed column beside its identity.
func outcomeOf(t require.TestingT, typ flow.Type, cell string) string {
	p, err := join.NewPacker("f", flow.Source{Name: "s", Select: []string{"id", "v"}, Types: []flow.Type{flow.String, typ}, Key: "row.id", Identity: []string{"id"}})
	require.NoError(t, err)
	code := ""
	_, err = p.Pack(flow.Sheet{Columns: []string{"id", "v"}, Cells: [][]byte{[]byte(`"1"`), []byte(cell)}}, 0, "page 1",
		func(r join.Row) { code = "staged" },
		func(r flow.RejectedRow, ident []byte) {
			code = r.Code
			require.Equal(t, "1", r.Identity)
			require.Equal(t, `"1"`, string(ident))
			require.True(t, strings.HasPrefix(r.Reason, "v "), r.Reason)
			if len(cell) > 4 {
				require.NotContains(t, r.Reason, cell)
			}
		})
	require.NoError(t, err)
	return code
}

func TestAValueThatDoesNotFitIsRejectedByName(t *testing.T) {
	t.Parallel()
	const staged = "staged"
	for _, c := range []struct {
		typ  flow.Type
		cell string
		want string
	}{
		{flow.Decimal, `12.50`, staged},
		{flow.Decimal, `"0012.50"`, join.CodeDecimal},
		{flow.Decimal, `"-12.50"`, staged},
		{flow.Decimal, `"12,50"`, join.CodeDecimal},
		{flow.Decimal, `1e1001`, join.CodeDecimal},
		{flow.Decimal, strings.Repeat("9", 2001), join.CodeDecimal},
		{flow.Decimal, `"NaN"`, join.CodeDecimal},
		{flow.Decimal, `true`, join.CodeType},
		{flow.Decimal, `null`, staged},
		{flow.Int, `9223372036854775807`, staged},
		{flow.Int, `-9223372036854775808`, staged},
		{flow.Int, `9223372036854775808`, join.CodeInt},
		{flow.Int, `1.5`, join.CodeInt},
		{flow.Int, `"1"`, join.CodeInt},
		{flow.Date, `"2024-02-29"`, staged},
		{flow.Date, `"2023-02-29"`, join.CodeDate},
		{flow.Date, `"1900-02-29"`, join.CodeDate},
		{flow.Date, `"2023-13-01"`, join.CodeDate},
		{flow.Date, `"00000000"`, join.CodeDate},
		{flow.Date, `20230101`, join.CodeType},
		{flow.Timestamp, `"2024-02-29T23:59:59.123456789Z"`, staged},
		{flow.Timestamp, `"2024-02-29T23:59:59+05:30"`, staged},
		{flow.Timestamp, `"2024-02-29T24:00:00Z"`, join.CodeTime},
		{flow.Timestamp, `"2024-02-29T23:59:59"`, join.CodeTime},
		{flow.Timestamp, `"2024-02-29 23:59:59Z"`, join.CodeTime},
		{flow.Bool, `false`, staged},
		{flow.Bool, `"false"`, join.CodeType},
		{flow.String, `"M\u00fcller \ud83d\ude00"`, staged},
		{flow.String, "\"M\u00fcller\"", staged},
		{flow.String, "\"M\xfcller\"", join.CodeEncoding}, // ISO 8859-1 among UTF-8
		{flow.String, "\"M\x00ller\"", join.CodeJSON},
		{flow.String, `12`, join.CodeType},
		{flow.String, `{}`, join.CodeType},
		{flow.Any, `{"a":[1,"ü"]}`, staged},
		{flow.Any, `{"a":[1,]}`, join.CodeJSON},
		{flow.Any, "{\"a\":\"\xfc\"}", join.CodeEncoding},
		{flow.Any, `nul`, join.CodeJSON},
		{flow.Any, `"open`, join.CodeJSON},
		{flow.Any, `01`, join.CodeJSON},
	} {
		require.Equal(t, c.want, outcomeOf(t, c.typ, c.cell), "%s %q", c.typ, c.cell)
	}
}

// Whatever is staged is one JSON value, and whatever is one JSON value is staged.
func TestExactlyJSONIsStaged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		cell := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{1,4}(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?`),
			rapid.StringMatching(`"(\\["\\/bfnrtu0-9a-f]|[ -~]|ü){0,8}"`),
			rapid.StringMatching(`[\[\]{}",:0-9a-z]{1,8}`),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 6), func(b []byte) string { return string(b) }),
		).Filter(func(s string) bool { return s != "" && strings.TrimSpace(s) == s }).Draw(rt, "cell")
		want := json.Valid([]byte(cell)) && utf8.ValidString(cell)
		require.Equal(rt, want, outcomeOf(rt, flow.Any, cell) == "staged", "%q", cell)
	})
}

func TestDatesAndTimesAreThoseOfTheCalendar(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.StringMatching(`(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]`).Draw(rt, "date")
		_, err := time.Parse(time.DateOnly, s)
		require.Equal(rt, err == nil, outcomeOf(rt, flow.Date, `"`+s+`"`) == "staged", s)
		s += rapid.StringMatching(`T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9])`).Draw(rt, "time")
		_, err = time.Parse(time.RFC3339, s)
		require.Equal(rt, err == nil, outcomeOf(rt, flow.Timestamp, `"`+s+`"`) == "staged", s)
	})
}

func TestARowWithoutKeyOrIdentityHasItsPlaceForAName(t *testing.T) {
	t.Parallel()
	p, err := join.NewPacker("f", flow.Source{Name: "s", Select: []string{"id", "key"}, Key: "row.key", Identity: []string{"id"}})
	require.NoError(t, err)
	var got []flow.RejectedRow
	_, err = p.Pack(flow.Sheet{Columns: []string{"id"}, Cells: [][]byte{[]byte(`"1"`), nil, []byte(`null`)}}, 0, "page 3",
		func(join.Row) { t.Error("staged") }, func(r flow.RejectedRow, _ []byte) { got = append(got, r) })
	require.NoError(t, err)
	require.Equal(t, []flow.RejectedRow{
		{Source: "s", Identity: "1", Code: join.CodeKey, Reason: "the row has no key: there is no row.key"},
		{Source: "s", Identity: "page 3, row 2", Code: join.CodeIdentity, Reason: "id is missing, and the row cannot be told from others"},
		{Source: "s", Identity: "page 3, row 3", Code: join.CodeIdentity, Reason: "id is missing, and the row cannot be told from others"},
	}, got)
	_, err = p.Pack(flow.Sheet{Columns: []string{"id", "key"}, Cells: [][]byte{nil}}, 0, "page 1", nil, nil)
	require.Equal(t, "vendor.truncated", fault.Of(err).Code)
}

func TestWatermarksCompareAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{`"2026-01-01T00:00:00Z"`, `"2026-01-01T00:00:00.5Z"`},
		{`"2026-01-01T01:00:00+02:00"`, `"2026-01-01T00:00:00Z"`},
		{`"2026-01-01"`, `"2026-01-02"`},
		{`9`, `10`}, {`-10`, `-9`}, {`-1`, `1`}, {`"A"`, `"B"`}, {`99999999999999999999`, `100000000000000000000`},
	} {
		require.True(t, join.Before(c[0], c[1]), c)
		require.False(t, join.Before(c[1], c[0]), c)
		require.Equal(t, c[1], join.Later(c[0], []byte(c[1])))
		require.Equal(t, c[1], join.Later(c[1], []byte(c[0])))
	}
	require.Equal(t, `9`, join.Later(`9`, nil))
	require.Equal(t, `9`, join.Later(`9`, []byte(`null`)))
	require.Equal(t, `"2025-12-31T23:55:00Z"`, join.Less(`"2026-01-01T00:00:00Z"`, 5*time.Minute))
	require.Equal(t, `"2025-12-31"`, join.Less(`"2026-01-01"`, 5*time.Minute))
	require.Equal(t, `17`, join.Less(`17`, 5*time.Minute))
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	require.Equal(t, `"2026-01-01T12:00:00Z"`, join.Earliest(`"2036-01-01T00:00:00Z"`, at))
	require.Equal(t, `"2026-01-01"`, join.Earliest(`"2036-01-01"`, at))
	require.Equal(t, `"2025-01-01"`, join.Earliest(`"2025-01-01"`, at))
}

func TestTheSumOfRowsForgetsTheirOrderAndNothingElse(t *testing.T) {
	t.Parallel()
	s := planOf("", "k", "key").Gather.Sources[1]
	_, one, _ := packed(t, s, []record{{"1", "A", "1"}, {"2", "A", "2"}})
	_, two, _ := packed(t, s, []record{{"2", "A", "2"}, {"1", "A", "1"}})
	_, other, _ := packed(t, s, []record{{"2", "A", "1"}, {"1", "A", "2"}})
	require.Equal(t, one, two)
	require.NotEqual(t, one, other)
	require.Equal(t, one, join.SumOf(one.Bytes()))
	require.Equal(t, two, one.Add(other).Sub(other))
}

func TestAKeyTooLongIsRejected(t *testing.T) {
	t.Parallel()
	s := planOf("", "k", "key").Gather.Sources[1]
	_, _, rejects := packed(t, s, []record{{"1", strings.Repeat("x", 600), "1"}})
	require.Equal(t, expr.CodeValue, rejects[0].Code)
}
