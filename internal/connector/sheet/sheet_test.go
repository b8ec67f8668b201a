package sheet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

func texts(p sheet.Page) []string {
	out := make([]string, len(p.Cells))
	for i, c := range p.Cells {
		out[i] = "absent"
		if c != nil {
			out[i] = string(c)
		}
	}
	return out
}

var older = &sheet.Plan{
	List: []string{"d", "results"}, Beside: []string{"__next", "__count"},
	Columns: []sheet.Column{{Name: "Order"}, {Name: "Amount", Form: sheet.Number}, {Name: "On", Form: sheet.Date}, {Name: "At", Form: sheet.Timestamp}, {Name: "Time", Form: sheet.Clock}},
}

func TestCellsAreWhatTheAnswerSaysDigitByDigit(t *testing.T) {
	t.Parallel()
	page, err := older.Read([]byte(`{"d":{"__count":"3","results":[
		{"__metadata":{"uri":"u","etag":"e"},"Order":"1 \u00e9","Amount":"9007199254740993.10","On":"\/Date(1471392000000)\/","At":"/Date(1472796947125+0060)/","Time":"PT12H30M00S","More":[1,{"a":2}]},
		{"Amount":52.650,"Order":null,"At":"/Date(-1)/"},
		{"On":"/Date(1471392000001)/","Time":"PT5M","Order":"x","Amount":"1,5","At":"soon","\u0041mount2":1},
		{"On":"2016-08-17","Time":"12:30:00","At":"2016-09-02T06:15:47.1250000Z"},{"At":"2016-09-02T06:15:00.0Z"}
	],"__next":"https://h/x?$skiptoken=3"}}`))
	require.NoError(t, err)
	require.Equal(t, 5, page.Rows)
	require.Equal(t, []string{
		`"1 \u00e9"`, `9007199254740993.10`, `"2016-08-17"`, `"2016-09-02T06:15:47.125Z"`, `"12:30:00"`,
		`null`, `52.650`, `absent`, `"1969-12-31T23:59:59.999Z"`, `absent`,
		`"x"`, `"1,5"`, `"/Date(1471392000001)/"`, `"soon"`, `"00:05:00"`,
		`absent`, `absent`, `"2016-08-17"`, `"2016-09-02T06:15:47.125Z"`, `"12:30:00"`,
		`absent`, `absent`, `absent`, `"2016-09-02T06:15:00Z"`, `absent`,
	}, texts(page), "what its form does not fit stays as it is")
	require.Equal(t, `"https://h/x?$skiptoken=3"`, string(page.Beside[0]))
	require.Equal(t, `"3"`, string(page.Beside[1]))
}

func TestListsOfOtherProtocolsAreReadByTheSameCode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plan   sheet.Plan
		answer string
		cells  []string
		beside []string
	}{
		"OData 4": {sheet.Plan{List: []string{"value"}, Columns: []sheet.Column{{Name: "a"}}, Beside: []string{"@odata.nextLink"}},
			`{"@odata.context":"c","value":[{"@odata.etag":"e","a":1},{"a":true}],"@odata.nextLink":"n"}`, []string{"1", "true"}, []string{`"n"`}},
		"Oracle": {sheet.Plan{List: []string{"items"}, Columns: []sheet.Column{{Name: "a"}, {Name: "b"}}, Beside: []string{"hasMore", "count"}, AbsentIsNull: true},
			`{"items":[{"a":1},{"b":{"c":[]}}],"count":2,"hasMore":false}`, []string{"1", "null", "null", `{"c":[]}`}, []string{"false", "2"}},
		"a bare d": {*older, `{"d":[{"Order":"1"}]}`, []string{`"1"`, "absent", "absent", "absent", "absent"}, []string{"", ""}},
		"a key spelt with escapes": {sheet.Plan{List: []string{"value"}, Columns: []sheet.Column{{Name: "ab"}}},
			`{"v\u0061lue":[{"\u0061b":1},{"ab":2},{"a\u0062":3}]}`, []string{"1", "2", "3"}, []string{}},
		"optional columns in any order": {sheet.Plan{List: []string{"value"}, Columns: []sheet.Column{{Name: "a"}, {Name: "b"}, {Name: "c"}}},
			`{"value":[{"a":1,"c":3},{"c":3,"b":2,"a":1},{"b":2},{},{"a":1,"b":2,"c":3}]}`,
			[]string{"1", "absent", "3", "1", "2", "3", "absent", "2", "absent", "absent", "absent", "absent", "1", "2", "3"}, []string{}},
		"no rows": {*older, ` {"d":{"results":[ ]}} `, []string{}, []string{"", ""}},
	} {
		page, err := c.plan.Read([]byte(c.answer))
		require.NoError(t, err, name)
		require.Equal(t, c.cells, texts(page), name)
		beside := []string{}
		for _, b := range page.Beside {
			beside = append(beside, string(b))
		}
		require.Equal(t, c.beside, beside, name)
	}
}

func TestWhatTwoReadersCouldUnderstandDifferentlyIsAFault(t *testing.T) {
	t.Parallel()
	many := &strings.Builder{}
	for i := range 100 {
		fmt.Fprintf(many, `"k%d":1,`, i)
	}
	for answer, code := range map[string]string{
		`{"d":{"results":[{"Order":1,"Order":2}]}}`:                                        strictjson.CodeDuplicateKey,
		`{"d":{"results":[{"Order":1},{"Order":1,"\u004frder":2}]}}`:                       strictjson.CodeDuplicateKey,
		`{"d":{"results":[{"x":1,"Order":2,"x":1}]}}`:                                      strictjson.CodeDuplicateKey,
		`{"d":{"results":[{"x":{"y":1,"y":1}}]}}`:                                          strictjson.CodeDuplicateKey,
		`{"d":{"results":[{` + many.String() + `"k7":1}]}}`:                                strictjson.CodeDuplicateKey,
		`{"d":{"results":[{` + strings.TrimSuffix(many.String(), ",") + `}],"results":0}}`: strictjson.CodeDuplicateKey,
		`{"d":{"results":[]},"d":1}`:                                                       strictjson.CodeDuplicateKey,
		"{\"d\":{\"results\":[{\"x\":\"\xff\"}]}}":                                         strictjson.CodeSyntax,
		"{\"d\":{\"results\":[{\"Order\":\"\xe9\"}]}}":                                     strictjson.CodeSyntax,
		`{"d":{"results":[{"Order":"\ud800"}]}}`:                                           strictjson.CodeSyntax,
		`{"d":{"results":[{"Order":01}]}}`:                                                 strictjson.CodeSyntax,
		`{"d":{"results":[{"Order":1}]}} x`:                                                strictjson.CodeSyntax,
		`{"d":{"results":[` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `]}}`:    strictjson.CodeTooDeep,
	} {
		_, err := older.Read([]byte(answer))
		require.Error(t, err, answer)
		require.Equal(t, code, fault.Of(err).Code, answer)
	}
	for _, answer := range []string{`{}`, `[]`, `null`, `{"d":null}`, `{"d":{}}`, `{"d":{"results":{}}}`, `{"d":{"results":[1]}}`, `{"d":{"results":[{},null]}}`} {
		_, err := older.Read([]byte(answer))
		require.ErrorIs(t, err, sheet.ErrNoList, answer)
	}
}

func TestNoBeginningOfAnAnswerIsAnAnswer(t *testing.T) {
	t.Parallel()
	whole := string(answer(3))
	for i := range len(whole) {
		_, err := older.Read([]byte(whole[:i]))
		require.Error(t, err, "%q", whole[:i])
	}
}

// answer is a page as an S/4HANA system sends it.
func answer(rows int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"d":{"results":[`)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"__metadata":{"id":"https://h/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('%[1]d')","uri":"https://h/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('%[1]d')","type":"API_SALES_ORDER_SRV.A_SalesOrderType","etag":"W/\"datetimeoffset'2016-09-02T06%%3A15%%3A47.1257050Z'\""},`+
			`"Order":"%[1]d","SalesOrderType":"OR","SoldToParty":"ACC-%05[1]d","On":"\/Date(1471392000000)\/","Amount":"%[1]d.65","TransactionCurrency":"EUR","At":"\/Date(147279694%04[1]d+0000)\/","Time":"PT12H30M00S","to_Item":{"__deferred":{"uri":"https://h/x"}}}`, i)
	}
	b.WriteString(`],"__next":"https://h/x?$skiptoken=200"}}`)
	return b.Bytes()
}

var instant = regexp.MustCompile(`^\\?/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)\\?/$`)

// FuzzRead holds the walk to two readers that everybody trusts: it takes what
// strictjson takes, and its cells mean what encoding/json reads at their places.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		string(answer(2)), `{"d":[{"Order":1e-7,"Amount":"-0.50"}]}`, `{"d":{"results":[{"Order":"a\"\\\u00e9\ud83d\ude00","At":"/Date(1+0000)/"}],"__next":null}}`,
		`{"d":{"results":[{"Order":{"a":[1,{"b":null}]}},{"Amount":"1"}]}}`, `{"d":{"results":[{"Order":1,"Order":1}]}}`, `[1]`, `{"d":{"results":[true]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := older.Read(body)
		tree, strict := strictjson.Decode(body, "")
		if strict != nil {
			require.Error(t, err, "%q", body)
			require.Equal(t, fault.Of(strict).Code, fault.Of(err).Code)
			return
		}
		rows, ok := list(tree)
		if !ok {
			require.ErrorIs(t, err, sheet.ErrNoList, "%q", body)
			return
		}
		require.NoError(t, err, "%q", body)
		require.Equal(t, len(rows), page.Rows)
		var judged any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&judged), "%q", body)
		rows, _ = list(judged)
		for i, row := range rows {
			for j, column := range older.Columns {
				same(t, column.Form, row[column.Name], hasKey(row, column.Name), page.Cells[i*len(older.Columns)+j])
			}
		}
	})
}

func hasKey(row map[string]any, name string) bool { _, ok := row[name]; return ok }

// list finds the rows in a tree, or says that there are none.
func list(tree any) ([]map[string]any, bool) {
	root, _ := tree.(map[string]any)
	items, ok := root["d"].([]any)
	if !ok {
		d, _ := root["d"].(map[string]any)
		if items, ok = d["results"].([]any); !ok {
			return nil, false
		}
	}
	rows := make([]map[string]any, len(items))
	for i, item := range items {
		if rows[i], ok = item.(map[string]any); !ok {
			return nil, false
		}
	}
	return rows, true
}

func same(t *testing.T, form sheet.Form, value any, there bool, cell []byte) {
	t.Helper()
	if !there {
		require.Nil(t, cell)
		return
	}
	text, isText := value.(string)
	if isText && form == sheet.Number && json.Valid([]byte(text)) && strings.Trim(text, "0123456789+-.eE") == "" && sheet.IsNumber(text) {
		require.Equal(t, text, string(cell))
		return
	}
	var got any
	dec := json.NewDecoder(bytes.NewReader(cell))
	dec.UseNumber()
	require.NoError(t, dec.Decode(&got), "%q", cell)
	if isText && (form == sheet.Date || form == sheet.Timestamp) {
		if m := instant.FindStringSubmatch(text); m != nil && got != value {
			ms, err := strconv.ParseInt(m[1], 10, 64)
			require.NoError(t, err)
			at := time.UnixMilli(ms).UTC()
			want := at.Format("2006-01-02T15:04:05.999Z")
			if form == sheet.Date {
				want = at.Format(time.DateOnly)
			}
			require.Equal(t, want, got)
			return
		}
		if at, err := time.Parse(time.RFC3339Nano, text); form == sheet.Timestamp && err == nil && got != value {
			again, err := time.Parse(time.RFC3339Nano, got.(string))
			require.NoError(t, err)
			require.Equal(t, at, again, "another way to write the same instant")
			return
		}
		if form == sheet.Timestamp && got != value {
			require.Equal(t, strings.TrimRight(strings.TrimSuffix(text, "Z"), "0."), strings.TrimRight(strings.TrimSuffix(got.(string), "Z"), "0."))
			return
		}
	}
	if isText && form == sheet.Clock && got != value {
		require.Regexp(t, `^[0-2][0-9]:[0-5][0-9]:[0-5][0-9]$`, got)
		return
	}
	require.Equal(t, value, got)
}

// BenchmarkRead is the decode rate of a page of orders, seven columns of ten, beside
// encoding/json of the same bytes and beside the strict reader of pages of maps.
func BenchmarkRead(b *testing.B) {
	const rows = 1000
	body := answer(rows)
	plan := &sheet.Plan{List: older.List, Beside: older.Beside, Columns: append([]sheet.Column{{Name: "SalesOrderType"}, {Name: "SoldToParty"}}, older.Columns...)}
	rate := func(b *testing.B, read func() error) {
		b.Helper()
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := read(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("sheet", func(b *testing.B) {
		rate(b, func() error {
			page, err := plan.Read(body)
			if err == nil && page.Rows != rows {
				err = errors.New("rows are missing")
			}
			return err
		})
	})
	b.Run("encoding-json-map", func(b *testing.B) {
		rate(b, func() error {
			var got struct {
				D struct {
					Results []map[string]any `json:"results"`
				} `json:"d"`
			}
			dec := json.NewDecoder(bytes.NewReader(body))
			dec.UseNumber()
			return dec.Decode(&got)
		})
	})
	b.Run("encoding-json-struct", func(b *testing.B) {
		rate(b, func() error {
			var got struct {
				D struct {
					Results []struct{ SalesOrderType, SoldToParty, Order, Amount, On, At, Time string } `json:"results"`
				} `json:"d"`
			}
			return json.Unmarshal(body, &got)
		})
	})
	b.Run("strictjson", func(b *testing.B) {
		rate(b, func() error {
			_, err := strictjson.Decode(body, "")
			return err
		})
	})
}
