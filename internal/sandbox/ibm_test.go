package sandbox_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const ibmPath = "/ibm/content-services-graphql"

// graphql asks the object store; variables is JSON.
func (b *bundle) graphql(query, variables string, head ...string) reply {
	b.t.Helper()
	text, err := json.Marshal(query)
	require.NoError(b.t, err)
	return b.do(http.MethodPost, ibmPath+"/graphql", `{"query":`+string(text)+`,"variables":`+variables+`}`,
		append([]string{"ECM-CS-XSRF-Token", "a-b", "Cookie", "ECM-CS-XSRF-Token=a-b"}, head...)...)
}

// answer decodes data into one of the shapes of a search.
type found struct {
	Data struct {
		Documents, MoreDocuments struct {
			Documents []map[string]any
			PageInfo  struct {
				Token      *string
				TotalCount *int
			}
		}
	}
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
}

func search(t *testing.T, r reply) found {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, string(r.body))
	var f found
	require.NoError(t, json.Unmarshal(r.body, &f), string(r.body))
	return f
}

const searching = `query($w:String,$o:String,$n:Int,$c:String,$f:String){documents(repositoryIdentifier:"OS1",from:$f,where:$w,orderBy:$o,pageSize:$n,options:$c)` +
	`{documents{id name className isCurrentVersion updateSequenceNumber properties(includes:["CustomerNumber","Amount"]){id type cardinality value ... on FloatProperty{floatValue}}}pageInfo{token totalCount}}}`

func TestDocumentsAreFoundByClassAndProperties(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		f := search(t, b.graphql(searching, `{"f":"FinancialDocument d","w":"d.[CustomerNumber] = 'ACC-00001' AND d.[IsCurrentVersion] = True","c":"COUNT_LIMIT 100"}`))
		require.Empty(t, f.Errors)
		require.NotEmpty(t, f.Data.Documents.Documents)
		require.Len(t, f.Data.Documents.Documents, *f.Data.Documents.PageInfo.TotalCount)
		for _, d := range f.Data.Documents.Documents {
			require.Equal(t, "FinancialDocument", d["className"])
		}
		limited := search(t, b.graphql(searching, `{"f":"Document","n":1,"c":"COUNT_LIMIT 5"}`))
		require.Equal(t, -5, *limited.Data.Documents.PageInfo.TotalCount, "above the limit it is negative")

		all := search(t, b.graphql(searching, `{"f":"Document d","w":"d.CustomerNumber IN ('ACC-00005') and not (d.DocumentTitle like 'INV-%')","n":1000}`))
		current := search(t, b.graphql(searching, `{"f":"Document d","w":"d.CustomerNumber IN ('ACC-00005') and not (d.DocumentTitle like 'INV-%') and IsCurrentVersion = true","n":1000}`))
		require.Len(t, all.Data.Documents.Documents, len(current.Data.Documents.Documents)+1, "without the condition older versions come, too")

		for where, wants := range map[string]string{
			"d.[NoSuch] = 1":                       "NoSuch is not a property",
			"d.[Amount] = 'x'":                     "cannot be compared",
			"d.[Amount] = ":                        "ends where more",
			"(d.[Amount] = 1":                      "ends where more",
			"d.[CustomerNumber] = 'it''s' OR":      "ends where more",
			"x.[CustomerNumber] = 'a'":             "alias x",
			"d.[CustomerNumber] = 'a'; drop table": "syntax error",
		} {
			body, err := json.Marshal(map[string]any{"f": "FinancialDocument d", "w": where})
			require.NoError(t, err)
			f := search(t, b.graphql(searching, string(body)))
			require.Len(t, f.Errors, 1, where)
			require.Contains(t, f.Errors[0].Message, wants)
			require.EqualValues(t, 400, f.Errors[0].Extensions["statusCode"])
			require.Equal(t, []any{"documents"}, f.Errors[0].Path)
		}
	})
}

func TestPagesOfDocumentsMissNothingThatStaysAsItWas(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		seen := map[string]int{}
		f := search(t, b.graphql(searching, `{"f":"CustomerDocument d","o":"d.[DateLastModified], d.[Id]","n":100,"c":"COUNT_LIMIT 100000"}`))
		total := *f.Data.Documents.PageInfo.TotalCount
		page := f.Data.Documents
		changed := page.Documents[50]["id"].(string)
		for {
			for _, d := range page.Documents {
				seen[d["id"].(string)]++
			}
			if page.PageInfo.Token == nil {
				break
			}
			if len(seen) == 100 { // what was read already moves to the end, and everything behind it one place up
				done := b.graphql(`mutation($i:String!){updateDocument(repositoryIdentifier:"OS1",identifier:$i,updateSequenceNumber:1,documentProperties:{properties:[{DocumentType:"CLAIM"}]}){updateSequenceNumber}}`, `{"i":"`+changed+`"}`)
				require.JSONEq(t, `{"data":{"updateDocument":{"updateSequenceNumber":2}}}`, string(done.body))
			}
			more := search(t, b.graphql(`query($t:String!){moreDocuments(token:$t){documents{id}pageInfo{token}}}`, `{"t":"`+*page.PageInfo.Token+`"}`))
			require.Empty(t, more.Errors)
			page = more.Data.MoreDocuments
		}
		require.Len(t, seen, total)
		require.Equal(t, 2, seen[changed])
		stale := search(t, b.graphql(`query{moreDocuments(token:"made-up"){documents{id}}}`, `{}`))
		require.Contains(t, stale.Errors[0].Message, "continuation token")
	})
}

func TestAnUnknownTokenOfAPageIsRefused(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	f := search(t, b.graphql(searching, `{"f":"Document","n":1}`))
	b.fault("ibm", `{"expire_tokens":true,"count":1}`)
	again := `{"t":"` + *f.Data.Documents.PageInfo.Token + `"}`
	const more = `query($t:String!){moreDocuments(token:$t){documents{id}pageInfo{token}}}`
	require.Len(t, search(t, b.graphql(more, again)).Errors, 1)
	require.Empty(t, search(t, b.graphql(more, again)).Errors)
}

func TestAQueryThatTheSchemaDoesNotHoldIsAnErrorInASuccess(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for query, wants := range map[string]string{
		`{documents(repositoryIdentifier:"OS1"){documents{nosuch}}}`:                           "nosuch",
		`query($n:String){documents(repositoryIdentifier:"OS1",pageSize:$n){pageInfo{token}}}`: "$n",
		`{documents{pageInfo{token}}}`:                                                         "repositoryIdentifier",
		`{`:                                                                                    "Validation error",
	} {
		f := search(t, b.graphql(query, `{}`))
		require.NotEmpty(t, f.Errors, query)
		require.Contains(t, f.Errors[0].Message, wants)
		require.Equal(t, "ValidationError", f.Errors[0].Extensions["classification"])
	}
	f := search(t, b.graphql(`{documents(repositoryIdentifier:"OS2"){documents{id}}}`, `{}`))
	require.EqualValues(t, 404, f.Errors[0].Extensions["statusCode"])
}

func TestWhoSignsInWithoutTheCookieIsRefused(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	require.Equal(t, http.StatusForbidden, b.graphql(`{__typename}`, `{}`, "Cookie", "ECM-CS-XSRF-Token=other").status)
	require.Equal(t, http.StatusUnauthorized, b.graphql(`{__typename}`, `{}`, "Authorization", "Bearer x").status)
	require.Equal(t, http.StatusOK, b.do(http.MethodGet, ibmPath+"/ping", "").status)
	require.Equal(t, http.StatusUnsupportedMediaType, b.graphql(`{__typename}`, `{}`, "Content-Type", "text/plain").status)
}

func TestADocumentIsMadeChangedUnderItsNumberReadAndDeleted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const id = "{11111111-2222-4333-8444-555555555555}"
		const create = `mutation($i:ID!){createDocument(repositoryIdentifier:"OS1",classIdentifier:"FinancialDocument",id:$i,documentProperties:{name:"INV-1",properties:[{CustomerNumber:"ACC-00007"},{Amount:12.5},{FiscalYear:2026}]},checkinAction:{}){id versionStatus properties(includes:["Amount","FiscalYear"]){id value}}}`
		made := b.graphql(create, `{"i":"`+id+`"}`)
		require.JSONEq(t, `{"data":{"createDocument":{"id":"`+id+`","versionStatus":"RELEASED","properties":[{"id":"FiscalYear","value":2026},{"id":"Amount","value":12.5}]}}}`, string(made.body))
		require.EqualValues(t, 409, search(t, b.graphql(create, `{"i":"`+id+`"}`)).Errors[0].Extensions["statusCode"])

		const update = `mutation($i:String!,$n:Int,$p:[PropertyIdentifierAndScalarValue!]){updateDocument(repositoryIdentifier:"OS1",identifier:$i,updateSequenceNumber:$n,documentProperties:{properties:$p}){updateSequenceNumber}}`
		require.EqualValues(t, 409, search(t, b.graphql(update, `{"i":"`+id+`","n":7,"p":[{"Currency":"EUR"}]}`)).Errors[0].Extensions["statusCode"])
		require.Contains(t, search(t, b.graphql(update, `{"i":"`+id+`","p":[{"Currency":"EURO"}]}`)).Errors[0].Message, "longer than 3")
		require.Contains(t, search(t, b.graphql(update, `{"i":"`+id+`","p":[{"Creator":"x"}]}`)).Errors[0].Message, "read-only")
		require.JSONEq(t, `{"data":{"updateDocument":{"updateSequenceNumber":2}}}`, string(b.graphql(update, `{"i":"`+id+`","n":1,"p":[{"Currency":"EUR"}]}`).body))

		const read = `query($i:String!){document(repositoryIdentifier:"OS1",identifier:$i){name currentVersion{id}contentElements{contentType}}}`
		require.JSONEq(t, `{"data":{"document":{"name":"INV-1","currentVersion":{"id":"`+id+`"},"contentElements":[]}}}`, string(b.graphql(read, `{"i":"`+strings.ToLower(id)+`"}`).body))
		require.Equal(t, http.StatusOK, b.graphql(`mutation{deleteDocument(repositoryIdentifier:"OS1",identifier:"`+id+`"){id}}`, `{}`).status)
		require.EqualValues(t, 404, search(t, b.graphql(read, `{"i":"`+id+`"}`)).Errors[0].Extensions["statusCode"])
	})
}

func TestTheContentOfADocumentIsWhereItSays(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	var body struct {
		Data struct {
			Documents struct {
				Documents []struct {
					ContentElements []struct {
						ContentSize float64
						DownloadURL string
					}
				}
			}
		}
	}
	r := b.graphql(`{documents(repositoryIdentifier:"OS1",pageSize:1){documents{contentElements{... on ContentTransfer{contentSize downloadUrl}}}}}`, `{}`)
	require.NoError(t, json.Unmarshal(r.body, &body), string(r.body))
	e := body.Data.Documents.Documents[0].ContentElements[0]
	got := b.do(http.MethodGet, ibmPath+e.DownloadURL, "", "ECM-CS-XSRF-Token", "a", "Cookie", "ECM-CS-XSRF-Token=a")
	require.Equal(t, http.StatusOK, got.status)
	require.Len(t, got.body, int(e.ContentSize))
}

func TestTheSchemaIsIntrospected(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	r := b.graphql(`{__schema{queryType{name}mutationType{name}types{kind name fields(includeDeprecated:true){name args{name type{kind name ofType{name}}}}interfaces{name}possibleTypes{name}enumValues{name}}directives{name}}__type(name:"Document"){possibleTypes{name}}}`, `{}`)
	require.Contains(t, string(r.body), `"possibleTypes":[{"name":"DocumentType"}]`)
	class := b.graphql(`{classDescription(repositoryIdentifier:"OS1",identifier:"FinancialDocument"){superClassDescription{symbolicName}propertyDescriptions{symbolicName dataType ... on PropertyDescriptionString{maximumLengthString}}}}`, `{}`)
	require.Contains(t, string(class.body), `{"symbolicName":"Amount","dataType":"DOUBLE"}`)
	require.Contains(t, string(class.body), `{"symbolicName":"Currency","dataType":"STRING","maximumLengthString":3}`)
}
