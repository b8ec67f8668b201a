package app

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
)

// The judge is what the stand-in was asked: address and query of every call, and of every
// operation in a batch.
func TestNothingIsNamedThatWasNotAskedFor(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	fr := c.regions["fr"]
	allowed := map[string][]string{"account": {"name", "telephone1", "emailaddress1"}, "contact": {"fullname", "emailaddress1", "parentcustomerid"},
		"salesorder": {"customerid", "totalamount", "statuscode"}, "msx_shipment": {"salesorderid", "msx_carrier", "msx_eta"}}
	key := map[string]string{"account": "accountnumber", "contact": "msx_contactnumber", "salesorder": "ordernumber", "msx_shipment": "msx_shipmentnumber"}
	for _, table := range []string{"account", "contact", "salesorder", "msx_shipment"} {
		by := []string{key[table]}
		columns := append(slices.Clone(by), allowed[table]...)
		changes, err := fr.ReadChanges(t.Context(), table, columns, "")
		require.NoError(t, err)
		_, err = fr.ReadChanges(t.Context(), table, columns, changes.Cursor)
		require.NoError(t, err)
		_, err = fr.ReadPage(t.Context(), connector.Query{Table: table, Select: columns, Limit: 20}, "")
		require.NoError(t, err)
		_, err = fr.ExtractPage(t.Context(), connector.Query{Table: table, Select: columns}, "")
		require.NoError(t, err)
		_, err = fr.Identities(t.Context(), table)
		require.NoError(t, err)
		keys := make([]connector.Row, 0, len(changes.Rows))
		rows := make([]connector.Row, 0, len(changes.Rows))
		for _, row := range changes.Rows {
			keys = append(keys, connector.Row{key[table]: row[key[table]]})
			delete(row, fr.Identify(table))
			rows = append(rows, row)
		}
		_, err = fr.ReadByKey(t.Context(), table, by, keys, allowed[table])
		require.NoError(t, err)
		now, err := fr.ReadVersions(t.Context(), table, by, keys, allowed[table])
		require.NoError(t, err)
		tags := make([]string, len(now))
		for i, r := range now {
			tags[i] = r.Version
			require.ElementsMatch(t, columns, keysOf(r.Row))
		}
		results, err := fr.UpsertAt(t.Context(), connector.Upsert{Table: table, Key: by, Rows: rows}, tags)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"": len(rows)}, codes(results))
		results, err = fr.DeleteAt(t.Context(), connector.Delete{Table: table, Key: by, Keys: keys[:1]}, []string{`W/"1"`})
		require.NoError(t, err)
		require.Equal(t, map[string]int{"connector.version": 1}, codes(results))
	}

	res, err := http.Get(c.url + "/_sandbox/calls/dataverse-fr?limit=1000")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var calls []struct{ Method, Path, Query string }
	require.NoError(t, json.Unmarshal(text, &calls))
	require.Greater(t, len(calls), 40)
	known := map[string]bool{}
	for table, columns := range allowed {
		for _, name := range append([]string{key[table], table + "id", "modifiedon"}, columns...) {
			known[name], known["_"+name+"_value"] = true, true
		}
	}
	word := regexp.MustCompile(`[a-z0-9_]*[a-z][a-z0-9_]*`)
	columns := map[string]bool{}
	for _, name := range []string{"description", "msx_diagnosis", "msx_patientid", "msx_remark", "createdon", "ownerid", "statecode", "versionnumber", "masterid", "merged", "transactioncurrencyid"} {
		columns[name], columns["_"+name+"_value"] = true, true
	}
	selects := 0
	for _, call := range calls {
		asked := call.Path + " " + call.Query
		require.NotContains(t, asked, "*")
		for _, name := range word.FindAllString(asked, -1) {
			require.False(t, columns[name], "%s names %s", asked, name)
		}
		for _, list := range regexp.MustCompile(`\$select=([^&\s)]*)`).FindAllStringSubmatch(asked, -1) {
			if strings.Contains(asked, "EntityDefinitions") {
				continue
			}
			selects++
			for _, name := range strings.Split(list[1], ",") {
				require.True(t, known[name], "%s asks for %s", asked, name)
			}
		}
		reads := call.Method == http.MethodGet && !strings.Contains(asked, "EntityDefinitions") && !strings.Contains(asked, "WhoAmI")
		require.True(t, !reads || strings.Contains(asked, "$select="), "%s would bring every column", asked)
	}
	require.Greater(t, selects, 20)
}
