package dataverse_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
)

const record = "0A0A0A0A-0000-4000-8000-000000000001"

var recordColumn = strings.ToLower(record)

func receiver(t testing.TB, columns ...string) *dataverse.Dataverse {
	t.Helper()
	v, err := dataverse.New(connector.Config{
		Name: "crm", URL: "https://crm.example", Hook: connector.Hook{Scheme: "none"}, Options: map[string]string{"date_only": "birthdate, validto"},
		Tables: map[string]connector.Table{"contact": {Path: "contacts", Columns: columns}},
	}, connector.Deps{})
	require.NoError(t, err)
	return v
}

const contracts = `:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts`

// context is a RemoteExecutionContext; more stands before its end.
func context(message, target, more string) string {
	parameters := ""
	if target != "" {
		parameters = `,"InputParameters":[{"key":"Other","value":1},{"key":"Target","value":` + target + `}]`
	}
	return fmt.Sprintf(`{"MessageName":%q,"PrimaryEntityName":"contact","PrimaryEntityId":%q,"OperationId":"5f0a7c4e-0000-4000-8000-000000000002","OperationCreatedOn":"\/Date(1767225600000-0000)\/","NewerField":[{"x":1}]%s%s}`,
		message, record, parameters, more)
}

func entity(attributes string) string {
	return `{"__type":"Entity` + contracts + `","Attributes":[` + attributes + `],"Id":"` + record + `","LogicalName":"contact","RowVersion":null}`
}

func tell(t testing.TB, v *dataverse.Dataverse, body string, head ...string) connector.Event {
	t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(head); i += 2 {
		h.Set(head[i], head[i+1])
	}
	got, err := v.Receive(t.Context(), connector.Delivery{Header: h, Body: []byte(body), At: time.Unix(1, 0)})
	require.NoError(t, err)
	require.Len(t, got, 1)
	return got[0]
}

func TestValuesAreReadAsTheWebAPIWritesThem(t *testing.T) {
	t.Parallel()
	typed := func(kind, value string) string { return `{"__type":"` + kind + contracts + `","Value":` + value + `}` }
	reference := `{"__type":"EntityReference` + contracts + `","Id":"` + record + `","LogicalName":"account","KeyAttributes":[],"Name":null,"RowVersion":null}`
	for name, c := range map[string]struct {
		value, column string
		want          any
	}{
		"text":                  {`"x"`, "f", "x"},
		"yes":                   {`true`, "f", true},
		"choice":                {typed("OptionSetValue", "3"), "f", json.Number("3")},
		"money, exact":          {typed("Money", "922337203685477.5807"), "f", json.Number("922337203685477.5807")},
		"money, zeros":          {typed("Money", "12.5000"), "f", json.Number("12.5")},
		"decimal":               {`0.10`, "f", json.Number("0.1")},
		"large number":          {`9007199254740993`, "f", json.Number("9007199254740993")},
		"lookup":                {reference, "_f_value", recordColumn},
		"lookup without a type": {strings.Replace(reference, `"__type":"EntityReference`+contracts+`",`, "", 1), "_f_value", recordColumn},
		"choices":               {`[` + typed("OptionSetValue", "2") + `,` + typed("OptionSetValue", "7") + `]`, "f", "2,7"},
		"time":                  {`"\/Date(1767225600000)\/"`, "f", "2026-01-01T00:00:00Z"},
		"time with offset":      {`"\/Date(1767225600000+0200)\/"`, "f", "2026-01-01T00:00:00Z"},
		"time before 1970":      {`"\/Date(-1000)\/"`, "f", "1969-12-31T23:59:59Z"},
		"ISO with offset":       {`"2026-01-01T02:00:00+02:00"`, "f", "2026-01-01T00:00:00Z"},
		"managed property":      {`{"__type":"BooleanManagedProperty` + contracts + `","CanBeChanged":true,"Value":false}`, "f", false},
		"null of a text":        {`null`, "f", nil},
	} {
		e := tell(t, receiver(t), context("Update", entity(`{"key":"f","value":`+c.value+`}`), ""))
		value, ok := e.After[c.column]
		require.True(t, ok, name)
		require.Equal(t, c.want, value, name)
		require.Equal(t, []string{c.column}, e.Sent, name)
		require.False(t, e.Whole, "a target is what the request named")
	}
	e := tell(t, receiver(t, "_parentcustomerid_value"), context("Update", entity(`{"key":"parentcustomerid","value":null},{"key":"birthdate","value":"\/Date(0)\/"},{"key":"partylist","value":{"__type":"EntityCollection`+contracts+`","Entities":[]}}`), ""))
	require.Equal(t, connector.Row{"contactid": recordColumn, "_parentcustomerid_value": nil, "birthdate": "1970-01-01"}, e.After, "what the connection knows says that a null is of a lookup")
}

func TestImagesAreTheRecordBeforeAndAfter(t *testing.T) {
	t.Parallel()
	v := receiver(t, "firstname", "jobtitle", "telephone1")
	image := func(attributes string) string { return `[{"key":"img","value":` + entity(attributes) + `}]` }
	e := tell(t, v, context("Update", entity(`{"key":"jobtitle","value":null}`), `,"PreEntityImages":`+image(`{"key":"firstname","value":"A"},{"key":"jobtitle","value":"Buyer"}`)+
		`,"PostEntityImages":`+image(`{"key":"firstname","value":"A"},{"key":"versionnumber","value":77}`)))
	require.True(t, e.Whole)
	require.Equal(t, connector.Row{"contactid": recordColumn, "firstname": "A", "jobtitle": "Buyer", "telephone1": nil, "versionnumber": nil}, e.Before, "what an image lacks is null")
	require.Equal(t, connector.Row{"contactid": recordColumn, "firstname": "A", "jobtitle": nil, "telephone1": nil, "versionnumber": json.Number("77")}, e.After)
	require.Equal(t, int64(77), e.Version)

	gone := tell(t, v, context("Delete", `{"__type":"EntityReference`+contracts+`","Id":"`+record+`","LogicalName":"contact"}`, `,"PreEntityImages":`+image(`{"key":"firstname","value":"A"}`)))
	require.Equal(t, "delete", gone.Change)
	require.Nil(t, gone.After)
	require.Equal(t, "A", gone.Before["firstname"])
	require.False(t, gone.Trimmed)
}

func TestWhatThePlatformLeftOutHasToBeReadBack(t *testing.T) {
	t.Parallel()
	v := receiver(t)
	require.True(t, tell(t, v, context("Update", "", "")).Trimmed)
	require.True(t, tell(t, v, context("Update", entity(``), ""), "x-ms-dynamics-msg-size-exceeded", "1").Trimmed)
	require.False(t, tell(t, v, context("Create", entity(``), "")).Trimmed)
	require.False(t, tell(t, v, context("Delete", "", "")).Trimmed, "what is gone cannot be read back")
	require.Equal(t, "contactid", v.Identify("contact"))
	require.Equal(t, "activityid", v.Identify("task"))
}

func TestAnOperationHasOneIDHoweverOftenItIsTold(t *testing.T) {
	t.Parallel()
	v := receiver(t)
	body := context("Update", entity(`{"key":"a","value":1}`), "")
	first := tell(t, v, body).ID
	require.Equal(t, first, tell(t, v, body).ID)
	require.NotEqual(t, tell(t, v, body).ID, tell(t, v, strings.Replace(body, "000000000002", "000000000003", 1)).ID)
	require.Equal(t, time.UnixMilli(1767225600000).UTC(), tell(t, v, body).At)

	synchronous := strings.Replace(body, "5f0a7c4e-0000-4000-8000-000000000002", "00000000-0000-0000-0000-000000000000", 1)
	first = tell(t, v, synchronous).ID
	require.Equal(t, first, tell(t, v, synchronous).ID)
	require.NotEqual(t, tell(t, v, synchronous).ID, tell(t, v, strings.Replace(synchronous, `"value":1}]`, `"value":2}]`, 1)).ID, "two operations in one transaction are two")
}

func TestTheOriginComesFromTheOperationOrFromTheOneItIsPartOf(t *testing.T) {
	t.Parallel()
	v := receiver(t)
	tag := `"SharedVariables":[{"key":"x","value":1},{"key":"tag","value":"flow 7"}]`
	require.Equal(t, "flow 7", tell(t, v, context("Update", entity(``), ","+tag)).Origin)
	require.Equal(t, "flow 7", tell(t, v, context("Update", entity(``), `,"SharedVariables":[],"ParentContext":{"ParentContext":{`+tag+`}}`)).Origin)
	require.Empty(t, tell(t, v, context("Update", entity(``), `,"ParentContext":null`)).Origin)
}

func TestAContextThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	v := receiver(t)
	for body, code := range map[string]string{
		`[]`: "hook.body", `{}`: "hook.body", `{"MessageName":"Update","PrimaryEntityName":"contact","PrimaryEntityId":"7"}`: "hook.body",
		context("Merge", "", ""): "hook.message", `{"MessageName":"Update"`: "json.syntax", `<html>`: "hook.media",
	} {
		_, err := v.Receive(t.Context(), connector.Delivery{Header: http.Header{}, Body: []byte(body)})
		require.Equal(t, code, fault.Of(err).Code, body)
		require.Equal(t, fault.Invalid, fault.Of(err).Class)
	}
}

// A cursor that a gateway answers 410 for is as far gone as one that Dataverse names; and a cursor is no way to another address.
func TestACursorIsFollowedBelowTheWebAPIOnly(t *testing.T) {
	t.Parallel()
	status := http.StatusGone
	e := newEnvironment(t, nil, func(w http.ResponseWriter, _ asked) { w.WriteHeader(status) })
	read := func(cursor string) *fault.Fault {
		_, err := e.dataverse.ReadChanges(t.Context(), "msx_specification", []string{"msx_value"}, cursor)
		return fault.Of(err)
	}
	require.Equal(t, "connector.cursor_expired", read("since /api/data/v9.2/msx_specifications?$deltatoken=1").Code)
	status = http.StatusForbidden
	require.Equal(t, "dataverse.forbidden", read("since /api/data/v9.2/msx_specifications?$deltatoken=1").Code)
	for _, cursor := range []string{"since https://evil.example/api/data/v9.2/x", "since /other", "1.0000000000000000.//evil.example/", "x"} {
		before := len(e.asked)
		require.Equal(t, "connector.page_token", read(cursor).Code, cursor)
		require.Len(t, e.asked, before)
	}
}

func FuzzReceive(f *testing.F) {
	v := receiver(f, "firstname", "_parentcustomerid_value")
	f.Add(context("Update", entity(`{"key":"a","value":{"__type":"Money`+contracts+`","Value":1.50}}`), `,"PreEntityImages":[{"key":"p","value":{"Attributes":[]}}]`))
	f.Add(context("Delete", "", `,"SharedVariables":[{"key":"tag","value":1}]`))
	f.Add(`{"MessageName":1,"InputParameters":{"key":[]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		events, err := v.Receive(t.Context(), connector.Delivery{Header: http.Header{}, Body: []byte(body)})
		if err != nil && fault.Of(err).Class != fault.Invalid {
			t.Fatalf("%v is no fault of the sender", err)
		}
		for _, e := range events {
			if e.ID == "" || e.Table == "" || e.Record == "" || e.Change == "" {
				t.Fatalf("%+v lacks what it must have", e)
			}
		}
	})
}
