package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

func TestDecodeReadsEveryKindOfValue(t *testing.T) {
	t.Parallel()
	got, err := strictjson.Decode([]byte(` {"a":[1,-0.5,2e+3],"b":{"c":null,"d":true},"e":"\u00e9\ud83d\ude00\n\/","f":false,"":"ü"} `), "params")
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"a": []any{json.Number("1"), json.Number("-0.5"), json.Number("2e+3")},
		"b": map[string]any{"c": nil, "d": true},
		"e": "é😀\n/", "f": false, "": "ü",
	}, got)
}

func TestDecodeKeepsLargeNumbersExact(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"9007199254740993", strings.Repeat("9", 400), "0.1000000000000000055511151231257827"} {
		got, err := strictjson.Decode([]byte(n), "params")
		require.NoError(t, err)
		require.Equal(t, json.Number(n), got)
	}
}

func TestDecodeNamesThePlaceOfWhatItRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, code, text string }{
		"nothing":               {"", "json.syntax", "there is no JSON value, at byte 0 (line 1, column 1)"},
		"trailing comma":        {`{"a":1,}`, "json.syntax", "a key in double quotes is due, at byte 7 (line 1, column 8)"},
		"missing value":         {"{\n  \"é\": }", "json.syntax", "no JSON value begins like this, at byte 10 (line 2, column 8)"},
		"trailing data":         {`{} {}`, "json.syntax", "something follows the JSON value, at byte 3 (line 1, column 4)"},
		"byte order mark":       {"\xef\xbb\xbf{}", "json.syntax", "a byte order mark stands before the JSON, at byte 0 (line 1, column 1)"},
		"NaN":                   {`[NaN]`, "json.syntax", "no JSON value begins like this, at byte 1 (line 1, column 2)"},
		"minus infinity":        {`-Infinity`, "json.syntax", "a digit is due in a number, at byte 0 (line 1, column 1)"},
		"exponent":              {`1e400`, "json.syntax", "the exponent of a number is beyond 308, at byte 0 (line 1, column 1)"},
		"huge exponent":         {`1e99999999999999999999`, "json.syntax", "the exponent of a number is beyond 308, at byte 0 (line 1, column 1)"},
		"leading zero":          {`012`, "json.syntax", "a number begins with a needless zero, at byte 0 (line 1, column 1)"},
		"bare point":            {`1.`, "json.syntax", "a digit is due after the point of a number, at byte 0 (line 1, column 1)"},
		"lone surrogate":        {`"\ud800"`, "json.syntax", "a surrogate stands alone, at byte 1 (line 1, column 2)"},
		"wrong second half":     {`"\ud800\u0041"`, "json.syntax", "a surrogate stands alone, at byte 1 (line 1, column 2)"},
		"bad UTF-8":             {"\"a\xff\"", "json.syntax", "the text is not UTF-8, at byte 2 (line 1, column 3)"},
		"encoded surrogate":     {"\"\xed\xa0\x80\"", "json.syntax", "the text is not UTF-8, at byte 1 (line 1, column 2)"},
		"control character":     {"\"a\nb\"", "json.syntax", "a control character stands in a string; write it as an escape, at byte 2 (line 1, column 3)"},
		"open string":           {`"abc`, "json.syntax", "a string does not end, at byte 4 (line 1, column 5)"},
		"bad escape":            {`"\x41"`, "json.syntax", "no such escape in a string, at byte 1 (line 1, column 2)"},
		"bad word":              {`nul`, "json.syntax", "no JSON value begins like this, at byte 0 (line 1, column 1)"},
		"duplicate key":         {`{"a":{"b":1,"b":2}}`, "json.duplicate_key", "the key params.a.b is given twice, at byte 12 (line 1, column 13)"},
		"duplicate by escape":   {`{"b":1,"\u0062":2}`, "json.duplicate_key", "the key params.b is given twice, at byte 7 (line 1, column 8)"},
		"depth 65":              {strings.Repeat("[", 65) + strings.Repeat("]", 65), "json.too_deep", "the JSON is nested deeper than 64, at byte 64 (line 1, column 65)"},
		"one million brackets":  {strings.Repeat("[", 1_000_000), "json.too_deep", "the JSON is nested deeper than 64, at byte 64 (line 1, column 65)"},
		"number of 1001 digits": {strings.Repeat("1", 1001), "json.syntax", "a number has more than 1000 digits, at byte 0 (line 1, column 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := strictjson.Decode([]byte(c.in), "params")
			var f *fault.Fault
			require.ErrorAs(t, err, &f)
			require.Equal(t, fault.Invalid, f.Class)
			require.Equal(t, c.code, f.Code)
			require.Equal(t, c.text, f.Text)
		})
	}
}

func TestDecodeAllowsDepth64(t *testing.T) {
	t.Parallel()
	_, err := strictjson.Decode([]byte(strings.Repeat("[", 64)+strings.Repeat("]", 64)), "params")
	require.NoError(t, err)
}

func TestDecodeNamesThePathOfTheFailure(t *testing.T) {
	t.Parallel()
	_, err := strictjson.Decode([]byte(`{"a":[{"x/y":tru}]}`), "params")
	require.Equal(t, `params.a[0]["x/y"]`, fault.Of(err).Fields[0].Path)
}

type order struct {
	Number string         `json:"number"`
	Lines  []line         `json:"lines"`
	Extra  map[string]any `json:"extra"`
}

type line struct {
	base
	Amount json.Number `json:"amount"`
	Note   *string     `json:"note"`
}

type base struct {
	ID int `json:"id"`
}

func TestUnmarshalFillsAStruct(t *testing.T) {
	t.Parallel()
	var got order
	err := strictjson.Unmarshal([]byte(`{"number":"A1","lines":[{"id":1,"amount":12.50,"note":null}],"extra":{"Any":1}}`), &got)
	require.NoError(t, err)
	require.Equal(t, "A1", got.Number)
	require.Equal(t, json.Number("12.50"), got.Lines[0].Amount)
	require.Equal(t, 1, got.Lines[0].ID)
	require.Equal(t, json.Number("1"), got.Extra["Any"])
}

func TestUnmarshalNamesEveryUnknownField(t *testing.T) {
	t.Parallel()
	var got order
	err := strictjson.Unmarshal([]byte(`{"Number":"A1","lines":[{"id":1,"amuont":2}],"hidden":3}`), &got)
	f := fault.Of(err)
	require.Equal(t, "field.unknown", f.Code)
	require.Equal(t, []fault.Field{
		{Path: "Number", Code: "field.unknown", Detail: "there is no such field", Fix: `did you mean "number"?`},
		{Path: "hidden", Code: "field.unknown", Detail: "there is no such field", Fix: "one of extra, lines, number"},
		{Path: "lines[0].amuont", Code: "field.unknown", Detail: "there is no such field", Fix: `did you mean "amount"?`},
	}, f.Fields)
	require.Empty(t, got.Number, "nothing is filled in from a document that is refused")
}

func TestUnmarshalNamesTheFieldOfTheWrongTypeButNotItsValue(t *testing.T) {
	t.Parallel()
	var got order
	err := strictjson.Unmarshal([]byte(`{"number":["secret"]}`), &got)
	require.Equal(t, "field.type", fault.Of(err).Code)
	require.Equal(t, "number must be a string", fault.Of(err).Text)
	require.NotContains(t, err.Error(), "secret")
}
