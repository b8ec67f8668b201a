package batch_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector/batch"
	"patchbay/internal/strictjson"
)

func lines(list ...string) string { return strings.Join(list, "\r\n") + "\r\n" }

func TestOperationsStandInTheirOrderAsTheDocumentsWriteThem(t *testing.T) {
	t.Parallel()
	body := batch.Compose([]batch.Operation{
		{Method: http.MethodPatch, Address: "/api/accounts(accountnumber='1')", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"name":"A"}`)},
		{Method: http.MethodPost, Address: "accounts", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{}`), Alone: true},
		{Method: http.MethodGet, Address: "/api/accounts?$top=1", Header: http.Header{"Prefer": {"odata.maxpagesize=5"}}},
	})
	require.Equal(t, lines(
		"--batch_patchbay", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "",
		"PATCH /api/accounts(accountnumber='1') HTTP/1.1", "Content-Type: application/json", "Content-Length: 12", "", `{"name":"A"}`,
		"--batch_patchbay", "Content-Type: multipart/mixed; boundary=changeset_2", "",
		"--changeset_2", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "Content-ID: 2", "",
		"POST accounts HTTP/1.1", "Content-Type: application/json", "Content-Length: 2", "", `{}`, "--changeset_2--",
		"--batch_patchbay", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "",
		"GET /api/accounts?$top=1 HTTP/1.1", "Prefer: odata.maxpagesize=5", "", "", "--batch_patchbay--"), string(body))

	body = batch.Compose([]batch.Operation{{Method: http.MethodPatch, Address: "a", Alone: true}, {Method: http.MethodPatch, Address: "b", With: true}})
	require.Equal(t, lines(
		"--batch_patchbay", "Content-Type: multipart/mixed; boundary=changeset_1", "",
		"--changeset_1", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "Content-ID: 1", "", "PATCH a HTTP/1.1", "", "",
		"--changeset_1", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "Content-ID: 2", "", "PATCH b HTTP/1.1", "", "",
		"--changeset_1--", "--batch_patchbay--"), string(body), "two in one change set")
}

const (
	kind    = `multipart/mixed; boundary="r"`
	refusal = `{"error":{"code":"0x80044331","message":"m"}}`
)

func part(status, body string) []string {
	return []string{"Content-Type: application/http", "Content-Transfer-Encoding: binary", "", "HTTP/1.1 " + status, "OData-Version: 4.0", "", body, ""}
}

func answer() string {
	list := append([]string{"--r"}, part("204 No Content", "")...)
	list = append(list, "--r", "Content-Type: multipart/mixed; boundary=c", "")
	list = append(list, append(append([]string{"--c"}, part("400 Bad Request", refusal)...), "--c--")...)
	list = append(append(list, "--r"), part("200 OK", `{"value":[]}`)...)
	return lines(append(list, "--r--")...)
}

func TestAnswersStandInTheOrderOfTheOperations(t *testing.T) {
	t.Parallel()
	replies, err := batch.Parse(kind, []byte(answer()))
	require.NoError(t, err)
	require.Len(t, replies, 3)
	require.Equal(t, []int{204, 400, 200}, []int{replies[0].Status, replies[1].Status, replies[2].Status})
	require.Equal(t, "4.0", replies[1].Header.Get("OData-Version"))
	require.JSONEq(t, refusal, string(replies[1].Body))
}

func TestAnAnswerThatIsCutOffIsNeverAWholeOne(t *testing.T) {
	t.Parallel()
	whole := answer()
	end := strings.LastIndex(whole, "--r--") + len("--r--")
	for at := range end {
		_, err := batch.Parse(kind, []byte(whole[:at]))
		require.Error(t, err, "cut at %d, behind %q", at, whole[max(0, at-20):at])
	}
	_, err := batch.Parse(kind, []byte(whole[:len(whole)-40]))
	require.ErrorAs(t, err, new(strictjson.PlaceError), "the transport says then that it ends in the middle")
	for _, other := range []string{"", "application/json", "multipart/mixed", fmt.Sprintf("text/html; boundary=%s", "r")} {
		_, err := batch.Parse(other, []byte(whole))
		require.Error(t, err, other)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(kind, []byte(answer()))
	f.Fuzz(func(_ *testing.T, kind string, body []byte) {
		_, _ = batch.Parse(kind, body) // it does not panic, and ends
	})
}
