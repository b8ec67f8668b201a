package dataverse_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
)

// defined returns a connector to an environment that answers metadata with what
// stands for the beginning of the address below the Web API.
func defined(t *testing.T, answers map[string]string) *dataverse.Dataverse {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		below := strings.TrimPrefix(r.URL.Path, "/api/data/v9.2/")
		answer, ok := answers[below]
		if !ok {
			t.Errorf("asked for %s", below)
		}
		if below == "EntityDefinitions" && r.URL.Query().Get("$filter") != "EntitySetName eq 'accounts'" {
			t.Errorf("filtered by %s", r.URL.Query().Get("$filter"))
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	v, err := dataverse.New(connector.Config{Name: "crm", System: dataverse.System, URL: s.URL, Tables: map[string]connector.Table{"account": {Path: "accounts"}}},
		connector.Deps{Client: s.Client()})
	require.NoError(t, err)
	return v
}

const ofAccount = "EntityDefinitions(LogicalName='account')/Attributes/Microsoft.Dynamics.CRM."

func TestATableIsDescribedAsTheWebAPINamesIt(t *testing.T) {
	t.Parallel()
	got, err := defined(t, map[string]string{
		"EntityDefinitions": `{"value":[{"LogicalName":"account","PrimaryIdAttribute":"accountid","Attributes":[
			{"LogicalName":"accountid","AttributeType":"Uniqueidentifier","RequiredLevel":{"Value":"SystemRequired"}},
			{"LogicalName":"name","AttributeType":"String","RequiredLevel":{"Value":"None"}},
			{"LogicalName":"primarycontactid","AttributeType":"Lookup","RequiredLevel":{"Value":"None"}},
			{"LogicalName":"revenue","AttributeType":"Money","RequiredLevel":{"Value":"Recommended"}},
			{"LogicalName":"statuscode","AttributeType":"Status","RequiredLevel":{"Value":"None"}},
			{"LogicalName":"msx_since","AttributeType":"DateTime","RequiredLevel":{"Value":"None"}},
			{"LogicalName":"modifiedon","AttributeType":"DateTime","RequiredLevel":{"Value":"None"}},
			{"LogicalName":"entityimage","AttributeType":"Virtual","RequiredLevel":{"Value":"None"}}],
			"Keys":[{"KeyAttributes":["accountnumber"],"EntityKeyIndexStatus":"Active"},{"KeyAttributes":["name"],"EntityKeyIndexStatus":"Failed"}]}]}`,
		ofAccount + "StringAttributeMetadata":   `{"value":[{"LogicalName":"name","MaxLength":160}]}`,
		ofAccount + "MemoAttributeMetadata":     `{"value":[]}`,
		ofAccount + "DateTimeAttributeMetadata": `{"value":[{"LogicalName":"msx_since","Format":"DateOnly"},{"LogicalName":"modifiedon","Format":"DateAndTime"}]}`,
	}).Describe(t.Context(), "account")
	require.NoError(t, err)
	require.Equal(t, connector.Description{
		Keys: [][]string{{"accountid"}, {"accountnumber"}}, // a key whose index failed is none
		Columns: []connector.Described{
			{Name: "accountid", Type: "string"}, {Name: "name", Type: "string", Nullable: true, Length: 160}, {Name: "_primarycontactid_value", Type: "string", Nullable: true},
			{Name: "revenue", Type: "decimal", Nullable: true}, {Name: "statuscode", Type: "int", Nullable: true},
			{Name: "msx_since", Type: "date", Nullable: true}, {Name: "modifiedon", Type: "timestamp", Nullable: true},
		},
	}, got)
}

func TestATableThatDataverseDoesNotHaveIsNoEmptyOne(t *testing.T) {
	t.Parallel()
	_, err := defined(t, map[string]string{"EntityDefinitions": `{"value":[]}`}).Describe(t.Context(), "account")
	require.Equal(t, "dataverse.unknown_resource", fault.Of(err).Code)
	_, err = defined(t, map[string]string{"EntityDefinitions": `{"value":[{"LogicalName":"account"}]}`}).Describe(t.Context(), "account")
	require.Equal(t, "vendor.malformed", fault.Of(err).Code)
}
