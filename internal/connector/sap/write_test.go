package sap_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

var itemKey = []string{"SalesOrder", "Item"}

func itemRow(n string) connector.Row {
	return connector.Row{"SalesOrder": "1", "Item": n, "NetAmount": json.Number("1.50")}
}

func (b *bundle) upsert(rows ...connector.Row) ([]connector.Result, error) {
	return b.Upsert(b.t.Context(), connector.Upsert{Table: "items", Key: itemKey, Rows: rows})
}

// writing answers what aside does not.
func writing(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !aside(w, r) {
			answer(w, r)
		}
	}
}

func TestATokenThatExpiredIsRenewedOnce(t *testing.T) {
	t.Parallel()
	var fetched, written, refuse atomic.Int64
	b := newBundle(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Csrf-Token") == "Fetch":
			n := fetched.Add(1)
			w.Header().Set("X-Csrf-Token", "t"+strconv.FormatInt(n, 10))
			w.Header().Add("Set-Cookie", "SAP_SESSIONID="+strconv.FormatInt(n, 10)+"; path=/")
			w.Header().Add("Set-Cookie", "sap-usercontext=sap-client=100; path=/")
		case r.Method == http.MethodGet:
			aside(w, r)
		default:
			written.Add(1)
			n := strconv.FormatInt(fetched.Load(), 10)
			if r.Header.Get("X-Csrf-Token") != "t"+n || r.Header.Get("Cookie") != "SAP_SESSIONID="+n+"; sap-usercontext=sap-client=100" || refuse.Add(-1) >= 0 {
				w.Header().Set("X-Csrf-Token", "Required")
				w.WriteHeader(http.StatusForbidden)
				return
			}
			body, _ := io.ReadAll(r.Body)
			if string(body) != `{"NetAmount":"1.50"}` || r.Header.Get("If-Match") != `W/"7"` {
				t.Errorf("the body is %s, the version %s", body, r.Header.Get("If-Match"))
			}
			w.WriteHeader(http.StatusNoContent)
		}
	})
	for range 3 {
		results, err := b.upsert(itemRow("10"))
		require.NoError(t, err)
		require.Equal(t, []connector.Result{{}}, results)
	}
	require.EqualValues(t, 1, fetched.Load(), "one session for all writes")

	refuse.Store(1)
	results, err := b.upsert(itemRow("10"))
	require.NoError(t, err)
	require.Equal(t, []connector.Result{{}}, results, "nothing was done under the refused token")
	require.EqualValues(t, 2, fetched.Load())
	require.EqualValues(t, 5, written.Load())

	refuse.Store(2)
	_, err = b.upsert(itemRow("10"))
	require.Equal(t, "sap.csrf", fault.Of(err).Code)
	require.Equal(t, fault.Unavailable, fault.Of(err).Class, "it is not in doubt, and may be tried again")
	require.EqualValues(t, 7, written.Load(), "renewed once, not for ever")
}

func TestATokenIsTakenWhereverItComes(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]func(w http.ResponseWriter, r *http.Request) (token string){
		"with an error": func(w http.ResponseWriter, _ *http.Request) string {
			w.Header().Set("X-Csrf-Token", "t")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return "t"
		},
		"at the address without a slash": func(w http.ResponseWriter, r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "/") {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusMovedPermanently)
			} else {
				w.Header().Set("X-Csrf-Token", "t")
			}
			return "t"
		},
		"nowhere": func(http.ResponseWriter, *http.Request) string { return "" },
	} {
		var want atomic.Value
		b := newBundle(t, nil, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("X-Csrf-Token") == "Fetch":
				want.Store(session(w, r))
			case r.Method == http.MethodGet:
				aside(w, r)
			default:
				if got := r.Header.Get("X-Csrf-Token"); got != want.Load() {
					t.Errorf("%s: the token is %q", name, got)
				}
				w.WriteHeader(http.StatusNoContent)
			}
		})
		results, err := b.upsert(itemRow("10"))
		require.NoError(t, err, name)
		require.Equal(t, []connector.Result{{}}, results, name)
	}
}

func TestALockOfSomebodyElseIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, writing(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"code":"V1/042","message":{"value":"Sales order 1 is currently being processed by user X"}}}`)
	}))
	results, err := b.upsert(itemRow("10"))
	require.NoError(t, err)
	f := fault.Of(results[0].Err)
	require.Equal(t, "sap.locked", f.Code)
	require.True(t, f.Retryable())
	require.Equal(t, 2*time.Second, f.After)
}

// part is one answer of a $batch: of a change set that was done, or that was not.
func part(status, body string) string {
	inner := "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	if strings.HasPrefix(status, "2") {
		return "--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + inner + "\r\n--C--\r\n\r\n"
	}
	return "--B\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + inner + "\r\n"
}

func batched(body string) http.HandlerFunc {
	return writing(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "multipart/mixed; boundary=B")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, body)
	})
}

const refusal = `{"error":{"code":"V1/555","message":{"value":"canary"}}}`

func TestEveryRowOfABatchHasItsOutcome(t *testing.T) {
	t.Parallel()
	done := part("204 No Content", "")
	results, err := newBundle(t, nil, batched(done+part("400 Bad Request", refusal)+"--B--\r\n")).upsert(itemRow("10"), itemRow("20"))
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.Equal(t, "sap.bad_request", fault.Of(results[1].Err).Code)
	require.Contains(t, fault.Of(results[1].Err).Text, "V1/555")

	results, err = newBundle(t, nil, batched(done+part("500 Internal Server Error", "")+"--B--\r\n")).upsert(itemRow("10"), itemRow("20"))
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.Equal(t, fault.InDoubt, fault.Of(results[1].Err).Class, "it may have been applied before the error arose")

	for name, body := range map[string]string{
		"an answer is missing":            done + "--B--\r\n",
		"it breaks off between two parts": done,
		"it breaks off inside a part":     done + part("204 No Content", "")[:120],
		"a part is none":                  done + "--B\r\nContent-Type: application/http\r\n\r\nhello\r\n--B--\r\n",
		"it is something else":            `{"d":{}}`,
	} {
		_, err := newBundle(t, nil, batched(body)).upsert(itemRow("10"), itemRow("20"))
		require.Equal(t, fault.InDoubt, fault.Of(err).Class, name)
	}
}

func TestAServiceWithoutBatchIsWrittenRowByRow(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, writing(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$batch") {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	results, err := b.upsert(itemRow("10"), itemRow("20"))
	require.NoError(t, err)
	require.Equal(t, []connector.Result{{}, {}}, results)
}

func TestRowsAreCreatedOnlyUnderKeysThatAreOursToGive(t *testing.T) {
	t.Parallel()
	created := `{"d":{"SalesOrder":"1","Item":"30"}}`
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "Item='30')"):
				w.WriteHeader(http.StatusNotFound)
			case aside(w, r):
			default:
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, body)
			}
		}
	}
	results, err := newBundle(t, nil, answer(created)).upsert(itemRow("30"))
	require.NoError(t, err)
	require.Equal(t, "sap.no_row", fault.Of(results[0].Err).Code)

	create := map[string]string{"create": "items"}
	b := newBundle(t, create, answer(created))
	results, err = b.upsert(itemRow("30"))
	require.NoError(t, err)
	require.Equal(t, []connector.Result{{}}, results)
	calls := b.calls()
	require.Equal(t, "POST /sap/opu/odata/sap/O_SRV/Items?", calls[len(calls)-1])

	results, err = newBundle(t, create, answer(`{"d":{"SalesOrder":"1","Item":"000040"}}`)).upsert(itemRow("30"))
	require.NoError(t, err)
	require.Equal(t, "sap.key_replaced", fault.Of(results[0].Err).Code, "the service draws its own numbers")
}

func TestWhatARowLacksOrHasTooMuchConcernsItAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, batched(part("204 No Content", "")+part("204 No Content", "")+"--B--\r\n"))
	results, err := b.upsert(itemRow("10"), connector.Row{"SalesOrder": "1"}, itemRow("20"),
		connector.Row{"SalesOrder": "1", "Item": "10", "Colour": "red"}, connector.Row{"SalesOrder": "1", "Item": "20", "NetAmount": "much"})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.NoError(t, results[2].Err)
	for i, code := range map[int]string{1: "sap.key_missing", 3: "sap.unknown_property", 4: "sap.value"} {
		require.Equal(t, code, fault.Of(results[i].Err).Code)
		require.Equal(t, fault.Rejected, fault.Of(results[i].Err).Class)
	}
	_, err = b.Upsert(t.Context(), connector.Upsert{Table: "items", Key: []string{"Item"}, Rows: []connector.Row{itemRow("10")}})
	require.Equal(t, "connector.key", fault.Of(err).Code)
}

func TestRowsBehindAFailureOfTheConnectionStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	b := newBundle(t, map[string]string{"bulk": "1"}, writing(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	_, err := b.upsert(itemRow("10"))
	require.Equal(t, fault.Throttled, fault.Of(err).Class)
	b = newBundle(t, map[string]string{"bulk": "1"}, writing(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "Item='10'") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	results, err := b.upsert(itemRow("10"), itemRow("10"), itemRow("10"))
	require.NoError(t, err)
	require.Len(t, results, 3)
}

func TestKeysAreFoundWithAndWithoutTheirZeros(t *testing.T) {
	t.Parallel()
	b := newBundle(t, nil, says(`{"d":{"results":[{"SalesOrder":"1","Text":"a"},{"SalesOrder":"20","Text":"b"}]}}`))
	rows, err := b.ReadByKey(t.Context(), "orders", []string{"SalesOrder"}, []connector.Row{{"SalesOrder": "0000000020"}, {"SalesOrder": "1"}, {"SalesOrder": "3"}}, []string{"Text"})
	require.NoError(t, err)
	require.Equal(t, []connector.Row{{"SalesOrder": "20", "Text": "b"}, {"SalesOrder": "1", "Text": "a"}, nil}, rows)
}
