package app

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/fault"
	"patchbay/internal/sandbox"
)

const estimatedFlow = `# What is counted.
flow: counted
pattern: event
summary: What the test counts
on:
  - { source: dataverse.incident, change: [create, update], select: [statuscode], where: row.msx_customerfacing, key: row.incidentid }
sweep: 5m
collapse: { quiet: 0s }
send: { to: mail, template: case-update.html, recipient: row.customer_email, subject: "{{.Row.title}}" }
read: { from: dataverse.incident, where: { incidentid: params.key }, select: [ticketnumber, title, statuscode, customer_email] }
`

// The seeded cases were made seven minutes apart, and every other one faces a customer.
func TestAnEstimateIsTheBusiestDayOfWhatChangeTrackingTells(t *testing.T) {
	server, err := sandbox.New(t.Context(), sandbox.Options{Lean: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	t.Setenv("PATCHBAY_SANDBOX", web.URL)
	t.Setenv("PATCHBAY_SANDBOX_SECRET", sandboxSecret)
	t.Setenv("PATCHBAY_SANDBOX_SMTP", "127.0.0.1:25")
	read := func(name string) *fstest.MapFile {
		b, err := flows.Files.ReadFile(name)
		require.NoError(t, err)
		return &fstest.MapFile{Data: b}
	}
	files := fstest.MapFS{"connections.yaml": read("connections.yaml"), "case-update.html": read("case-update.html"), "counted.yaml": {Data: []byte(estimatedFlow)}}
	first := time.Date(2025, 11, 2, 8, 0, 0, 0, time.UTC).Add(2000 * 7 * time.Minute)
	o := EstimateOptions{Flows: files, FlowsName: "flows", Flow: "counted", Data: t.TempDir(), Now: first.AddDate(0, 0, 10)}
	e, err := EstimateFlow(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, []EstimatedSource{{Source: "dataverse.incident", Rows: 300, Changes: 300, Matched: 150}}, e.Sources)
	require.Equal(t, []int64{206, 300, 150}, []int64{e.PerDay, e.PerMonth, e.Matched})
	text, err := e.Filled()
	require.NoError(t, err)
	require.Equal(t, strings.Replace(estimatedFlow, "send:", "expect: { per_day: 206, per_month: 300 }\nsend:", 1), string(text))

	o.Now = first.AddDate(0, 0, 31)
	e, err = EstimateFlow(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, 94, e.PerMonth, "what is older than thirty days does not count")

	files["connections.yaml"] = &fstest.MapFile{Data: []byte(fmt.Sprintf(spikeConnections, "127.0.0.1:25"))}
	files["cases.yaml"], files["case.html"] = &fstest.MapFile{Data: []byte(spikeFlow)}, &fstest.MapFile{Data: []byte("<p>{{.Row.id}}</p>")}
	delete(files, "counted.yaml")
	o.Flow = "cases"
	_, err = EstimateFlow(t.Context(), o)
	require.Equal(t, "estimate.sources", fault.Of(err).Code)
	require.Contains(t, fault.Of(err).Text, "crm.case: the system cloudevents keeps no times of changes", "it says which source, and why")

	o.Flow = "nothing"
	_, err = EstimateFlow(t.Context(), o)
	require.Equal(t, "flow.not_found", fault.Of(err).Code)
}
