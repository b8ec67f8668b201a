package sap_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/sap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// olderModel and newerModel are what the two services of these tests say of
// themselves.
const (
	olderModel = `<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" xmlns:sap="http://www.sap.com/Protocols/SAPData"><edmx:DataServices xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata" m:DataServiceVersion="2.0">
<Schema Namespace="O" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">
<EntityType Name="OrderType"><Key><PropertyRef Name="SalesOrder"/></Key>
<Property Name="SalesOrder" Type="Edm.String" Nullable="false" MaxLength="10"/><Property Name="Text" Type="Edm.String" MaxLength="40"/>
<Property Name="Amount" Type="Edm.Decimal" Precision="16" Scale="3"/><Property Name="Count" Type="Edm.Int32"/><Property Name="Big" Type="Edm.Int64"/><Property Name="Paid" Type="Edm.Boolean"/>
<Property Name="On" Type="Edm.DateTime" Precision="0" sap:display-format="Date"/><Property Name="When" Type="Edm.DateTime"/><Property Name="At" Type="Edm.DateTimeOffset" Precision="7"/><Property Name="Clock" Type="Edm.Time"/><Property Name="Ref" Type="Edm.Guid"/><Property Name="Raw" Type="Edm.Binary"/>
<NavigationProperty Name="to_Item" Relationship="O.OrderItems" FromRole="From" ToRole="To"/></EntityType>
<EntityType Name="ItemType"><Key><PropertyRef Name="SalesOrder"/><PropertyRef Name="Item"/></Key>
<Property Name="SalesOrder" Type="Edm.String" Nullable="false" MaxLength="10"/><Property Name="Item" Type="Edm.String" Nullable="false" MaxLength="6"/><Property Name="NetAmount" Type="Edm.Decimal" Precision="16" Scale="3"/></EntityType>
<Association Name="OrderItems"><End Type="O.OrderType" Multiplicity="1" Role="From"/><End Type="O.ItemType" Multiplicity="*" Role="To"/></Association>
<EntityContainer Name="C"><EntitySet Name="Orders" EntityType="O.OrderType"/><EntitySet Name="Items" EntityType="O.ItemType"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>`
	newerModel = `<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="com.x" Alias="SAP__self" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="OrderType"><Key><PropertyRef Name="SalesOrder"/></Key>
<Property Name="SalesOrder" Type="Edm.String" Nullable="false" MaxLength="10"/><Property Name="Text" Type="Edm.String" MaxLength="40"/>
<Property Name="Amount" Type="Edm.Decimal" Precision="16" Scale="variable"/><Property Name="Count" Type="Edm.Int32"/><Property Name="Big" Type="Edm.Int64"/><Property Name="Paid" Type="Edm.Boolean"/>
<Property Name="On" Type="Edm.Date"/><Property Name="At" Type="Edm.DateTimeOffset" Precision="7"/><Property Name="Clock" Type="Edm.TimeOfDay"/><Property Name="Ref" Type="Edm.Guid"/>
<NavigationProperty Name="_Item" Type="Collection(SAP__self.ItemType)"/></EntityType>
<EntityType Name="ItemType"><Key><PropertyRef Name="SalesOrder"/><PropertyRef Name="Item"/></Key>
<Property Name="SalesOrder" Type="Edm.String" Nullable="false"/><Property Name="Item" Type="Edm.String" Nullable="false"/><Property Name="NetAmount" Type="Edm.Decimal" Precision="16" Scale="3"/></EntityType>
<EntityContainer Name="C"><EntitySet Name="Orders" EntityType="com.x.OrderType"/><EntitySet Name="Items" EntityType="SAP__self.ItemType"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>`
)

const (
	olderRoot = "/sap/opu/odata/sap/O_SRV"
	newerRoot = "/sap/opu/odata4/sap/orders/0001"
)

// aside answers what a connector asks of a service besides pages and writes: its
// $metadata, a CSRF token, and which rows there are.
func aside(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	newer := strings.HasPrefix(r.URL.Path, newerRoot)
	switch {
	case strings.HasSuffix(r.URL.Path, "/$metadata"):
		w.Header().Set("Content-Type", "application/xml")
		if newer {
			_, _ = io.WriteString(w, newerModel)
		} else {
			_, _ = io.WriteString(w, olderModel)
		}
	case r.Header.Get("X-Csrf-Token") == "Fetch":
		w.Header().Set("X-Csrf-Token", "t==")
		w.Header().Add("Set-Cookie", "SAP_SESSIONID_S4H_100=s; path=/; HttpOnly")
	case r.Method == http.MethodGet && strings.Contains(r.URL.Query().Get("$filter"), "Text eq"): // no document has the reference
		_, _ = io.WriteString(w, map[bool]string{false: `{"d":{"results":[]}}`, true: `{"value":[]}`}[newer])
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/Items(SalesOrder='1',Item='10')"):
		if newer {
			_, _ = io.WriteString(w, `{"@odata.etag":"W/\"7\"","SalesOrder":"1","Item":"10"}`)
		} else {
			_, _ = io.WriteString(w, `{"d":{"__metadata":{"etag":"W/\"7\""},"SalesOrder":"1","Item":"10"}}`)
		}
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/Items"):
		rows := `{"__metadata":{"etag":"W/\"7\""},"@odata.etag":"W/\"7\"","SalesOrder":"1","Item":"10"},{"@odata.etag":"W/\"8\"","SalesOrder":"1","Item":"20"}`
		if newer {
			_, _ = io.WriteString(w, `{"value":[`+rows+`]}`)
		} else {
			_, _ = io.WriteString(w, `{"d":{"results":[`+rows+`]}}`)
		}
	default:
		return false
	}
	return true
}

// accepted answers a write: one row, or a $batch with as many parts as it has.
func accepted(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/$batch") {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "multipart/mixed; boundary=B")
	w.WriteHeader(http.StatusAccepted)
	for range strings.Count(string(body), "Content-Transfer-Encoding") {
		_, _ = io.WriteString(w, "--B\r\nContent-Type: multipart/mixed; boundary=C\r\nContent-Length: 100\r\n\r\n--C\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n--C--\r\n\r\n")
	}
	_, _ = io.WriteString(w, "--B--\r\n")
}

var behind = regexp.MustCompile(`SalesOrder gt '([^']*)'`)

func TestSAPKeepsTheContract(t *testing.T) {
	t.Parallel()
	item := func(n string) connector.Row {
		return connector.Row{"SalesOrder": "1", "Item": n, "NetAmount": json.Number("1.50")}
	}
	for version, root := range map[string]string{"V2": olderRoot, "V4": newerRoot} {
		wrap := func(rows []connector.Row) []byte {
			value, err := json.Marshal(append([]connector.Row{}, rows...))
			if err != nil {
				panic(err)
			}
			if version == "V2" {
				return fmt.Appendf(nil, `{"d":{"results":%s}}`, value)
			}
			return fmt.Appendf(nil, `{"@odata.context":"$metadata#Orders","value":%s}`, value)
		}
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := conformance.Harness{
				Build: sap.Build,
				Config: connector.Config{System: sap.System, Options: map[string]string{"reference": "orders.Text"}, Tables: map[string]connector.Table{
					"orders": {Path: root + "/Orders"}, "items": {Path: root + "/Items"}}},
				Query: connector.Query{Table: "orders", Select: []string{"SalesOrder", "Text"}, Limit: 3},
				Page: func(r *http.Request, _ string, rows []connector.Row) []byte {
					from := 0
					if m := behind.FindStringSubmatch(r.URL.Query().Get("$filter")); m != nil {
						from = 1 + slices.IndexFunc(rows, func(row connector.Row) bool { return row["SalesOrder"] == m[1] })
					}
					top, _ := strconv.Atoi(r.URL.Query().Get("$top"))
					return wrap(rows[from:min(from+top, len(rows))])
				},
				Circle: func(_ *http.Request, _ string, rows []connector.Row) []byte { return wrap(rows[:3]) },
				Aside:  aside,
				Failure: func(status int) []byte {
					if version == "V2" {
						return fmt.Appendf(nil, `{"error":{"code":"SY/%d","message":{"lang":"en","value":"canary"},"innererror":{"errordetails":[{"code":"V1/555","message":"canary","severity":"error"}]}}}`, status)
					}
					return fmt.Appendf(nil, `{"error":{"code":"SY/%d","message":"canary","details":[{"code":"V1/555","message":"canary"}]}}`, status)
				},
				Upserts: map[string]connector.Upsert{
					"one row":      {Table: "items", Key: []string{"SalesOrder", "Item"}, Rows: []connector.Row{item("10")}},
					"several rows": {Table: "items", Key: []string{"SalesOrder", "Item"}, Rows: []connector.Row{item("10"), item("20")}},
					"one document": {Table: "orders", Key: []string{"Text"}, Rows: []connector.Row{{"Text": "PO-1", map[string]string{"V2": "to_Item", "V4": "_Item"}[version]: []any{map[string]any{"NetAmount": json.Number("1.50")}}}}},
				},
				Accepted: accepted,
			}
			conformance.Run(t, h)
			h.Upserts = nil
			t.Run("by sheets", func(t *testing.T) {
				t.Parallel()
				conformance.Run(t, conformance.Sheets(h))
			})
		})
	}
}
