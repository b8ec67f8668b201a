package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
)

const (
	sapOrders   = "/sap/sap/opu/odata/sap/API_SALES_ORDER_SRV"
	sapPartners = "/sap/sap/opu/odata/sap/API_BUSINESS_PARTNER"
	sapJournal  = "/sap/sap/opu/odata/sap/API_OPLACCTGDOCITEMCUBE_SRV/A_OperationalAcctgDocItemCube"
	sapNewer    = "/sap/sap/opu/odata4/sap/api_salesorder/srvd_a2x/sap/salesorder/0001"
)

// sap sends a request that asks for JSON; queries are written with spaces.
func (b *bundle) sap(method, path, body string, head ...string) reply {
	b.t.Helper()
	return b.do(method, path, body, append([]string{"Accept", "application/json"}, head...)...)
}

// session is the headers of a write: a token and its cookies.
func (b *bundle) session(root string) []string {
	b.t.Helper()
	r := b.sap(http.MethodGet, root+"/", "", "X-CSRF-Token", "Fetch")
	require.Equal(b.t, http.StatusOK, r.status, string(r.body))
	var cookies []string
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	require.Len(b.t, cookies, 2)
	return []string{"X-CSRF-Token", r.header.Get("X-CSRF-Token"), "Cookie", strings.Join(cookies, "; ")}
}

// results are the rows of an answer of V2, or of V4.
func results(t *testing.T, r reply) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	var body struct {
		D struct {
			Results []map[string]any `json:"results"`
		} `json:"d"`
		Value []map[string]any `json:"value"`
	}
	require.NoError(t, json.Unmarshal(r.body, &body))
	if body.Value != nil {
		return body.Value
	}
	return body.D.Results
}

func column(rows []map[string]any, name string) []any {
	out := []any{}
	for _, row := range rows {
		out = append(out, row[name])
	}
	return out
}

func sapCode(t *testing.T, r reply) string {
	t.Helper()
	e, _ := r.json(t)["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func TestSAPTakesFiltersOfBothVersions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for filter, want := range map[string]int{
			"SalesOrder eq '1'": 1,
			"SoldToParty eq 'ACC-00001' and (SalesOrder eq '1' or SalesOrder eq '2')":                                           2,
			"SoldToParty eq 'ACC-00001' and not (SalesOrder eq '1')":                                                            4,
			"startswith(SoldToParty,'ACC-0000') and endswith(SoldToParty,'3') eq true":                                          5,
			"substringof('C-00003',SoldToParty)":                                                                                5,
			"SoldToParty eq 'ACC-00001' and SalesOrder gt '2'":                                                                  3,
			"SoldToParty eq 'ACC-00001' and LastChangeDateTime ge datetimeoffset'2030-01-01T00:00:00Z'":                         0,
			"SoldToParty eq 'ACC-00001' and CreationDate ge datetime'2025-11-01T00:00:00' and TotalNetAmount gt 0.5M":           5,
			"SoldToParty eq 'ACC-00001' and DeliveryBlockReason eq ''":                                                          5,
			"SoldToParty eq 'O''Neil'":                                                                                          0,
			"SoldToParty eq 'ACC-00001' and (SoldToParty gt 'ACC-00001' or (SoldToParty eq 'ACC-00001' and SalesOrder gt '4'))": 1,
		} {
			r := b.sap(http.MethodGet, sapOrders+"/A_SalesOrder?$filter="+filter, "")
			require.Len(t, results(t, r), want, filter)
		}
		for filter, want := range map[string]int{
			"SoldToParty eq 'ACC-00001' and contains(PurchaseOrderByCustomer,'0001')":                                  1,
			"SoldToParty eq 'ACC-00001' and LastChangeDateTime lt 2030-01-01T00:00:00Z and CreationDate ge 2025-11-01": 5,
		} {
			require.Len(t, results(t, b.sap(http.MethodGet, sapNewer+"/SalesOrder?$filter="+filter, "")), want, filter)
		}
		for _, filter := range []string{"SalesOrder", "SalesOrder eq", "SalesOrder eq 1", "Nothing eq '1'", "SalesOrder eq '1", "(SalesOrder eq '1'", "contains(SoldToParty,'A')", "CreationDate ge 2025-11-01",
			"TotalNetAmount gt '1'", "SalesOrder eq '1' or", strings.Repeat("not ", 80) + "SalesOrder eq '1'"} {
			r := b.sap(http.MethodGet, sapOrders+"/A_SalesOrder?$filter="+filter, "")
			require.Equal(t, http.StatusBadRequest, r.status, filter)
			require.Contains(t, sapCode(t, r), "/IWCOR/")
		}
	})
}

func TestSAPPagesByLinkWhereItPagesByItself(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		require.Equal(t, "1200", string(b.sap(http.MethodGet, sapJournal+"/$count", "").body))
		first := b.sap(http.MethodGet, sapJournal+"?$select=AccountingDocument&$inlinecount=allpages", "")
		d := first.json(t)["d"].(map[string]any)
		require.Equal(t, "1200", d["__count"])
		require.Len(t, results(t, first), 1000)
		rest := b.sap(http.MethodGet, d["__next"].(string), "")
		require.Len(t, results(t, rest), 200)
		require.NotContains(t, rest.json(t)["d"], "__next")
		require.Len(t, results(t, b.sap(http.MethodGet, sapPartners+"/A_BusinessPartner?$select=BusinessPartner", "")), 200, "this one gives all there is")
		require.Equal(t, []any{"ACC-00002", "ACC-00003"}, column(results(t, b.sap(http.MethodGet, sapPartners+"/A_BusinessPartner?$orderby=BusinessPartner&$skip=1&$top=2", "")), "BusinessPartner"))

		require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/sap", `{"repeat_page":true,"count":2}`).status)
		again := b.sap(http.MethodGet, sapJournal+"?$select=AccountingDocument&$top=3", "")
		link := again.json(t)["d"].(map[string]any)["__next"].(string)
		require.Equal(t, again.body, b.sap(http.MethodGet, link, "").body, "it leads to itself")
		require.Len(t, results(t, b.sap(http.MethodGet, link, "")), 3)
	})
}

func TestSAPShowsTheSameCustomersAsDataverse(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	accounts := results(t, b.do(http.MethodGet, dataversePath+"accounts?$select=accountnumber,name&$orderby=accountnumber", ""))
	partners := results(t, b.sap(http.MethodGet, sapPartners+"/A_BusinessPartner?$select=BusinessPartner,BusinessPartnerFullName&$orderby=BusinessPartner", ""))
	require.Len(t, partners, len(accounts))
	require.Equal(t, column(accounts, "accountnumber"), column(partners, "BusinessPartner"))
	require.Equal(t, column(accounts, "name"), column(partners, "BusinessPartnerFullName"))
}

func TestSAPTakesNoWriteWithoutTokenAndVersion(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		at := sapPartners + "/A_BusinessPartner('ACC-00005')"
		tag := b.sap(http.MethodGet, at, "").header.Get("ETag")
		change := `{"OrganizationBPName1":"Neu"}`
		session := b.session(sapPartners)
		refused := func(head ...string) {
			t.Helper()
			r := b.sap(http.MethodPatch, at, change, append(head, "If-Match", tag)...)
			require.Equal(t, http.StatusForbidden, r.status)
			require.Equal(t, "Required", r.header.Get("X-CSRF-Token"))
		}
		refused()
		refused(session[:2:2]...)                   // no cookies
		refused(session[2:]...)                     // no token
		refused("X-CSRF-Token", "x", "Cookie", "y") // neither
		require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/sap", `{"expire_tokens":true,"count":1,"method":"PATCH"}`).status)
		refused(session...)

		require.Equal(t, http.StatusPreconditionRequired, b.sap(http.MethodPatch, at, change, session...).status)
		done := b.sap(http.MethodPatch, at, change, append(session, "If-Match", tag)...)
		require.Equal(t, http.StatusNoContent, done.status)
		require.NotEqual(t, tag, done.header.Get("ETag"))
		require.Equal(t, http.StatusPreconditionFailed, b.sap(http.MethodPatch, at, change, append(session, "If-Match", tag)...).status)
		require.Equal(t, http.StatusNoContent, b.sap(http.MethodPost, at, change, append(session, "If-Match", "*", "X-HTTP-Method", "MERGE")...).status)
		require.Equal(t, "Neu", b.sap(http.MethodGet, at, "").json(t)["d"].(map[string]any)["BusinessPartnerFullName"])
		require.Equal(t, http.StatusBadRequest, b.sap(http.MethodPatch, at, `{"Nothing":1}`, append(session, "If-Match", "*")...).status)
		require.Equal(t, http.StatusBadRequest, b.sap(http.MethodPatch, at, `{"OrganizationBPName1":"`+strings.Repeat("x", 41)+`"}`, append(session, "If-Match", "*")...).status)
		require.Equal(t, http.StatusUnauthorized, b.sap(http.MethodGet, at+"?sap-client=200", "").status, "there is one client")
	})
}

func TestSAPNumbersAnOrderAndItsItemsAndSumsThemUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		session := b.session(sapOrders)
		made := b.sap(http.MethodPost, sapOrders+"/A_SalesOrder", `{"SalesOrder":"77","SalesOrderType":"OR","SoldToParty":"ACC-00004","PurchaseOrderByCustomer":"PO-77","RequestedDeliveryDate":"/Date(1767225600000)/",
			"to_Item":[{"Material":"TG11","RequestedQuantity":"5","RequestedQuantityUnit":"PC","to_PricingElement":[{"ConditionType":"PPR0","ConditionRateValue":"19.90"}]},{"Material":"TG12","RequestedQuantity":"0.100"}]}`, session...)
		require.Equal(t, http.StatusCreated, made.status, string(made.body))
		order := made.json(t)["d"].(map[string]any)
		require.NotEqual(t, "77", order["SalesOrder"], "SAP draws the number")
		require.Equal(t, "100.50", order["TotalNetAmount"])
		require.Equal(t, "/Date(1767225600000)/", order["RequestedDeliveryDate"])
		at := made.header.Get("Location")
		require.Equal(t, at, order["__metadata"].(map[string]any)["uri"])
		items := results(t, b.sap(http.MethodGet, at+"/to_Item", ""))
		require.Equal(t, []any{"10", "20"}, column(items, "SalesOrderItem"))
		require.Equal(t, []any{"99.50", "1.00"}, column(items, "NetAmount"))

		tag := made.header.Get("ETag")
		item := sapOrders + "/A_SalesOrderItem(SalesOrder='" + order["SalesOrder"].(string) + "',SalesOrderItem='10')"
		require.Equal(t, http.StatusNoContent, b.sap(http.MethodPatch, item, `{"SalesDocumentRjcnReason":"61"}`, session...).status)
		require.NotEqual(t, tag, b.sap(http.MethodGet, at, "").header.Get("ETag"), "a change of an item is one of its order")
		require.Equal(t, http.StatusNoContent, b.sap(http.MethodDelete, at, "", append(session, "If-Match", "*")...).status)
		require.Equal(t, http.StatusNotFound, b.sap(http.MethodGet, item, "").status)

		unknown := b.sap(http.MethodPost, sapOrders+"/A_SalesOrder", `{"SoldToParty":"NOBODY"}`, session...)
		require.Equal(t, http.StatusBadRequest, unknown.status)
		require.Equal(t, "V1/555", sapCode(t, unknown))
	})
}

// changes is a $batch with one read, and change sets of one change for each item that
// is given as a list.
func changes(sets ...[]string) string {
	var b strings.Builder
	b.WriteString("--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET A_SalesOrder('1')?$select=SalesOrder HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n")
	for _, set := range sets {
		b.WriteString("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n")
		for _, body := range set {
			b.WriteString("--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\nPATCH A_SalesOrder('1') HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json\r\nIf-Match: *\r\n\r\n" + body + "\r\n")
		}
		b.WriteString("--c--\r\n")
	}
	return b.String() + "--b--\r\n"
}

func TestSAPDoesAChangeSetWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		session := append(b.session(sapOrders), "Content-Type", "multipart/mixed; boundary=b")
		r := b.do(http.MethodPost, sapOrders+"/$batch", changes([]string{`{"AssignmentReference":"first"}`}, []string{`{"AssignmentReference":"second"}`, `{"Nothing":1}`}), session...)
		require.Equal(t, http.StatusAccepted, r.status, string(r.body))
		_, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
		require.NoError(t, err)
		parts := multipart.NewReader(strings.NewReader(string(r.body)), params["boundary"])
		var kinds, texts []string
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			text, err := io.ReadAll(p)
			require.NoError(t, err)
			kind, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
			kinds, texts = append(kinds, kind), append(texts, string(text))
		}
		require.Equal(t, []string{"application/http", "multipart/mixed", "application/http"}, kinds, "a set that failed answers as one")
		require.Contains(t, texts[0], `"SalesOrder":"1"`)
		require.Contains(t, texts[1], "HTTP/1.1 204 No Content")
		require.Contains(t, texts[2], "HTTP/1.1 400 Bad Request")
		order := b.sap(http.MethodGet, sapOrders+"/A_SalesOrder('1')", "").json(t)["d"].(map[string]any)
		require.Equal(t, "first", order["AssignmentReference"], "the second change of the set that failed is gone, too")
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, sapOrders+"/$batch", "--b\r\n", session...).status)
	})
}

func TestSAPForgetsASessionInItsTime(t *testing.T) {
	t.Parallel()
	b := newBundle(t, sandbox.Options{Lean: true, Speed: 1e9})
	session := b.session(sapOrders)
	r := b.sap(http.MethodPatch, sapOrders+"/A_SalesOrder('1')", `{}`, append(session, "If-Match", "*")...)
	require.Equal(t, http.StatusForbidden, r.status)
}

func TestSAPAnswersAlsoWithoutThePrefixOfTheSandbox(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	r := b.sap(http.MethodGet, "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('1')?$select=SalesOrder", "")
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, r.json(t)["d"].(map[string]any)["__metadata"].(map[string]any)["uri"], "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('1')")
	require.Equal(t, http.StatusNotFound, b.sap(http.MethodGet, "/sap/sap/opu/odata/sap/API_NOTHING_SRV/", "").status)
	require.Equal(t, http.StatusForbidden, func() int {
		b.token = b.signIn("stranger")
		return b.sap(http.MethodGet, sapOrders+"/A_SalesOrder('1')", "").status
	}())
}
