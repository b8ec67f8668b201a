package dataverse_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// batching answers a $batch by answering each of its operations.
func batching(t *testing.T, answer func(http.ResponseWriter, asked)) func(http.ResponseWriter, asked) {
	return func(w http.ResponseWriter, a asked) {
		if a.path != "$batch" {
			answer(w, a)
			return
		}
		w.Header().Set("Content-Type", "multipart/mixed; boundary=answers")
		for _, part := range operations(t, a.kind, a.body) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(part)))
			if err != nil {
				t.Errorf("an operation of a $batch does not parse: %v", err)
				return
			}
			body, _ := io.ReadAll(r.Body)
			one := httptest.NewRecorder()
			answer(one, asked{method: r.Method, path: strings.TrimPrefix(r.URL.Path, "/api/data/v9.2/"), query: r.URL.Query(), body: string(body)})
			fmt.Fprintf(w, "--answers\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 %d %s\r\n", one.Code, http.StatusText(one.Code))
			_ = one.Header().Write(w)
			fmt.Fprintf(w, "\r\n%s\r\n", one.Body)
		}
		fmt.Fprint(w, "--answers--\r\n")
	}
}

// operations are the requests in a $batch, those in change sets too.
func operations(t *testing.T, kind, body string) []string {
	_, params, err := mime.ParseMediaType(kind)
	if err != nil || !strings.HasSuffix(body, "\r\n") {
		t.Errorf("%q is no $batch", kind)
	}
	var list []string
	parts := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return list
		}
		content, _ := io.ReadAll(p)
		if kind := p.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") {
			list = append(list, operations(t, kind, string(content)+"\r\n")...)
			continue
		}
		list = append(list, string(content))
	}
}

func sheetOf(rows []connector.Row) connector.Sheet {
	s, err := connector.SheetOf([]string{"msx_attribute", "msx_value", "msx_productnumber"}, rows)
	if err != nil {
		panic(err)
	}
	return s
}

func (e *environment) load(t *testing.T, s connector.Sheet) ([]connector.Refusal, error) {
	t.Helper()
	return e.dataverse.Load(t.Context(), connector.Load{Table: "msx_specification", Key: key, Sheet: s, Origin: "run 1"})
}

func refused(t *testing.T, refusals []connector.Refusal) map[int]string {
	t.Helper()
	found := map[int]string{}
	for _, r := range refusals {
		require.NotContains(t, r.Err.Error(), "canary")
		found[r.Row] = code(r.Err)
	}
	return found
}

func TestASheetGoesByUpsertMultipleAndItsCellsAsTheyAre(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	rows := map[string]int{}
	e := newEnvironment(t, map[string]string{"bulk": "50"}, func(w http.ResponseWriter, a asked) {
		mu.Lock()
		defer mu.Unlock()
		rows[a.path] += strings.Count(a.body, "@odata.type")
		w.WriteHeader(http.StatusNoContent)
	})
	refusals, err := e.load(t, sheetOf(many(220)))
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Len(t, e.asked, 5)
	require.Equal(t, map[string]int{"msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple": 220}, rows)
	require.Equal(t, "run 1", e.asked[0].query.Get("tag"))

	e.asked = nil
	_, err = e.load(t, connector.Sheet{Columns: []string{"msx_productnumber", "msx_attribute", "msx_value", "msx_product@odata.bind", "msx_unit"}, Cells: []connector.Cell{
		[]byte(`"P\u0031"`), []byte(`7`), []byte(`9007199254740993.10`), []byte(`"/products(1)"`), nil,
		[]byte(`"P2"`), []byte(`8`), nil, nil, nil}})
	require.NoError(t, err)
	require.Contains(t, e.asked[0].body, "9007199254740993.10", "digit by digit")
	require.JSONEq(t, `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.msx_specification","@odata.id":"msx_specifications(msx_productnumber='P1',msx_attribute=7)",`+
		`"msx_value":9007199254740993.10,"msx_product@odata.bind":"/products(1)"},{"@odata.type":"Microsoft.Dynamics.CRM.msx_specification","@odata.id":"msx_specifications(msx_productnumber='P2',msx_attribute=8)"}]}`, e.asked[0].body)
}

func TestARefusedChunkOfASheetIsRepeatedByOneBatch(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"single", "change-sets"} {
		e := newEnvironment(t, map[string]string{"bulk": "40", "batch_form": form}, nil)
		e.answer = batching(t, func(w http.ResponseWriter, a asked) {
			switch {
			case a.method == http.MethodPost && strings.Contains(a.body, "'A3'"):
				refuse(w, http.StatusBadRequest, "0x80044331")
			case a.method == http.MethodPatch && strings.Contains(a.path, "'A3'"):
				refuse(w, http.StatusBadRequest, "0x80044331")
			case a.method == http.MethodPatch && strings.Contains(a.path, "'A7'"):
				refuse(w, http.StatusPreconditionFailed, "0x80060892")
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})
		refusals, err := e.load(t, sheetOf(many(30)))
		require.NoError(t, err)
		require.Equal(t, map[int]string{3: "dataverse.too_long", 7: "dataverse.duplicate_key"}, refused(t, refusals))
		require.Len(t, e.asked, 2)
		require.Equal(t, form == "change-sets", strings.Contains(e.asked[1].body, "changeset"))
		require.Equal(t, url.Values{"tag": {"run 1"}}, e.asked[0].query)
		require.Contains(t, e.asked[1].body, "PATCH /api/data/v9.2/msx_specifications(msx_productnumber='WIRE-1',msx_attribute='A0')?tag=run%201 HTTP/1.1\r\n")
		require.NotContains(t, e.asked[1].body, `"msx_attribute"`, "the key stands in the address alone")
	}
}

func TestATableWithoutUpsertMultipleIsAskedForItOnce(t *testing.T) {
	t.Parallel()
	for option, first := range map[string]int{"": 1, "msx_other, msx_specification": 0} {
		e := newEnvironment(t, map[string]string{"batch": option}, nil)
		e.answer = batching(t, func(w http.ResponseWriter, a asked) {
			if a.method == http.MethodPost {
				refuse(w, http.StatusNotFound, "")
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
		for range 2 {
			results, err := e.upsert(t, many(3)...)
			require.NoError(t, err)
			require.Equal(t, []string{"", "", ""}, codes(results))
			refusals, err := e.load(t, sheetOf(many(3)))
			require.NoError(t, err)
			require.Empty(t, refusals)
		}
		var bulk int
		for _, a := range e.asked {
			if strings.HasSuffix(a.path, "UpsertMultiple") {
				bulk++
			}
		}
		require.Equal(t, first, bulk)
		require.Len(t, e.asked, 4+first)
	}
}

func TestRowsOfASheetThatCannotBeSentAreRefusedForThemselvesAlone(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { w.WriteHeader(http.StatusNoContent) })
	rows := many(20)
	rows[5] = spec("in/out", nil)
	delete(rows[6], "msx_productnumber")
	s := sheetOf(rows)
	s.Cells[7*3+1] = []byte(`1,"ownerid":2`) // the value of row 7
	refusals, err := e.load(t, s)
	require.NoError(t, err)
	require.Equal(t, map[int]string{5: "dataverse.key_characters", 6: "dataverse.key_missing", 7: "dataverse.value"}, refused(t, refusals))
	require.NotContains(t, e.asked[0].body, "ownerid")

	_, err = e.load(t, connector.Sheet{Columns: []string{"msx_value"}, Cells: []connector.Cell{[]byte("1")}})
	require.Equal(t, "connector.key", code(err))
	_, err = e.load(t, connector.Sheet{Columns: []string{"msx_productnumber", "msx_attribute", `a":1,"b`}, Cells: []connector.Cell{[]byte("1"), []byte("1"), []byte("1")}})
	require.Equal(t, "connector.unknown_column", code(err))
	refusals, err = e.load(t, connector.Sheet{Columns: key})
	require.NoError(t, err)
	require.Empty(t, refusals)
}

func TestASheetOfWhichSomeRowsHaveNoAnswerIsInDoubt(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter){
		"an error of the server": func(w http.ResponseWriter) { refuse(w, http.StatusInternalServerError, "0x80044150") },
		"a limit":                func(w http.ResponseWriter) { refuse(w, http.StatusTooManyRequests, "0x80072322") },
	} {
		for _, bulk := range []string{"10", "1000"} { // in a chunk of its own, and in one with others
			e := newEnvironment(t, map[string]string{"bulk": bulk}, nil)
			e.answer = batching(t, func(w http.ResponseWriter, a asked) {
				switch {
				case strings.Contains(a.body+a.path, "'A15'") && (bulk == "10" || a.method == http.MethodPatch):
					answer(w)
				case a.method == http.MethodPost && bulk == "1000":
					refuse(w, http.StatusBadRequest, "0x80044331")
				default:
					w.WriteHeader(http.StatusNoContent)
				}
			})
			_, err := e.load(t, sheetOf(many(30)))
			require.Equal(t, fault.InDoubt, fault.Of(err).Class, "%s %s: %v", name, bulk, err)
		}
	}
	e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { refuse(w, http.StatusTooManyRequests, "0x80072322") })
	_, err := e.load(t, sheetOf(many(30)))
	require.Equal(t, fault.Throttled, fault.Of(err).Class, "where nothing was done there is no doubt")
}

// What cannot be told apart from an answer that is not whole is a doubt.
func TestABatchThatIsAnsweredForTooFewRowsIsInDoubt(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, map[string]string{"batch": "msx_specification"}, nil)
	e.answer = func(w http.ResponseWriter, a asked) {
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		fmt.Fprint(w, "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n--b--\r\n")
	}
	_, err := e.load(t, sheetOf(many(3)))
	require.Equal(t, fault.InDoubt, fault.Of(err).Class)
	e.answer = func(w http.ResponseWriter, _ asked) { refuse(w, http.StatusTooManyRequests, "0x80072322") }
	_, err = e.load(t, sheetOf(many(3)))
	require.Equal(t, fault.Throttled, fault.Of(err).Class)
}

func TestSheetsAreReadAsRowsAre(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, nil, nil)
	e.answer = func(w http.ResponseWriter, a asked) {
		if a.query.Get("$skiptoken") == "2" {
			_, _ = w.Write([]byte(`{"value":[{"@odata.etag":"e","msx_unit":null,"msx_value":"\u00e9","msx_number":-0.00}]}`))
			return
		}
		require.Equal(t, "odata.maxpagesize=5000", a.prefer)
		fmt.Fprintf(w, `{"@odata.context":"c","value":[{"msx_value":"a","msx_number":12.5000,"msx_unit":"kg","msx_secret":"s"},{"msx_number":9007199254740993.10,"msx_value":null}],"@odata.nextLink":"%s/api/data/v9.2/msx_specifications?$skiptoken=2"}`, e.server.URL)
	}
	q := connector.Query{Table: "msx_specification", Select: []string{"msx_number", "msx_value", "msx_unit"},
		Where: []connector.Match{{Column: "msx_productnumber", Value: "P"}}, Since: &connector.Since{Column: "modifiedon", Value: "2026-01-15T07:00:00+01:00"}}
	first, err := e.dataverse.ExtractPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, "msx_productnumber eq 'P' and modifiedon ge 2026-01-15T06:00:00Z", e.asked[0].query.Get("$filter"))
	require.Equal(t, `12.5,"a","kg",9007199254740993.1,null,`, string(bytes.Join(first.Cells, []byte(","))))
	require.Positive(t, first.Bytes)
	second, err := e.dataverse.ExtractPage(t.Context(), q, first.Next)
	require.NoError(t, err)
	require.Equal(t, `0,"\u00e9",null`, string(bytes.Join(second.Cells, []byte(","))))
	require.Empty(t, second.Next)

	q.Since = &connector.Since{Column: "msx_changed", Value: "2026-01-15"}
	q.Where = nil
	_, err = e.dataverse.ExtractPage(t.Context(), q, "")
	require.NoError(t, err)
	require.Equal(t, "(msx_changed ge 2026-01-15 or msx_changed eq null)", e.asked[2].query.Get("$filter"))
	q.Expand = map[string]string{"a": "b"}
	_, err = e.dataverse.ExtractPage(t.Context(), q, "")
	require.Equal(t, "connector.expand", code(err))
}
