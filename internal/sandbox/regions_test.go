package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

// office is one regional organisation, and who synchronizes there.
type office struct {
	*bundle
	region, token string
}

func (b *bundle) office(region string) office {
	b.t.Helper()
	return office{b, region, b.signInWith("patchbay-"+region, "sandbox-secret-"+region)}
}

func (o office) ask(method, path, body string, head ...string) reply {
	o.t.Helper()
	return o.do(method, "/dataverse-"+o.region+"/api/data/v9.2/"+path, body, append([]string{"Authorization", "Bearer " + o.token}, head...)...)
}

// rows are the rows of a list, by their key.
func (o office) rows(t *testing.T, path, key string) map[string]map[string]any {
	t.Helper()
	r := o.ask(http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	all := map[string]map[string]any{}
	for _, one := range r.json(t)["value"].([]any) {
		row := one.(map[string]any)
		all[row[key].(string)] = row
	}
	return all
}

func (o office) one(t *testing.T, path string) map[string]any {
	t.Helper()
	r := o.ask(http.MethodGet, path, "")
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	return r.json(t)
}

func TestRegionsShareNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		de, fr := b.office("de"), b.office("fr")
		for _, path := range []string{"WhoAmI", "accounts?$select=name"} {
			require.Equal(t, http.StatusOK, de.ask(http.MethodGet, path, "").status)
			require.Equal(t, http.StatusUnauthorized, office{b, "fr", de.token}.ask(http.MethodGet, path, "").status, "a token of one is nothing at another")
			require.Equal(t, http.StatusUnauthorized, office{b, "de", b.token}.ask(http.MethodGet, path, "").status, "nor is one of head office")
			require.Equal(t, http.StatusUnauthorized, b.do(http.MethodGet, dataversePath+path, "", "Authorization", "Bearer "+de.token).status)
		}
		require.Equal(t, http.StatusUnauthorized, b.oracle(http.MethodGet, "itemsV2?limit=1", "", "Authorization", "Bearer "+de.token).status)
		res, err := b.http.PostForm(b.url+"/login/contoso/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay-fr"}, "client_secret": {"sandbox-secret-de"}})
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, "the secret of one region opens no other")

		here, there := de.rows(t, "accounts?$select=accountnumber,msx_diagnosis", "accountnumber"), fr.rows(t, "accounts?$select=accountnumber,msx_diagnosis", "accountnumber")
		require.Len(t, here, 24)
		require.Len(t, there, 24)
		for number, row := range here {
			require.NotContains(t, there, number, "each has customers of its own")
			require.True(t, strings.HasPrefix(row["msx_diagnosis"].(string), "DX-DE-"))
		}
		before := de.one(t, "accounts(accountnumber='DE-1001')?$select=name")["@odata.etag"]
		require.Equal(t, http.StatusNoContent, fr.ask(http.MethodPatch, "accounts(accountnumber='DE-1001')", `{"name":"Copied"}`).status)
		copied := fr.one(t, "accounts(accountnumber='DE-1001')?$select=name")
		original := de.one(t, "accounts(accountnumber='DE-1001')?$select=name")
		require.NotEqual(t, copied["accountid"], original["accountid"], "one record has an id in each")
		require.Equal(t, before, original["@odata.etag"])
		require.Equal(t, `W/"2001"`, copied["@odata.etag"], "the first number of this organisation alone")
		require.NotEqual(t, de.one(t, "EntityDefinitions(LogicalName='account')?$select=MetadataId"), fr.one(t, "EntityDefinitions(LogicalName='account')?$select=MetadataId"))
	})
}

func TestDeletingAnAccountTakesItsContactsAndIsRefusedWhileItHasOrders(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		de := b.office("de")
		first := de.ask(http.MethodGet, "contacts?$select=fullname", "", "Prefer", "odata.track-changes")
		link := first.json(t)["@odata.deltaLink"].(string)
		r := de.ask(http.MethodDelete, "accounts(accountnumber='DE-1001')", "")
		require.Equal(t, http.StatusMethodNotAllowed, r.status)
		require.Equal(t, "0x80040227", r.code(t))

		account := de.one(t, "accounts(accountnumber='DE-1001')?$select=name")["accountid"].(string)
		for number := range de.rows(t, "salesorders?$select=ordernumber&$filter=_customerid_value eq "+account, "ordernumber") {
			require.Equal(t, http.StatusNoContent, de.ask(http.MethodDelete, "salesorders(ordernumber='"+number+"')", "").status)
		}
		lost := de.one(t, "msx_shipments(msx_shipmentnumber='DE-SHP-01001')?$select=_salesorderid_value")
		require.Nil(t, lost["_salesorderid_value"], "a shipment stays, without its order")
		children := de.rows(t, "contacts?$select=contactid&$filter=_parentcustomerid_value eq "+account, "contactid")
		require.Len(t, children, 3)
		require.Equal(t, http.StatusNoContent, de.ask(http.MethodDelete, "accounts(accountnumber='DE-1001')", "").status)
		r = de.do(http.MethodGet, link, "", "Authorization", "Bearer "+de.token)
		require.Equal(t, http.StatusOK, r.status, string(r.body))
		gone := r.json(t)["value"].([]any)
		require.Len(t, gone, 3)
		for _, x := range gone {
			require.Contains(t, children, x.(map[string]any)["id"], "change tracking tells of those that went with it")
		}
		r = de.ask(http.MethodPatch, "contacts(msx_contactnumber='DE-C1002')", `{"parentcustomerid_account@odata.bind":"/accounts(`+account+`)"}`)
		require.Equal(t, http.StatusNotFound, r.status)
		require.Equal(t, "0x80040217", r.code(t), "a lookup leads to a row that is there")
		require.Equal(t, http.StatusNoContent, de.ask(http.MethodPatch, "contacts(msx_contactnumber='DE-C1002')", `{"parentcustomerid_account@odata.bind":null}`).status)
	})
}

func TestMergedAccountsAreOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ch := b.office("ch")
		id := func(number string) string {
			return ch.one(t, "accounts(accountnumber='"+number+"')")["accountid"].(string)
		}
		target, subordinate := id("CH-1001"), id("CH-1002")
		require.Equal(t, http.StatusNoContent, ch.ask(http.MethodPatch, "accounts(accountnumber='CH-1001')", `{"telephone1":null}`).status)
		body := func(target, subordinate string) string {
			text, err := json.Marshal(map[string]any{
				"Target":        map[string]any{"@odata.type": "Microsoft.Dynamics.CRM.account", "accountid": target},
				"Subordinate":   map[string]any{"@odata.type": "Microsoft.Dynamics.CRM.account", "accountid": subordinate},
				"UpdateContent": map[string]any{"@odata.type": "Microsoft.Dynamics.CRM.account", "name": "Both"}, "PerformParentingChecks": false})
			require.NoError(t, err)
			return string(text)
		}
		kept := ch.one(t, "accounts(accountnumber='CH-1002')?$select=telephone1")["telephone1"]
		require.Equal(t, http.StatusBadRequest, ch.ask(http.MethodPost, "Merge", body(target, target)).status)
		require.Equal(t, http.StatusNotFound, ch.ask(http.MethodPost, "Merge", body(target, "00000000-0000-4000-8000-000000000000")).status)
		require.Equal(t, http.StatusNoContent, ch.ask(http.MethodPost, "Merge", body(target, subordinate)).status)
		require.Equal(t, http.StatusBadRequest, ch.ask(http.MethodPost, "Merge", body(target, subordinate)).status, "it is merged already")

		now := ch.one(t, "accounts("+target+")?$select=name,telephone1,statecode")
		require.Equal(t, "Both", now["name"])
		require.Equal(t, kept, now["telephone1"], "what the target lacked comes from the other")
		was := ch.one(t, "accounts("+subordinate+")?$select=merged,statecode,statuscode,_masterid_value")
		require.Equal(t, []any{true, json.Number("1"), json.Number("2"), target}, []any{was["merged"], was["statecode"], was["statuscode"], was["_masterid_value"]})
		require.Empty(t, ch.rows(t, "contacts?$select=msx_contactnumber&$filter=_parentcustomerid_value eq "+subordinate, "msx_contactnumber"))
		require.Len(t, ch.rows(t, "contacts?$select=msx_contactnumber&$filter=_parentcustomerid_value eq "+target, "msx_contactnumber"), 6)
		require.Len(t, ch.rows(t, "salesorders?$select=ordernumber&$filter=_customerid_value eq "+target, "ordernumber"), 4)
	})
}

func TestLongTextsAreRefusedOrCutWhereThatIsAsked(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	de := b.office("de")
	long := `{"telephone1":"` + strings.Repeat("1", 51) + `"}`
	r := de.ask(http.MethodPatch, "accounts(accountnumber='DE-1003')", long)
	require.Equal(t, "0x80044331", r.code(t))
	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/dataverse-de", `{"truncate":"account"}`).status)
	require.Equal(t, http.StatusNoContent, de.ask(http.MethodPatch, "accounts(accountnumber='DE-1003')", long).status)
	require.Equal(t, strings.Repeat("1", 50), de.one(t, "accounts(accountnumber='DE-1003')?$select=telephone1")["telephone1"])
	r = de.ask(http.MethodPatch, "contacts(msx_contactnumber='DE-C1001')", `{"fullname":"`+strings.Repeat("x", 161)+`"}`)
	require.Equal(t, "0x80044331", r.code(t), "of another table")
	require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/faults/oracle", `{"truncate":"account"}`).status)
}

func TestColumnsKeepTheirIdentityUntilTheyAreMadeAgain(t *testing.T) {
	t.Parallel()
	database := storetest.Empty(t)
	b := newBundle(t, sandbox.Options{DatabaseURL: database})
	de := b.office("de")
	ids := func() map[string]string {
		all := map[string]string{}
		for name, row := range de.rows(t, "EntityDefinitions(LogicalName='account')/Attributes?$select=LogicalName", "LogicalName") {
			all[name] = row["MetadataId"].(string)
		}
		return all
	}
	before := ids()
	require.NotContains(t, before, "msx_remark")
	db, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer db.Close(t.Context())
	_, err = db.Exec(t.Context(), `INSERT INTO dataverse_de.attribute (logical, name, metadataid) VALUES ('account', 'telephone1', 'aaaaaaaa-0000-4000-8000-000000000001'), ('account', 'msx_remark', NULL)`)
	require.NoError(t, err)
	after := ids()
	require.NotEmpty(t, after["msx_remark"], "a column was made")
	require.Equal(t, "aaaaaaaa-0000-4000-8000-000000000001", after["telephone1"], "a column was deleted and made again under its name")
	delete(after, "msx_remark")
	before["telephone1"] = after["telephone1"]
	require.Equal(t, before, after)

	// What is changed in the tables is changed behind everybody's back.
	first := de.ask(http.MethodGet, "accounts?$select=name", "", "Prefer", "odata.track-changes").json(t)["@odata.deltaLink"].(string)
	was := de.one(t, "accounts(accountnumber='DE-1005')?$select=name,modifiedon")
	_, err = db.Exec(t.Context(), `UPDATE dataverse_de.account SET name = 'Corrupted' WHERE accountnumber = 'DE-1005'`)
	require.NoError(t, err)
	now := de.one(t, "accounts(accountnumber='DE-1005')?$select=name,modifiedon")
	require.Equal(t, "Corrupted", now["name"])
	require.Equal(t, []any{was["@odata.etag"], was["modifiedon"]}, []any{now["@odata.etag"], now["modifiedon"]})
	require.Empty(t, de.do(http.MethodGet, first, "", "Authorization", "Bearer "+de.token).json(t)["value"])
}

func TestAnAnnotationComesAloneWhereOneIsAskedFor(t *testing.T) {
	t.Parallel()
	de := newLean(t).office("de")
	r := de.ask(http.MethodGet, "contacts(msx_contactnumber='DE-C1001')?$select=_parentcustomerid_value", "", "Prefer", `odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"`)
	row := r.json(t)
	require.Equal(t, "account", row["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"])
	require.NotContains(t, string(r.body), "FormattedValue", "the name of the account was not asked for")
}

func TestARegionOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	database := storetest.Empty(t)
	de := newBundle(t, sandbox.Options{DatabaseURL: database}).office("de")
	require.Equal(t, http.StatusNoContent, de.ask(http.MethodPatch, "accounts(accountnumber='DE-1001')", `{"name":"Kept"}`).status)
	tag := de.one(t, "accounts(accountnumber='DE-1001')?$select=name")["@odata.etag"]
	b := newBundle(t, sandbox.Options{DatabaseURL: database})
	again := b.office("de").one(t, "accounts(accountnumber='DE-1001')?$select=name")
	require.Equal(t, []any{"Kept", tag}, []any{again["name"], again["@odata.etag"]})
	require.Equal(t, http.StatusNoContent, b.do(http.MethodPost, "/_sandbox/reset", "").status)
	require.NotEqual(t, "Kept", b.office("de").one(t, "accounts(accountnumber='DE-1001')?$select=name")["name"])
}
