package sandbox_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

func (b *bundle) page(path string, head ...string) string {
	b.t.Helper()
	r := b.do(http.MethodGet, path, "", head...)
	require.Equal(b.t, http.StatusOK, r.status, string(r.body))
	require.Contains(b.t, r.header.Get("Content-Type"), "text/html")
	return string(r.body)
}

func TestRowsPageCountsTheWritesToARow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		require.Contains(t, b.page("/_sandbox/rows"), "This table has no rows yet.")
		bulk := func(list ...string) int {
			body := ""
			for _, attribute := range list {
				body += "," + target("", "msx_productnumber='P-1',msx_attribute='"+attribute+"'", `,"msx_value":"<7>"`)
			}
			return b.dataverse(http.MethodPost, "msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple", `{"Targets":[`+body[1:]+`]}`).status
		}
		require.Equal(t, http.StatusNoContent, bulk("Weight"))
		once := b.page("/_sandbox/rows")
		require.Contains(t, once, ">once</td>")
		require.Contains(t, once, "&lt;7&gt;")
		require.Contains(t, once, "<th>msx_unit</th>")

		require.Equal(t, http.StatusNoContent, bulk("Weight", "Height"))
		require.Equal(t, http.StatusPreconditionFailed, bulk("Depth", "Weight", "weight"), "a write that is undone is none")
		patched := b.dataverse(http.MethodPatch, "msx_specifications(msx_productnumber='P-1',msx_attribute='Weight')?$select=msx_value", `{"msx_value":"8"}`, "Prefer", "return=representation")
		require.Equal(t, http.StatusOK, patched.status)
		require.NotContains(t, patched.json(t), "writes", "the count is the sandbox's own")
		weight := b.page("/_sandbox/rows?table=msx_specification&q=wEIGHT")
		require.Contains(t, weight, ">3 ×</td>")
		require.NotContains(t, weight, "Height")
		require.Contains(t, b.page("/_sandbox/rows?q=P-1&limit=1"), "1 of 2 rows")
		require.Contains(t, b.page("/_sandbox/rows?q="+patched.json(t)["msx_specificationid"].(string)), "1 of 1 rows")
		require.Contains(t, b.page("/_sandbox/rows?q=100%25"), "No row of this table")

		require.Contains(t, b.page("/_sandbox/rows?table=account&limit=1"), ">0</td>", "a row that came with the sandbox")
		account := values(t, b.dataverse(http.MethodGet, "accounts?$top=1&$select=accountid", ""))[0]["accountid"].(string)
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPatch, "accounts("+account+")", `{"name":"New"}`).status)
		require.Contains(t, b.page("/_sandbox/rows?table=account&q="+account), ">once</td>")
		require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/_sandbox/rows?table=nope", "").status)
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodGet, "/_sandbox/rows?limit=0", "").status)
	})
}

func TestRowsOfAnOlderSandboxStayAndAreNotCounted(t *testing.T) {
	t.Parallel()
	url := storetest.Empty(t)
	first := recorded(t, sandbox.Options{DatabaseURL: url})
	require.Equal(t, http.StatusNoContent, first.dataverse(http.MethodPatch, upsertOne, `{"msx_value":"1"}`).status)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "ALTER TABLE dataverse.msx_specification DROP COLUMN writes")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	second := recorded(t, sandbox.Options{DatabaseURL: url})
	second.token = first.token
	require.Equal(t, http.StatusNoContent, second.dataverse(http.MethodPatch, upsertOne, `{"msx_value":"2"}`).status)
	require.Contains(t, second.page("/_sandbox/rows"), ">not known</td>")
}

func TestIndexPageNamesWhatANewcomerNeeds(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	for range 52 {
		b.dataverse(http.MethodGet, filter("contacts", "contains(lastname,'x & y')")+"&$top=1", "")
	}
	page := b.page("/_sandbox/", "Referer", "http://console.example:8080/")
	require.Contains(t, page, "<code>AS54888</code>")
	require.Contains(t, page, "curl -X PUT "+b.url+"/_sandbox/faults/dataverse")
	require.Contains(t, page, "<code>has_more_lies</code>")
	require.Contains(t, page, "$filter=contains(lastname,&#39;x &amp; y&#39;)", "addresses are shown decoded")
	require.Contains(t, page, `<a href="http://console.example:8080/">← Back</a>`)
	require.NotContains(t, b.page("/_sandbox/", "Referer", b.url+"/_sandbox/rows"), "← Back")
	require.NotContains(t, b.page("/_sandbox/", "Referer", "javascript:alert(1)"), "javascript:")
	require.Contains(t, page, "More calls")
	require.NotContains(t, b.page("/_sandbox/calls?system=dataverse"), "More calls")
	require.Contains(t, b.page("/_sandbox/calls?system=dataverse&limit=5"), "limit=10")
	require.Contains(t, b.page("/_sandbox/calls?system=oracle"), "None yet.")
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/_sandbox/calls?system=nope", "").status)
}

func TestControlsAreRefusedInWords(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for body, want := range map[string]string{
		`{"status":"x"}`:                      `the fault cannot be read: status is a whole number from 300 to 599, not "x"`,
		`{"status":500.5}`:                    `the fault cannot be read: status is a whole number from 300 to 599, not 500.5`,
		`{"stats":500}`:                       `the fault cannot be read: it has no field "stats"; there are status, retry_after, drop_after_commit, latency_ms, body, has_more_lies, repeat_page, foreign_page, expire_tokens, truncate, model, document, webhook, method, path, match, count, rate`,
		`status=500`:                          `the fault cannot be read: it is one JSON object, such as {"status": 503, "count": 1}, or an array of them`,
		`[{"status":500},{"status":200}]`:     `rule 2: status: 200 is not between 300 and 599`,
		`[{"status":500},{"stats":1}]`:        `rule 2: the fault cannot be read: it has no field "stats"; there are status, retry_after, drop_after_commit, latency_ms, body, has_more_lies, repeat_page, foreign_page, expire_tokens, truncate, model, document, webhook, method, path, match, count, rate`,
		`[]`:                                  `the fault cannot be read: several are a JSON array of 1 to 100 objects; DELETE clears`,
		`[{"status":500}`:                     `the fault cannot be read: several are a JSON array of 1 to 100 objects; DELETE clears`,
		`{"status":200,"count":-1}`:           `status: 200 is not between 300 and 599; count: -1 is below 0`,
		`{"has_more_lies":true,"status":503}`: `has_more_lies: shorter pages are for oracle and sap`,
	} {
		require.Equal(t, want, b.do(http.MethodPut, "/_sandbox/faults/login", body).json(t)["error"], body)
	}
	require.Equal(t, `there is no system "nope"; the sandbox has oracle, sap, dataverse, ibm, maersk, graph, model, bureau, login, dataverse-de, dataverse-fr, dataverse-ch, mail`, b.do(http.MethodGet, "/_sandbox/faults/nope", "").json(t)["error"])
	unknown := b.do(http.MethodPost, "/_sandbox/faults/oracle", "{}")
	require.Equal(t, http.StatusNotFound, unknown.status)
	require.Equal(t, "there is no control POST /_sandbox/faults/oracle", unknown.json(t)["error"])
	require.Contains(t, unknown.json(t)["controls"], "PUT /_sandbox/faults/{system}: set the fault of a system, or several as an array")
}

func TestPagesThatLieAboutMoreStillHoldEveryRowOnce(t *testing.T) {
	t.Parallel()
	b := recorded(t, sandbox.Options{})
	b.fault("oracle", `{"has_more_lies":true}`)
	first := b.oracle(http.MethodGet, "itemsV2?fields=ItemNumber&onlyData=true&limit=100&orderBy=ItemNumber", "")
	require.Len(t, items(t, first), 50, "shorter than the limit")
	seen := map[string]bool{}
	offset, full := 0, true
	for full {
		r := b.oracle(http.MethodGet, fmt.Sprintf("itemsV2?fields=ItemNumber&onlyData=true&limit=400&orderBy=ItemNumber&offset=%d", offset), "")
		list := items(t, r)
		for _, x := range list {
			require.False(t, seen[x["ItemNumber"].(string)])
			seen[x["ItemNumber"].(string)] = true
		}
		offset, full = offset+len(list), len(list) > 0
		require.Equal(t, full, r.json(t)["hasMore"], "also on the last page that has rows")
	}
	require.Len(t, seen, products)
	require.Equal(t, "has_more", b.calls("oracle", 0)[0].Fault)
}
