package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (b *bundle) dataverse(method, path, body string, head ...string) reply {
	b.t.Helper()
	return b.do(method, dataversePath+path, body, append([]string{"Accept", "application/json", "OData-Version", "4.0", "OData-MaxVersion", "4.0"}, head...)...)
}

func values(t *testing.T, r reply) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	var body struct {
		Value []map[string]any `json:"value"`
	}
	require.NoError(t, json.Unmarshal(r.body, &body))
	return body.Value
}

// id is the key in the address that a write answers with.
func id(t *testing.T, r reply) string {
	t.Helper()
	require.Equal(t, http.StatusNoContent, r.status, string(r.body))
	at := r.header.Get("OData-EntityId")
	require.Equal(t, at, r.header.Get("Location"))
	return at[strings.LastIndexByte(at, '(')+1 : len(at)-1]
}

func filter(set, text string) string { return set + "?$filter=" + url.QueryEscape(text) }

func TestRowLivesThroughCreateReadUpdateDelete(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		account := id(t, b.dataverse(http.MethodPost, "accounts", `{"name":"Acme","creditonhold":false,"revenue":5000000,"accountcategorycode":1}`))
		contact := b.dataverse(http.MethodPost, "contacts?$select=fullname", `{"firstname":"Ada","lastname":"Lovelace","parentcustomerid_account@odata.bind":"/accounts(`+account+`)"}`, "Prefer", "return=representation")
		require.Equal(t, http.StatusCreated, contact.status, string(contact.body))
		require.Equal(t, "Ada Lovelace", contact.json(t)["fullname"])
		person := contact.json(t)["contactid"].(string)

		patched := b.dataverse(http.MethodPatch, "accounts("+strings.ToUpper(account)+")", `{"primarycontactid@odata.bind":"contacts(`+person+`)","telephone1":"555"}`)
		require.Equal(t, http.StatusNoContent, patched.status, string(patched.body))
		row := b.dataverse(http.MethodGet, "accounts("+account+")?$select=name,revenue&$expand=primarycontactid($select=fullname),contact_customer_accounts($select=lastname;$filter=startswith(firstname,'a'))", "")
		body := row.json(t)
		require.Equal(t, json.Number("5000000.0000"), body["revenue"])
		require.Contains(t, body, "_transactioncurrencyid_value", "a money column brings its currency")
		require.Equal(t, "Ada Lovelace", body["primarycontactid"].(map[string]any)["fullname"])
		require.Len(t, body["contact_customer_accounts"], 1)
		require.Contains(t, body["@odata.context"], "$metadata#accounts(name,revenue,_transactioncurrencyid_value,primarycontactid(")

		require.Equal(t, "Acme", b.dataverse(http.MethodGet, "accounts("+account+")/name", "").json(t)["value"])
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPut, "accounts("+account+")/name", `{"value":"Acme 2"}`).status)
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodDelete, "accounts("+account+")/telephone1", "").status)
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodDelete, "accounts("+account+")/primarycontactid/$ref", "").status)
		now := b.dataverse(http.MethodGet, "accounts("+account+")?$select=name,telephone1,_primarycontactid_value", "").json(t)
		require.Equal(t, []any{"Acme 2", nil, nil}, []any{now["name"], now["telephone1"], now["_primarycontactid_value"]})
		require.Equal(t, "\ufeff1", string(b.dataverse(http.MethodGet, "accounts("+account+")/contact_customer_accounts/$count", "").body), "a count begins with a byte order mark")

		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodDelete, "accounts("+account+")", "").status)
		gone := b.dataverse(http.MethodDelete, "accounts("+account+")", "")
		require.Equal(t, http.StatusNotFound, gone.status)
		require.Equal(t, "0x80040217", gone.code(t))
		require.Equal(t, http.StatusMethodNotAllowed, b.dataverse(http.MethodDelete, "accounts", "").status)
	})
}

func TestUpsertGoesByTheAddressAndItsConditions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		at := "accounts(accountnumber='UP-1')"
		require.Equal(t, "0x80060891", b.dataverse(http.MethodPatch, at, `{"name":"x"}`, "If-Match", "*").code(t), "If-Match turns the upsert off")
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPatch, at, `{"name":"one"}`, "If-None-Match", "*").status)
		require.Equal(t, "0x80040237", b.dataverse(http.MethodPatch, at, `{"name":"two"}`, "If-None-Match", "*").code(t))
		moved := b.dataverse(http.MethodPatch, "accounts(accountnumber='up-1')?$select=accountnumber,name", `{"accountnumber":"OTHER","name":"two"}`, "Prefer", "return=representation", "If-None-Match", "null")
		require.Equal(t, http.StatusOK, moved.status)
		require.Equal(t, "UP-1", moved.json(t)["accountnumber"], "key columns of the body are dropped, and keys ignore case")
		copied := b.dataverse(http.MethodPatch, "accounts(accountnumber='UP-2')?$select=accountnumber", `{"accountnumber":"UP-3"}`, "Prefer", "return=representation")
		require.Equal(t, http.StatusCreated, copied.status)
		require.Equal(t, "UP-3", copied.json(t)["accountnumber"], "in a new row the body wins over the address")

		tag := moved.header.Get("ETag")
		require.Equal(t, http.StatusNotModified, b.dataverse(http.MethodGet, at, "", "If-None-Match", tag).status)
		require.Equal(t, http.StatusOK, b.dataverse(http.MethodGet, at, "", "If-None-Match", "null").status)
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPatch, at, `{"name":"three"}`, "If-Match", tag).status)
		require.Equal(t, "0x80060882", b.dataverse(http.MethodDelete, at, "", "If-Match", tag).code(t))

		own := "11111111-2222-4333-8444-555555555555"
		require.Equal(t, own, id(t, b.dataverse(http.MethodPost, "accounts", `{"accountid":"`+own+`","name":"mine"}`)), "a client may choose the id")
		require.Equal(t, "0x80040237", b.dataverse(http.MethodPost, "accounts", `{"accountid":"`+own+`"}`).code(t))
		taken := b.dataverse(http.MethodPost, "accounts", `{"accountnumber":"up-1"}`)
		require.Equal(t, "0x80060892", taken.code(t))
		require.Equal(t, http.StatusPreconditionFailed, taken.status)
		require.Equal(t, http.StatusBadRequest, b.dataverse(http.MethodGet, "accounts(name='x')", "").status, "columns that are no key")
		require.Equal(t, http.StatusBadRequest, b.dataverse(http.MethodGet, "accounts(accountnumber='a%26b')", "").status, "the web server refuses some characters in a path")
	})
}

func TestPayloadsThatDoNotFitAreRefusedWithTheirCode(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for body, code := range map[string]string{
		`{"nope":1}`:                             "0x80048d19",
		`{"name":1}`:                             "0x80048d19",
		`{"parentaccountid@odata.bind":"/x(1)"}`: "0x80048d19",
		`{"name":"` + strings.Repeat("ü", 161) + `"}`: "0x80044331",
		`{"industrycode":99}`:                         "0x8004431a",
		`{"statecode":0,"statuscode":2}`:              "0x80048408",
		`{"name":`:                                    "0x80048d19",
		`{"parentaccountid@odata.bind":"/accounts(99999999-0000-4000-8000-000000000000)"}`: "0x80040217",
	} {
		require.Equal(t, code, b.dataverse(http.MethodPost, "accounts", body).code(t), body)
	}
	require.Equal(t, "0x80048d19", b.dataverse(http.MethodPost, "contacts", `{"parentcustomerid@odata.bind":"/accounts(99999999-0000-4000-8000-000000000000)"}`).code(t), "a lookup with several targets needs the typed name")
	require.Equal(t, "0x80040203", b.dataverse(http.MethodPost, "incidents", `{"title":"x"}`).code(t))
	for _, query := range []string{"$skip=1", "$filter=nope eq 1", "$filter=name eq", "$filter=name eq 5", "$select=nope", "$orderby=name up", "$top=0", "$expand=nope", "$expand=contact_customer_accounts/$ref", "$foo=1",
		"$filter=" + strings.Repeat("(", 99)} {
		require.Equal(t, http.StatusBadRequest, b.dataverse(http.MethodGet, "accounts?"+query, "").status, query)
	}
	require.Equal(t, "0x0", b.dataverse(http.MethodGet, "accounts?$select=Name", "").code(t), "names are case-sensitive")
}

func TestFiltersFindWhatTheyDescribe(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		parent := id(t, b.dataverse(http.MethodPost, "accounts", `{"name":"Filter Parent","accountnumber":"F-0"}`))
		for i, body := range []string{
			`{"name":"Filter O'Neil","accountnumber":"F-1","numberofemployees":10,"revenue":10.5,"creditonhold":true,"parentaccountid@odata.bind":"/accounts(` + parent + `)"}`,
			`{"name":"filter 100% pure","accountnumber":"F-2","numberofemployees":20,"description":"filter 100% pure"}`,
			`{"name":"Filter Zoë","accountnumber":"F-3","numberofemployees":30,"statecode":1}`,
		} {
			require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPost, "accounts", body).status, i)
		}
		for text, want := range map[string]string{
			"name eq 'filter o''neil'": "F-1", "startswith(name,'FILTER Z')": "F-3", "contains(name,'O''N')": "F-1", "endswith(name,'pure')": "F-2", "contains(name,'o%eil')": "F-1",
			"numberofemployees gt 10 and numberofemployees le 20": "F-2", "20 lt numberofemployees": "F-3", "not (numberofemployees eq 10 or numberofemployees eq 20) and numberofemployees ne null": "F-3",
			"revenue eq 10.50": "F-1", "creditonhold eq true": "F-1", "creditonhold": "F-1", "name eq description": "F-2", "statecode eq 1": "F-3", "statuscode eq 2": "F-3",
			"parentaccountid/name eq 'filter parent'": "F-1", "_parentaccountid_value eq " + parent: "F-1", "account_parent_account/any(c:c/name eq 'Filter O''Neil')": "F-0",
			"account_parent_account/any()": "F-0", "Microsoft.Dynamics.CRM.In(PropertyName='accountnumber',PropertyValues=['f-2','x'])": "F-2",
			"Microsoft.Dynamics.CRM.Between(PropertyName='numberofemployees',PropertyValues=[\"25\",\"35\"])": "F-3", "Microsoft.Dynamics.CRM.NotIn(PropertyName='accountnumber',PropertyValues=['F-0','F-1','F-2'])": "F-3",
		} {
			found := values(t, b.dataverse(http.MethodGet, filter("accounts", "startswith(accountnumber,'F-') and ("+text+")")+"&$select=accountnumber", ""))
			require.Len(t, found, 1, text)
			require.Equal(t, want, found[0]["accountnumber"], text)
		}
		all := b.dataverse(http.MethodGet, filter("accounts", "accountnumber eq @a")+"&@a='F-1'&$select=name&$count=true", "").json(t)
		require.Equal(t, json.Number("1"), all["@odata.count"])
		require.Equal(t, "\ufeff4", string(b.dataverse(http.MethodGet, filter("accounts/$count", "startswith(accountnumber,'F-')"), "").body))
	})
}

func TestNextLinksCoverEveryRowOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for _, order := range []string{"", "&$orderby=jobtitle desc,lastname"} {
			seen := map[any]bool{}
			next := dataversePath + "contacts?$select=lastname&$count=true" + order
			for next != "" {
				r := b.do(http.MethodGet, next, "", "Prefer", "odata.maxpagesize=90")
				for _, row := range values(t, r) {
					require.False(t, seen[row["contactid"]])
					seen[row["contactid"]] = true
				}
				require.Equal(t, json.Number("500"), r.json(t)["@odata.count"])
				next, _ = r.json(t)["@odata.nextLink"].(string)
			}
			require.Len(t, seen, 500, order)
		}
		require.Len(t, values(t, b.dataverse(http.MethodGet, "contacts?$top=7", "")), 7)
		require.NotContains(t, b.dataverse(http.MethodGet, "contacts?$top=7", "").json(t), "@odata.nextLink")
	})
}

func TestAnnotationsDescribeTheirColumns(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	row := values(t, b.dataverse(http.MethodGet, "incidents?$top=1&$select=statuscode,_customerid_value,isescalated", "", "Prefer", `odata.include-annotations="*"`))[0]
	require.NotEmpty(t, row["statuscode@OData.Community.Display.V1.FormattedValue"])
	require.Equal(t, "account", row["_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"])
	require.Equal(t, "customerid_account", row["_customerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty"])
	require.NotEmpty(t, row["_customerid_value@OData.Community.Display.V1.FormattedValue"])
	require.Contains(t, []any{"Yes", "No"}, row["isescalated@OData.Community.Display.V1.FormattedValue"])
}

func target(set, key, more string) string {
	return fmt.Sprintf(`{"@odata.type":"Microsoft.Dynamics.CRM.msx_specification","@odata.id":"msx_specifications(%s)"%s}`, key, more)
}

func TestBulkActionsAreOneTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		action := func(name string, targets ...string) reply {
			return b.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM."+name, `{"Targets":[`+strings.Join(targets, ",")+`]}`)
		}
		count := func() int {
			return len(values(t, b.dataverse(http.MethodGet, filter("msx_specifications", "msx_productnumber eq 'BULK'"), "")))
		}
		key := func(attribute string) string { return "msx_productnumber='BULK',msx_attribute='" + attribute + "'" }
		refused := action("UpsertMultiple", target("", key("a"), `,"msx_value":"1"`), target("", key("b"), `,"msx_unit":"`+strings.Repeat("x", 51)+`"`))
		require.Equal(t, "0x80044331", refused.code(t))
		require.Zero(t, count(), "one bad target undoes all")
		require.Equal(t, http.StatusNoContent, action("UpsertMultiple", target("", key("a"), `,"msx_value":"1"`), target("", key("b"), `,"msx_value":"2"`)).status)
		require.Equal(t, http.StatusNoContent, action("UpsertMultiple", target("", key("b"), `,"msx_value":"3"`), target("", key("c"), `,"msx_value":"4"`)).status)
		require.Equal(t, 3, count())
		require.Equal(t, http.StatusPreconditionFailed, action("UpsertMultiple", target("", key("d"), ``), target("", key("D"), ``)).status, "two targets with one key")
		require.Equal(t, "0x80048d19", action("UpsertMultiple", `{"msx_value":"x"}`).code(t), "a target needs its @odata.type")

		kind := `"@odata.type":"#Microsoft.Dynamics.CRM.msx_specification"`
		made := action("CreateMultiple", `{`+kind+`,"msx_productnumber":"BULK","msx_attribute":"e"}`, `{`+kind+`,"msx_productnumber":"BULK","msx_attribute":"f"}`)
		require.Equal(t, http.StatusOK, made.status)
		ids := made.json(t)["Ids"].([]any)
		require.Len(t, ids, 2)
		first := fmt.Sprintf(`{%s,"msx_specificationid":%q,"msx_value":"first"}`, kind, ids[0])
		require.Equal(t, http.StatusNoContent, action("UpdateMultiple", first, strings.Replace(first, "first", "second", 1)).status)
		row := b.dataverse(http.MethodGet, fmt.Sprintf("msx_specifications(%s)", ids[0]), "").json(t)
		require.Equal(t, "first", row["msx_value"], "of two targets for one row the first counts")
		require.Equal(t, http.StatusNotFound, action("UpdateMultiple", fmt.Sprintf(`{%s,"msx_specificationid":"99999999-0000-4000-8000-000000000000"}`, kind)).status)
		require.Equal(t, http.StatusNotFound, b.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM.Nope", `{}`).status)
	})
}

func TestBatchKeepsItsChangeSetsWhole(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		lines := func(list ...string) string { return strings.Join(list, "\r\n") + "\r\n" }
		operation := func(boundary, id, request, body string) []string {
			list := []string{"--" + boundary, "Content-Type: application/http", "Content-Transfer-Encoding: binary"}
			if id != "" {
				list = append(list, "Content-ID: "+id)
			}
			return append(list, "", request, "Content-Type: application/json; type=entry", "", body)
		}
		changeSet := func(last string) string {
			list := []string{"--b1", `Content-Type: multipart/mixed; boundary="c1"`, ""}
			list = append(list, operation("c1", "1", "POST /api/data/v9.2/accounts HTTP/1.1", `{"name":"Batch","accountnumber":"B-1"}`)...)
			list = append(list, operation("c1", "2", "PATCH $1 HTTP/1.1", `{"telephone1":"555"}`)...)
			list = append(list, operation("c1", "3", "POST "+b.url+dataversePath+"contacts HTTP/1.1", last)...)
			list = append(list, "--c1--")
			list = append(list, operation("b1", "", "GET /api/data/v9.2/accounts?$select=telephone1&$filter=accountnumber%20eq%20'B-1' HTTP/1.1", "")...)
			return lines(append(list, "--b1--")...)
		}
		send := func(body string, head ...string) reply {
			return b.dataverse(http.MethodPost, "$batch", body, append([]string{"Content-Type", `multipart/mixed; boundary="b1"`}, head...)...)
		}
		refused := send(changeSet(`{"nope":1}`))
		require.Equal(t, http.StatusBadRequest, refused.status, "without continue-on-error the failure is the outer status")
		require.Contains(t, string(refused.body), "0x80048d19")
		require.NotContains(t, string(refused.body), "HTTP/1.1 200 OK", "and processing stops")
		require.Empty(t, values(t, b.dataverse(http.MethodGet, filter("accounts", "accountnumber eq 'B-1'"), "")))

		further := send(changeSet(`{"nope":1}`), "Prefer", "odata.continue-on-error")
		require.Equal(t, http.StatusOK, further.status)
		require.Contains(t, string(further.body), "HTTP/1.1 200 OK")

		done := send(changeSet(`{"lastname":"Batch","parentcustomerid_account@odata.bind":"$1"}`))
		require.Equal(t, http.StatusOK, done.status, string(done.body))
		require.Contains(t, done.header.Get("Content-Type"), "multipart/mixed; boundary=batchresponse_")
		require.Contains(t, string(done.body), "changesetresponse_")
		require.Contains(t, string(done.body), "Content-ID: 3")
		require.Contains(t, string(done.body), `"telephone1":"555"`)
		require.Equal(t, http.StatusBadRequest, send(strings.ReplaceAll(changeSet(`{}`), "\r\n", "\n")).status, "line ends are CRLF")
	})
}

func TestCaseIsClosedWithItsState(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	incident := values(t, b.dataverse(http.MethodGet, filter("incidents", "statecode eq 0")+"&$top=1", ""))[0]
	key := fmt.Sprint(incident["incidentid"])
	require.Equal(t, "0x80048408", b.dataverse(http.MethodPatch, "incidents("+key+")", `{"statuscode":5}`).code(t), "a status of another state alone")
	r := b.dataverse(http.MethodPost, "CloseIncident", `{"IncidentResolution":{"subject":"done","incidentid@odata.bind":"/incidents(`+key+`)"},"Status":5}`)
	require.Equal(t, http.StatusNoContent, r.status, string(r.body))
	now := b.dataverse(http.MethodGet, "incidents("+key+")?$select=statecode,statuscode", "").json(t)
	require.Equal(t, []any{json.Number("1"), json.Number("5")}, []any{now["statecode"], now["statuscode"]})
}

func TestMetadataTellsWhatClientsAskFirst(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	one := b.dataverse(http.MethodGet, "EntityDefinitions(LogicalName='msx_specification')?$select=EntitySetName,PrimaryIdAttribute&$expand=Keys($select=KeyAttributes)", "").json(t)
	require.Equal(t, "msx_specifications", one["EntitySetName"])
	require.Equal(t, []any{"msx_productnumber", "msx_attribute"}, one["Keys"].([]any)[0].(map[string]any)["KeyAttributes"])
	list := values(t, b.dataverse(http.MethodGet, filter("EntityDefinitions", "LogicalName eq 'account'")+"&$select=LogicalName,EntitySetName", ""))
	require.Len(t, list, 1)
	require.NotEmpty(t, values(t, b.dataverse(http.MethodGet, "EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet", "")))
	require.Contains(t, string(b.dataverse(http.MethodGet, "$metadata", "", "Accept", "application/xml").body), `<EntitySet Name="accounts" EntityType="Microsoft.Dynamics.CRM.account"/>`)
	require.NotEmpty(t, values(t, b.dataverse(http.MethodGet, "", "")))
}

// Some client libraries resolve /api/data against the base URL and so lose the
// prefix; what they find at the root is the same system.
func TestClientsThatKeepOnlyTheHostFindTheirSystem(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	page := b.do(http.MethodGet, "/api/data/v9.2/accounts?$select=name", "", "Prefer", "odata.maxpagesize=150")
	next := page.json(t)["@odata.nextLink"].(string)
	require.True(t, strings.HasPrefix(next, b.url+"/api/data/v9.2/accounts?"), next)
	require.Len(t, values(t, b.do(http.MethodGet, next, "", "Prefer", "odata.maxpagesize=150")), 50)
	require.Len(t, items(t, b.do(http.MethodGet, "/fscmRestApi/resources/latest/itemsV2?limit=3", "")), 3)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/elsewhere", "").status)
	require.Equal(t, http.StatusNotImplemented, b.dataverse(http.MethodGet, "accounts?fetchXml=%3Cfetch%2F%3E", "").status, "what is not there is said, not ignored")
}
