package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/ibm"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
)

type (
	// keeper is a system that keeps documents.
	keeper interface {
		connector.DocumentReader
		connector.DocumentWriter
		connector.DocumentRemover
	}

	// kept is a document by the sandbox's own rows.
	kept struct{ Object, Name, SHA256 string }
)

// keeps holds a system to what DocumentWriter says. judge is what the sandbox has in the
// place, and fail has it fail the next write of a kind. replaces says that a document may
// take the place of another.
func keeps(t *testing.T, k keeper, to connector.DocumentPlace, judge func() []kept, fail func(fault string), making, removing string, replaces bool) {
	t.Helper()
	for i, size := range []int{0, 100_000, 5_000_001} {
		to.Name = "größer " + strconv.Itoa(size) + " 100%.bin"
		content, sum := contents(size, 1)
		w := connector.DocumentWrite{Place: to, Content: content, New: true, Reference: "run-" + strconv.Itoa(i)}
		none, err := k.Stored(t.Context(), w)
		require.NoError(t, err)
		require.Nil(t, none)

		fail(`{"drop_after_commit":true,"count":1,` + making + `}`)
		_, err = k.Store(t.Context(), w)
		require.Equal(t, fault.InDoubt, fault.Of(err).Class, "%v", err)
		found, err := k.Stored(t.Context(), w)
		require.NoError(t, err)
		require.NotNil(t, found, "the answer was lost, the document is there")
		again, err := k.Store(t.Context(), w)
		require.NoError(t, err)
		require.True(t, again.Unchanged, "a repetition changes nothing")
		require.Equal(t, found.ID, again.ID)
		require.Equal(t, []kept{{judge()[0].Object, to.Name, sum}}, judge())

		d, err := k.Open(t.Context(), connector.DocumentRef{Table: to.Table, ID: found.ID, Version: found.Version}, int64(size/2))
		require.NoError(t, err)
		half, err := io.ReadAll(d.Body)
		require.NoError(t, err)
		require.NoError(t, d.Body.Close())
		require.Len(t, half, size-size/2)
		fail(`{"body":"truncated","method":"GET","count":1}`)
		d, err = k.Open(t.Context(), connector.DocumentRef{Table: to.Table, ID: found.ID}, 0)
		if err == nil { // the bytes were cut, and not what leads to them
			hash := sha256.New()
			_, err = io.Copy(hash, d.Body)
			require.NoError(t, err)
			require.Equal(t, sum, hex.EncodeToString(hash.Sum(nil)))
			require.NoError(t, d.Body.Close())
		} else {
			require.True(t, fault.Of(err).Retryable())
		}
		fail(`{"status":503,"path":"nothing","count":1}`)

		other := w
		other.Content, sum = contents(size+1, 2)
		_, err = k.Store(t.Context(), other)
		require.Equal(t, "connector.exists", fault.Of(err).Code)
		if replaces {
			w.Content = other.Content
			w.New, w.Version = false, "another"
			_, err = k.Store(t.Context(), w)
			require.Equal(t, "connector.changed", fault.Of(err).Code)
			w.Version = found.Version
			_, err = k.Store(t.Context(), w)
			require.NoError(t, err)
			require.Equal(t, []kept{{judge()[0].Object, to.Name, sum}}, judge(), "one of a name")
			other.Content = content
		}

		w.Version = ""
		wrong := w
		wrong.Content.SHA256 = "00"
		wrong.Place.Name += " 2"
		_, err = k.Store(t.Context(), wrong)
		require.Equal(t, "connector.content", fault.Of(err).Code, "what is not what it says is not sent whole")

		require.NoError(t, k.Remove(t.Context(), other))
		require.Len(t, judge(), 1, "another content is not taken away")
		fail(`{"drop_after_commit":true,"count":1,` + removing + `}`)
		require.Equal(t, fault.InDoubt, fault.Of(k.Remove(t.Context(), w)).Class)
		require.NoError(t, k.Remove(t.Context(), w), "nothing is left")
		require.Empty(t, judge())
		_, err = k.Stat(t.Context(), connector.DocumentRef{Table: to.Table, ID: found.ID})
		require.Equal(t, fault.NotFound, fault.Of(err).Class)
	}
}

func TestSAPKeepsAttachmentsOnce(t *testing.T) {
	t.Parallel()
	s, control := erpOf(t)
	judge := func() (list []kept) {
		require.NoError(t, json.Unmarshal(control(http.MethodGet, "sap/documents", ""), &list))
		return list
	}
	keeps(t, s, connector.DocumentPlace{Table: "attachments", Parent: connector.Row{"SalesOrder": "11"}}, judge,
		func(fault string) { control(http.MethodPut, "faults/sap", fault) }, `"method":"POST"`, `"method":"DELETE"`, true)
	content, _ := contents(10, 1)
	_, err := s.Store(t.Context(), connector.DocumentWrite{Content: content,
		Place: connector.DocumentPlace{Table: "attachments", Parent: connector.Row{"LinkedSAPObjectKey": "0009999999", "BusinessObjectTypeName": "BUS2032"}, Name: "a.bin"}})
	require.Equal(t, fault.Rejected, fault.Of(err).Class)
	require.Contains(t, err.Error(), "CV_ATTACHMENT_API/013")
	_, err = s.Store(t.Context(), connector.DocumentWrite{Content: content, Place: connector.DocumentPlace{Table: "attachments", Parent: connector.Row{"SalesOrder": "11"}, Name: "../a.bin"}})
	require.Equal(t, "connector.document_name", fault.Of(err).Code)
	require.Empty(t, judge())
}

func TestOracleKeepsAttachmentsOfItemsOnce(t *testing.T) {
	t.Parallel()
	w := warehouseOf(t)
	judge := func() (list []kept) {
		require.NoError(t, json.Unmarshal(w.control(http.MethodGet, "oracle/documents", ""), &list))
		return list
	}
	to := connector.DocumentPlace{Table: "attachments", Parent: connector.Row{"ItemNumber": "AS54888", "OrganizationCode": "V1"}, Name: "a.bin"}
	keeps(t, w, to, judge, func(fault string) { w.control(http.MethodPut, "faults/oracle", fault) }, `"method":"POST"`, `"method":"DELETE"`, true)
	content, _ := contents(10, 1)
	_, err := w.Store(t.Context(), connector.DocumentWrite{Content: content, Place: to, Reference: "run-7", Values: connector.Row{"CategoryName": "SPEC"}})
	require.NoError(t, err)
	require.Contains(t, string(w.control(http.MethodGet, "oracle/documents", "")), `"reference": "run-7"`)
	to.Parent = connector.Row{"ItemNumber": "NO-SUCH-ITEM"}
	_, err = w.Store(t.Context(), connector.DocumentWrite{Content: content, Place: to})
	require.Equal(t, "oracle.no_parent", fault.Of(err).Code)
	_, err = w.Stat(t.Context(), connector.DocumentRef{Table: "attachments", ID: "itemsV2/../x/child/ItemAttachment/1"})
	require.Equal(t, "connector.document", fault.Of(err).Code)
}

func TestIBMKeepsDocumentsOnce(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 50})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	archive, err := ibm.New(connector.Config{Name: "archive", System: ibm.System, URL: server.URL + "/ibm", Options: map[string]string{"repository": "OS1"},
		Auth:   connector.Auth{Kind: "basic", Username: "patchbay", Password: "sandbox-secret"},
		Tables: map[string]connector.Table{"financials": {Path: "FinancialDocument"}}}, connector.Deps{Client: client})
	require.NoError(t, err)
	w := warehouse{t: t, base: server.URL}
	judge := func() (list []kept) {
		require.NoError(t, json.Unmarshal(w.control(http.MethodGet, "ibm/documents", ""), &list))
		return list
	}
	keeps(t, archive, connector.DocumentPlace{Table: "financials"}, judge, func(fault string) { w.control(http.MethodPut, "faults/ibm", fault) },
		`"method":"POST","match":"createDocument"`, `"method":"POST","match":"deleteDocument"`, false)

	content, sum := contents(1000, 3)
	write := connector.DocumentWrite{Place: connector.DocumentPlace{Table: "financials", Name: "INV-1.pdf"}, Content: content, Reference: "run-1",
		Values: connector.Row{"CompanyCode": "1010", "FiscalYear": json.Number("2026")}}
	made, err := archive.Store(t.Context(), write)
	require.NoError(t, err)
	rows, err := archive.ReadByKey(t.Context(), "financials", []string{"CompanyCode", "name"}, []connector.Row{{"CompanyCode": "1010", "name": "INV-1.pdf"}}, []string{"id", "FiscalYear"})
	require.NoError(t, err)
	require.Equal(t, made.ID, rows[0]["id"])
	require.Equal(t, json.Number("2026"), rows[0]["FiscalYear"])
	write.Reference = "run-2"
	_, err = archive.Store(t.Context(), write)
	require.NoError(t, err)
	require.Equal(t, []kept{{"FinancialDocument", "INV-1.pdf", sum}, {"FinancialDocument", "INV-1.pdf", sum}}, judge(), "another run's document is another")
	write.Values, write.Reference = connector.Row{"Nothing": "x"}, "run-3"
	_, err = archive.Store(t.Context(), write)
	require.Equal(t, fault.Rejected, fault.Of(err).Class)
	require.Len(t, judge(), 2)
}
