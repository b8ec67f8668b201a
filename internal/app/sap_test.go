package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sap"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
)

// erp is a connection to the SAP of a sandbox of its own; the function sets its faults.
func erp(t *testing.T) (*sap.SAP, func(faults string)) {
	t.Helper()
	s, control := erpOf(t)
	return s, func(faults string) {
		t.Helper()
		control(http.MethodPut, "faults/sap", faults)
	}
}

// erpOf is erp with all controls of the sandbox.
func erpOf(t *testing.T) (v *sap.SAP, control func(method, path, body string) []byte) {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 50})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	client := connector.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	v, err = sap.New(connector.Config{
		Name: "erp", System: sap.System, URL: server.URL + "/sap", Options: map[string]string{"client": "100", "create": "partners", "reference": "orders.PurchaseOrderByCustomer, newer.PurchaseOrderByCustomer"},
		Auth: connector.Auth{Kind: "oauth2", TokenURL: server.URL + "/sap/sap/bc/sec/oauth2/token", ClientID: "patchbay", ClientSecret: "sandbox-secret"},
		Tables: map[string]connector.Table{
			"orders":      {Path: "API_SALES_ORDER_SRV/A_SalesOrder", Expand: map[string]string{"items": "to_Item($select=SalesOrderItem,NetAmount)"}},
			"newer":       {Path: "/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/salesorder/0001/SalesOrder"},
			"open":        {Path: "API_OPLACCTGDOCITEMCUBE_SRV/A_OperationalAcctgDocItemCube"},
			"attachments": {Path: "API_CV_ATTACHMENT_SRV/AttachmentContentSet"},
			"partners":    {Path: "API_BUSINESS_PARTNER/A_BusinessPartner"},
		},
	}, connector.Deps{Client: client})
	require.NoError(t, err)
	return v, func(method, path, body string) []byte {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_sandbox/"+path, strings.NewReader(body))
		require.NoError(t, err)
		answer, err := client.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Less(t, answer.StatusCode, 300, string(text))
		return text
	}
}

// extracted reads all there is, as one map a row.
func extracted(t *testing.T, s *sap.SAP, q connector.Query) []map[string]string {
	t.Helper()
	var rows []map[string]string
	for token := ""; ; {
		page, err := s.ExtractPage(t.Context(), q, token)
		require.NoError(t, err)
		for i := range page.Rows() {
			row := map[string]string{}
			for j, cell := range page.Row(i) {
				row[page.Columns[j]] = string(cell)
			}
			rows = append(rows, row)
		}
		if token = page.Next; token == "" {
			return rows
		}
	}
}

func TestOrdersAndOpenItemsAreReadWholeOverPagesOfEveryKind(t *testing.T) {
	t.Parallel()
	s, faults := erp(t)
	require.NoError(t, s.Probe(t.Context()))
	open := connector.Query{Table: "open", Select: []string{"AccountingDocument", "Customer", "AmountInCompanyCodeCurrency", "NetDueDate"}}
	for page, spoiled := range map[int]string{0: `{"status":503,"count":1,"path":"nothing"}`, 7: `{"has_more_lies":true}`, 1000: `{"has_more_lies":true,"rate":0.5}`} {
		faults(spoiled)
		open.Limit = page
		documents := map[string]bool{}
		rows := extracted(t, s, open)
		for _, row := range rows {
			documents[row["AccountingDocument"]] = true
			require.Regexp(t, `^-?[0-9]+\.[0-9]{2}$`, row["AmountInCompanyCodeCurrency"], "an amount is a number, with its digits")
			require.Regexp(t, `^"20[0-9-]{8}"$`, row["NetDueDate"])
		}
		require.Len(t, rows, 1200, page)
		require.Len(t, documents, 1200, "every document once")
	}
	faults(`{"status":503,"count":1,"path":"nothing"}`)

	older := extracted(t, s, connector.Query{Table: "orders", Select: []string{"SalesOrder", "TotalNetAmount", "SalesOrderDate"}, Limit: 300})
	newer := extracted(t, s, connector.Query{Table: "newer", Select: []string{"SalesOrder", "TotalNetAmount", "SalesOrderDate"}, Limit: 77})
	require.Len(t, older, 1000)
	require.Equal(t, older, newer, "both versions of OData give the same cells")

	faults(`{"repeat_page":true}`)
	_, err := s.ExtractPage(t.Context(), connector.Query{Table: "orders", Select: []string{"SalesOrder"}}, "")
	require.NoError(t, err)
	token := ""
	for range 6 {
		page, err := s.ExtractPage(t.Context(), connector.Query{Table: "orders", Select: []string{"SalesOrder"}}, token)
		if token = page.Next; err != nil {
			require.Equal(t, "vendor.page_loop", fault.Of(err).Code)
			return
		}
	}
	t.Fatal("six pages of a circle were read")
}

func TestWhatChangedSinceAWatermarkIsReadAgainAndNothingElse(t *testing.T) {
	t.Parallel()
	s, _ := erp(t)
	since := &connector.Since{Column: "LastChangeDate", Value: "2026-02-01T10:00:00Z"}
	q := connector.Query{Table: "partners", Select: []string{"BusinessPartner", "OrganizationBPName1"}, Since: since}
	require.Empty(t, extracted(t, s, q), "what the sandbox begins with is older")
	key := []string{"BusinessPartner"}
	results, err := s.Upsert(t.Context(), connector.Upsert{Table: "partners", Key: key, Rows: []connector.Row{
		{"BusinessPartner": "ACC-00007", "OrganizationBPName1": "Changed"}, {"BusinessPartner": "NEW-1", "OrganizationBPName1": "Created"}, {"BusinessPartner": "ACC-00008", "OrganizationBPName1": strings.Repeat("x", 41)},
	}})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.NoError(t, results[1].Err)
	require.Equal(t, "sap.bad_request", fault.Of(results[2].Err).Code, "a row that is refused refuses no other")
	require.Equal(t, []map[string]string{{"BusinessPartner": `"ACC-00007"`, "OrganizationBPName1": `"Changed"`}, {"BusinessPartner": `"NEW-1"`, "OrganizationBPName1": `"Created"`}}, extracted(t, s, q))
}

func TestAWriteOutlivesItsSessionAndALostAnswerIsADoubt(t *testing.T) {
	t.Parallel()
	s, faults := erp(t)
	write := func(name string) error {
		results, err := s.Upsert(t.Context(), connector.Upsert{Table: "partners", Key: []string{"BusinessPartner"}, Rows: []connector.Row{{"BusinessPartner": "ACC-00009", "OrganizationBPName1": name}}})
		if err == nil {
			err = results[0].Err
		}
		return err
	}
	require.NoError(t, write("first"))
	faults(`{"expire_tokens":true,"count":1,"method":"PATCH"}`)
	require.NoError(t, write("second"), "the token is renewed")
	faults(`{"status":423,"count":1,"method":"PATCH"}`)
	locked := fault.Of(write("third"))
	require.Equal(t, "sap.locked", locked.Code)
	require.True(t, locked.Retryable())
	faults(`{"drop_after_commit":true,"count":1,"method":"PATCH"}`)
	require.Equal(t, fault.InDoubt, fault.Of(write("fourth")).Class)
	rows, err := s.ReadByKey(t.Context(), "partners", []string{"BusinessPartner"}, []connector.Row{{"BusinessPartner": "ACC-00009"}}, []string{"OrganizationBPName1"})
	require.NoError(t, err)
	require.Equal(t, "fourth", rows[0]["OrganizationBPName1"], "reading it back settles the doubt")
}

func TestItemsComeWithTheirOrders(t *testing.T) {
	t.Parallel()
	s, _ := erp(t)
	page, err := s.ReadPage(t.Context(), connector.Query{Table: "orders", Select: []string{"SalesOrder", "TotalNetAmount"}, Expand: map[string]string{"items": "items"},
		Where: []connector.Match{{Column: "SoldToParty", Value: "ACC-00001"}}}, "")
	require.NoError(t, err)
	require.Len(t, page.Rows, 5)
	for _, row := range page.Rows {
		require.NotEmpty(t, row["items"])
		require.IsType(t, json.Number(""), row["items"].([]any)[0].(connector.Row)["NetAmount"])
	}
}

func TestOrdersAreChangedByEitherVersionOfOData(t *testing.T) {
	t.Parallel()
	s, _ := erp(t)
	for table, rows := range map[string][]connector.Row{
		"orders": {{"SalesOrder": "11", "PurchaseOrderByCustomer": "O'Neil", "RequestedDeliveryDate": "2026-12-24"}, {"SalesOrder": "12", "PurchaseOrderByCustomer": "V2"}},
		"newer":  {{"SalesOrder": "13", "PurchaseOrderByCustomer": "O'Neil", "RequestedDeliveryDate": "2026-12-24"}, {"SalesOrder": "14", "PurchaseOrderByCustomer": "V4"}},
	} {
		for _, some := range [][]connector.Row{rows[:1], rows} {
			results, err := s.Upsert(t.Context(), connector.Upsert{Table: table, Key: []string{"SalesOrder"}, Rows: some})
			require.NoError(t, err)
			require.Equal(t, make([]connector.Result, len(some)), results)
		}
		for _, other := range []string{"orders", "newer"} {
			back, err := s.ReadByKey(t.Context(), other, []string{"SalesOrder"}, rows, []string{"PurchaseOrderByCustomer", "RequestedDeliveryDate"})
			require.NoError(t, err)
			require.Equal(t, rows[0], back[0])
			require.Equal(t, rows[1]["PurchaseOrderByCustomer"], back[1]["PurchaseOrderByCustomer"])
		}
	}
	results, err := s.Upsert(t.Context(), connector.Upsert{Table: "newer", Key: []string{"SalesOrder"}, Rows: []connector.Row{{"SalesOrder": "none", "PurchaseOrderByCustomer": "x"}}})
	require.NoError(t, err)
	require.Equal(t, "sap.no_row", fault.Of(results[0].Err).Code)
}
