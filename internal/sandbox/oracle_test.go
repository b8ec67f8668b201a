package sandbox_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func items(t *testing.T, r reply) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	var body struct {
		Items []map[string]any `json:"items"`
	}
	require.NoError(t, json.Unmarshal(r.body, &body))
	return body.Items
}

// selfOf is the address that the links of a row give.
func selfOf(t *testing.T, row map[string]any) string {
	t.Helper()
	for _, l := range row["links"].([]any) {
		link := l.(map[string]any)
		if link["rel"] == "self" {
			return link["href"].(string)
		}
	}
	t.Fatal("no self link")
	return ""
}

func q(text string) string { return "?q=" + url.QueryEscape(text) }

func TestItemIsCreatedChangedAndDeletedUnderItsETag(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		v4 := []string{"REST-Framework-Version", "4"}
		made := b.oracle(http.MethodPost, "itemsV2", `{"OrganizationCode":"V1","ItemNumber":"ABC_988","ItemDescription":"VDU","ItemClass":"Electronics"}`)
		require.Equal(t, http.StatusCreated, made.status, string(made.body))
		self, tag := made.header.Get("Location"), made.header.Get("ETag")
		require.Equal(t, self, selfOf(t, made.json(t)))

		again := b.oracle(http.MethodPost, "itemsV2", `{"OrganizationCode":"V1","ItemNumber":"ABC_988","ItemClass":"Electronics"}`)
		require.Equal(t, http.StatusBadRequest, again.status)
		upsert := b.oracle(http.MethodPost, "itemsV2", `{"OrganizationCode":"V1","ItemNumber":"ABC_988","ItemDescription":"Screen"}`, "Upsert-Mode", "true")
		require.Equal(t, http.StatusOK, upsert.status, string(upsert.body))
		require.Equal(t, "Screen", upsert.json(t)["ItemDescription"])

		stale := b.do(http.MethodPatch, self, `{"ItemDescription":"Old"}`, append(v4, "If-Match", tag)...)
		require.Equal(t, http.StatusPreconditionFailed, stale.status)
		require.Equal(t, upsert.header.Get("ETag"), stale.header.Get("ETag"), "412 carries the current tag")
		require.Equal(t, "Screen", stale.json(t)["ItemDescription"], "412 carries the current state")
		current := b.do(http.MethodGet, self, "", append(v4, "If-None-Match", upsert.header.Get("ETag"))...)
		require.Equal(t, http.StatusNotModified, current.status)
		fresh := b.do(http.MethodPost, self, `{"ItemDescription":"New"}`, append(v4, "If-Match", stale.header.Get("ETag"), "X-HTTP-Method-Override", "PATCH")...)
		require.Equal(t, http.StatusOK, fresh.status, string(fresh.body))

		require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, self, "", v4...).status)
		require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, self, "", v4...).status)
		require.Empty(t, items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemNumber='ABC_988'"), "")))
	})
}

func TestMissingUnknownAndTooLongAttributesAreNamed(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for body, wants := range map[string]string{
		`{"OrganizationCode":"V1","ItemClass":"X"}`:                                                 "Attribute ItemNumber in itemsV2 is required",
		`{"OrganizationCode":"V9","ItemNumber":"A","ItemClass":"X"}`:                                "value V9 of the attribute OrganizationCode",
		`{"OrganizationCode":"V1","ItemNumber":"A","ItemClass":"X","Nope":1}`:                       "Nope",
		`{"OrganizationCode":"V1","ItemNumber":1,"ItemClass":"X"}`:                                  "type string",
		`{"OrganizationCode":"V1","ItemNumber":"` + strings.Repeat("x", 301) + `","ItemClass":"X"}`: "longer than 300",
		`[1]`: "not a valid JSON object",
	} {
		r := b.oracle(http.MethodPost, "itemsV2", body)
		require.Equal(t, http.StatusBadRequest, r.status, body)
		details := r.json(t)["o:errorDetails"].([]any)
		require.Contains(t, details[0].(map[string]any)["detail"], wants, body)
		old := b.do(http.MethodPost, oraclePath+"itemsV2", body, "REST-Framework-Version", "3")
		require.Equal(t, "text/plain;charset=UTF-8", old.header.Get("Content-Type"))
	}
	require.Equal(t, http.StatusUnsupportedMediaType, b.oracle(http.MethodPost, "itemsV2", "x", "Content-Type", "text/plain").status)
	require.Equal(t, http.StatusNotAcceptable, b.oracle(http.MethodGet, "itemsV2", "", "Accept", "text/xml").status)
}

func TestSpecificationsAreWrittenThroughTheirOwnAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		item := items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemNumber='AS54888'")+"&expand=ItemEffCategory.ItemEFFBTechnicalSpecifications_Private,ItemRevision", ""))[0]
		category := item["ItemEffCategory"].(map[string]any)["items"].([]any)[0].(map[string]any)
		lines := category["ItemEFFBTechnicalSpecifications_Private"].(map[string]any)
		require.EqualValues(t, 12, lines["count"])
		require.Equal(t, false, lines["hasMore"])
		collection := selfOf(t, category) + "/child/ItemEFFBTechnicalSpecifications_Private"

		for i := range 20 {
			r := b.do(http.MethodPost, collection, fmt.Sprintf(`{"AttributeName":"Extra %02d","AttributeValue":"%d"}`, i, i), "REST-Framework-Version", "4")
			require.Equal(t, http.StatusCreated, r.status, string(r.body))
		}
		again := items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemNumber='AS54888'")+"&expand=ItemEffCategory.ItemEFFBTechnicalSpecifications_Private", ""))[0]
		lines = again["ItemEffCategory"].(map[string]any)["items"].([]any)[0].(map[string]any)["ItemEFFBTechnicalSpecifications_Private"].(map[string]any)
		require.EqualValues(t, 25, lines["count"], "an expanded child shows its first 25 rows")
		require.Equal(t, true, lines["hasMore"])
		rest := items(t, b.do(http.MethodGet, collection+"?offset=25&onlyData=true", "", "REST-Framework-Version", "4"))
		require.Len(t, rest, 7)

		first := selfOf(t, lines["items"].([]any)[0].(map[string]any))
		r := b.do(http.MethodPatch, first, `{"AttributeValue":"10 cores"}`, "REST-Framework-Version", "4")
		require.Equal(t, "10 cores", r.json(t)["AttributeValue"])
		require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, first, "", "REST-Framework-Version", "4").status)
	})
}

func TestChildrenInsideAPayloadAreCreatedWithTheirItem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		body := `{"OrganizationCode":"V1","ItemNumber":"NEST-1","ItemClass":"Root Item Class","ItemEffCategory":[{"CategoryCode":"ROOT_ICC",
			"ItemEFFBTechnicalSpecifications_Private":[{"AttributeName":"Weight","AttributeValue":"2","UnitOfMeasure":"kg"}]}]}`
		made := b.oracle(http.MethodPost, "itemsV2?expand=ItemEffCategory.ItemEFFBTechnicalSpecifications_Private", body)
		require.Equal(t, http.StatusCreated, made.status, string(made.body))
		require.Contains(t, string(made.body), `"AttributeName":"Weight","AttributeValue":"2","UnitOfMeasure":"kg"`)
		found := items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemEffCategory.ItemEFFBTechnicalSpecifications_Private.AttributeName = 'Weight' and ItemNumber like 'NEST*'")+"&fields=ItemNumber", ""))
		require.Len(t, found, 1, "an attribute of a child can be searched")
	})
}

func TestAttachmentGoesInAsBase64AndComesOutAsBytes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		item := items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemNumber='AS54888'"), ""))[0]
		pdf := []byte("%PDF-1.7 \x00\x01 spec")
		body := `{"DatatypeCode":"FILE","FileName":"spec.pdf","UploadedFileContentType":"application/pdf","FileContents":"` + base64.StdEncoding.EncodeToString(pdf) + `","Title":"Spec","CategoryName":"MISC"}`
		made := b.do(http.MethodPost, selfOf(t, item)+"/child/ItemAttachment", body, "REST-Framework-Version", "4", "Content-Type", "application/vnd.oracle.adf.resourceitem+json")
		require.Equal(t, http.StatusCreated, made.status, string(made.body))
		require.NotContains(t, made.json(t), "FileContents", "the bytes have an address of their own")
		file := b.do(http.MethodGet, selfOf(t, made.json(t))+"/enclosure/FileContents", "")
		require.Equal(t, "application/pdf", file.header.Get("Content-Type"))
		require.Equal(t, pdf, file.body)
		list := b.do(http.MethodGet, selfOf(t, item)+"/child/ItemAttachment", "", "REST-Framework-Version", "4")
		require.NotContains(t, string(list.body), base64.StdEncoding.EncodeToString(pdf))
		require.Contains(t, string(list.body), `"rel":"enclosure"`)
	})
}

func TestBatchIsAppliedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		send := func(body string) reply {
			return b.do(http.MethodPost, strings.TrimSuffix(oraclePath, "/"), body, "REST-Framework-Version", "4", "Content-Type", "application/vnd.oracle.adf.batch+json")
		}
		create := `{"id":"part1","path":"/itemsV2","operation":"create","payload":{"OrganizationCode":"V1","ItemNumber":"BATCH-1","ItemClass":"X"}}`
		refused := send(`{"parts":[` + create + `,{"id":"part2","path":"/itemsV2","operation":"create","payload":{"OrganizationCode":"V1","ItemClass":"X"}}]}`)
		require.Equal(t, http.StatusBadRequest, refused.status)
		parts := refused.json(t)["parts"].([]any)
		require.Len(t, parts, 1, "only the part that failed is listed")
		require.Equal(t, "part2", parts[0].(map[string]any)["id"])
		require.Empty(t, items(t, b.oracle(http.MethodGet, "itemsV2"+q("ItemNumber='BATCH-1'"), "")))

		done := send(`{"parts":[` + create + `,{"id":"part2","path":"/itemsV2","operation":"upsert","payload":{"OrganizationCode":"V1","ItemNumber":"BATCH-1","ItemDescription":"twice"}},
			{"id":"part3","path":"/itemsV2?q=ItemNumber='BATCH-1'","operation":"get"}]}`)
		require.Equal(t, http.StatusOK, done.status, string(done.body))
		parts = done.json(t)["parts"].([]any)
		require.Len(t, parts, 3)
		require.Equal(t, "1", parts[2].(map[string]any)["payload"].(map[string]any)["count"].(json.Number).String())
	})
}

func TestQuerySyntaxGoesByFrameworkVersion(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		one := func(version, query string) int {
			r := b.do(http.MethodGet, oraclePath+"itemsV2"+query+"&onlyData=true&fields=ItemNumber", "", "REST-Framework-Version", version)
			if r.status != http.StatusOK {
				return -r.status
			}
			return len(items(t, r))
		}
		require.Equal(t, 1, one("1", "?q=OrganizationCode=V1;ItemNumber=AS54888"))
		require.Equal(t, 1, one("1", "?q=ItemNumber='AS548*'"))
		require.Equal(t, -400, one("4", "?q=OrganizationCode='V1';ItemNumber='AS54888'"), "the semicolon is version 1's")
		for _, text := range []string{
			"ItemNumber = 'AS54888'", "ItemNumber like 'AS5%'", "ItemNumber like 'AS5*8'", "ItemNumber in ('AS54888', 'nope')", "ItemId = 300000001234567",
			"ItemId between 300000001234567 and 300000001234567", "(ItemNumber='AS54888' or ItemNumber='x') and OrganizationId = 204", "upper(ItemDescription) = 'LAPTOP' and ItemNumber<>'x' and ItemNumber='AS54888'",
			"LongDescription is null and ItemNumber='AS54888'", "not (LongDescription is not null) and ItemNumber='AS54888'", "LastUpdateDateTime = '2026-01-15T09:30:00+00:00' and ItemNumber = 'AS54888'",
			"LastUpdateDateTime > '2026-01-15T10:29:00+01:00' and LastUpdateDateTime < '2026-01-15T09:31:00Z' and ItemNumber like 'AS%'",
		} {
			require.Equal(t, 1, one("4", q(text)), text)
		}
		for _, text := range []string{"ItemNumber", "ItemNumber =", "= 'x'", "ItemNumber = 'x", "(ItemNumber = 'x'", "ItemNumber = 'x' and", "Nope = 1", "ItemId = 'x'", "ItemNumber is nul", "ItemNumber ~ 'x'", strings.Repeat("(", 99)} {
			require.Equal(t, -400, one("4", q(text)), text)
		}
		require.Equal(t, 1, one("4", "?finder=PrimaryKey;ItemId=300000001234567,OrganizationId=204"))
		require.Equal(t, -400, one("4", "?finder=Nope;ItemId=1"))
	})
}

func TestPagesInAUniqueOrderCoverEverythingOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		seen := map[string]bool{}
		for offset := 0; ; {
			r := b.oracle(http.MethodGet, fmt.Sprintf("itemsV2?fields=ItemNumber&onlyData=true&limit=300&totalResults=true&orderBy=ItemNumber:desc&offset=%d", offset), "")
			list := items(t, r)
			for _, x := range list {
				require.False(t, seen[x["ItemNumber"].(string)])
				seen[x["ItemNumber"].(string)] = true
			}
			body := r.json(t)
			require.Equal(t, json.Number(fmt.Sprint(products)), body["totalResults"])
			if offset += len(list); body["hasMore"] == false {
				break
			}
		}
		require.Len(t, seen, products)
	})
}

func TestUserWithoutRolesFindsEmptyCollectionsNotAnError(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	b.token = b.signIn("stranger")
	require.Empty(t, items(t, b.oracle(http.MethodGet, "itemsV2", "")))
	require.Equal(t, http.StatusForbidden, b.do(http.MethodGet, dataversePath+"WhoAmI", "").status, "in Dataverse a stranger is told so")
}

func TestBasicAndTheIdentityDomainsTokenAreAccepted(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("patchbay:sandbox-secret"))
	require.Equal(t, http.StatusOK, b.oracle(http.MethodGet, "itemsV2?limit=1", "", "Authorization", basic).status)
	wrong := "Basic " + base64.StdEncoding.EncodeToString([]byte("patchbay:wrong"))
	require.Equal(t, http.StatusUnauthorized, b.oracle(http.MethodGet, "itemsV2?limit=1", "", "Authorization", wrong).status)
	token := b.do(http.MethodPost, "/oracle/oauth2/v1/token", "grant_type=client_credentials&scope=urn%3Aopc", "Authorization", basic, "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, http.StatusOK, token.status, string(token.body))
	require.Equal(t, http.StatusOK, b.oracle(http.MethodGet, "itemsV2?limit=1", "", "Authorization", "Bearer "+token.json(t)["access_token"].(string)).status)
}

func TestStockAtCustomersIsKeptUnderTheirNumbers(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	got := items(t, b.oracle(http.MethodGet, "inventoryOnhandBalances"+q("SummaryLevel='Subinventory' and OrganizationCode='M1' and SubinventoryCode='ACC-00007'"), ""))
	require.Len(t, got, 3)
	products := map[string]bool{}
	for _, row := range got {
		products[row["ItemNumber"].(string)] = true
	}
	require.Len(t, products, 3, "an item of a customer is one row")
}

func TestOnhandBalancesNeedTheirGrain(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	require.Equal(t, http.StatusBadRequest, b.oracle(http.MethodGet, "inventoryOnhandBalances"+q("ItemNumber='AS54888'"), "").status)
	whole := items(t, b.oracle(http.MethodGet, "inventoryOnhandBalances"+q("ItemNumber='AS54888' and SummaryLevel='Organization'"), ""))
	parts := items(t, b.oracle(http.MethodGet, "inventoryOnhandBalances"+q("ItemNumber='AS54888' and SummaryLevel='Subinventory'"), ""))
	require.Len(t, whole, 1)
	require.Len(t, parts, 2)
	require.EqualValues(t, whole[0]["PrimaryQuantity"], parts[0]["PrimaryQuantity"].(float64)+parts[1]["PrimaryQuantity"].(float64))
	require.Equal(t, http.StatusBadRequest, b.oracle(http.MethodPost, "inventoryOnhandBalances", "{}").status)
}
