package flowfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func eventPlan(t *testing.T, name string, speed float64) *flow.Plan {
	t.Helper()
	plan, diags := flowfile.Compile(load(t, "flows/"+name), parse(t, "connections/valid.yaml"), flowfile.Options{File: template, Speed: speed, Identity: identity})
	require.Empty(t, diags)
	return plan
}

func TestAnEventFlowCompilesToItsPlan(t *testing.T) {
	t.Parallel()
	plan := eventPlan(t, "event.yaml", 2)
	html, err := template("good.html")
	require.NoError(t, err)
	text, err := template("good.txt")
	require.NoError(t, err)
	require.Equal(t, &flow.Plan{
		Flow: "case-notifications", Pattern: flow.Event, Summary: "A customer is told when a case changes",
		Params: flow.EventParams(),
		Reaction: &flow.Reaction{
			On: []flow.Trigger{{
				Connection: "crm", Table: "incident", Change: []flow.ChangeType{flow.Updated}, Select: []string{"statuscode"},
				Where: "row.msx_customerfacing", Transitions: "was.statuscode == 1 && row.statuscode == 5", Key: "row.incidentid",
				Columns: []string{"customer_email", "incidentid", "msx_customerfacing", "statuscode", "ticketnumber", "title"},
			}},
			Sweep: 150 * time.Second, Quiet: time.Second, MaxWait: 150 * time.Second,
			Throttle: &flow.Throttle{Rate: 60, Per: 30 * time.Second, Burst: 10, By: "row.customer_email"},
			Expect:   flow.Expect{PerDay: 20000, PerMonth: 400000},
			Spike:    []flow.SpikeMode{flow.SpikeQueue, flow.SpikeDigest, flow.SpikeShed},
			Counts:   true,
		},
		Send: &flow.Send{
			Recipient: "row.customer_email", Template: "good.html", Subject: "Case {{.Row.ticketnumber}}", HTML: string(html), Text: string(text),
		},
		Write:   &flow.Write{Connection: "mail", Table: "message", Key: []string{"id"}, Repeat: true},
		Respond: flow.AfterWrite, Order: []string{"key"},
		Limits: flow.Limits{Timeout: 12 * time.Hour, Rows: 10, Concurrent: 50, PerUser: 1_000_000, Queue: 1_000_000},
		Bindings: map[string]flow.Binding{
			"crm": {System: "dataverse", Identity: "id of crm"}, "mail": {System: "smtp", Identity: "id of mail"},
		},
	}, plan)
}

func TestAnEventFlowMayReadTheRecordForItsMessage(t *testing.T) {
	t.Parallel()
	plan := eventPlan(t, "event_read.yaml", 0)
	require.Equal(t, &flow.Read{
		Connection: "crm", Table: "incident", Where: []flow.Match{{Column: "incidentid", Expr: "params.key"}},
		Select: []string{"title", "customer_email", "statuscode"}, OneRow: true,
	}, plan.Read)
	require.Equal(t, []string{"incidentid", "statuscode"}, plan.Reaction.On[0].Columns, "what the message needs is read then, not now")
	require.Equal(t, []string{"_objectid_value"}, plan.Reaction.On[1].Columns)
	require.Empty(t, plan.Send.HTML, "a .txt is a message of text")
	require.False(t, plan.Write.Repeat, "without a word from the author nothing is sent twice")
	require.Equal(t, 720*time.Hour, plan.Limits.Timeout)
	require.Zero(t, plan.Reaction.Quiet)
}

func TestAnEventFlowMayWriteRows(t *testing.T) {
	t.Parallel()
	plan := eventPlan(t, "event_write.yaml", 0)
	require.Nil(t, plan.Send)
	require.Equal(t, "specification", plan.Write.Table)
	require.Equal(t, []string{"customer_email", "incidentid", "ticketnumber", "title"}, plan.Reaction.On[0].Columns)
	require.True(t, plan.Reaction.Loop)
}

func TestAWindowWithoutMaxWaitEndsAfterTenTimesQuiet(t *testing.T) {
	t.Parallel()
	f := load(t, "flows/event_write.yaml")
	f.Data = append(f.Data, "collapse: { quiet: 3s }\nthrottle: { rate: 10/5m }\n"...)
	plan, diags := flowfile.Compile(f, parse(t, "connections/valid.yaml"), flowfile.Options{})
	require.Empty(t, diags)
	require.Equal(t, 30*time.Second, plan.Reaction.MaxWait)
	require.Equal(t, &flow.Throttle{Rate: 10, Per: 5 * time.Minute, Burst: 10}, plan.Reaction.Throttle)
}

func TestAConnectionDeclaresItsHookAndItsQuotas(t *testing.T) {
	t.Parallel()
	list := parse(t, "connections/valid.yaml")
	require.Equal(t, []flow.Quota{
		{Kind: flow.QuotaRequests, Most: 6000, Per: 5 * time.Minute, Reserve: 10},
		{Kind: flow.QuotaExecution, Most: 1_200_000, Per: 5 * time.Minute},
		{Kind: flow.QuotaConcurrent, Most: 52},
	}, list[1].Quotas)
	require.Equal(t, &flow.Hook{Scheme: "key", Secrets: []string{"${env:CRM_HOOK}"}, Retired: []string{"${env:CRM_HOOK_OLD}"}, From: []string{"203.0.113.0/24", "2001:db8::7"}}, list[1].Hook)
	require.Equal(t, [][]string{{"id"}}, list[3].Tables["message"].Keys, "a mail server has its table without a word")
	require.Nil(t, list[3].Hook)
}
