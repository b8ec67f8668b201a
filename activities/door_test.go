package activities_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"patchbay/activities"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// presses is the book as the second door sees it.
type presses struct {
	got   []flow.Press
	run   flow.Run
	start run.Start
	err   error
}

func (p *presses) Accept(_ context.Context, press flow.Press) (flow.Run, run.Start, error) {
	p.got = append(p.got, press)
	return p.run, p.start, p.err
}

func (p *presses) Get(context.Context, string) (flow.Run, error) { return p.run, p.err }

// accept signals payload to a workflow with the ID.
func accept(t *testing.T, p *presses, workflowID, payload string) (contract.DoorAccepted, *fault.Fault) {
	t.Helper()
	env := (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflowID})
	doorman := &activities.Doorman{Runs: p}
	contract.DoorAccept.Register(env, func(ctx context.Context, in contract.DoorSignal) (contract.DoorAccepted, error) {
		out, err := doorman.Accept(ctx, in)
		return out, contract.ToTemporal(err)
	})
	env.ExecuteWorkflow(func(ctx workflow.Context) (contract.DoorAccepted, error) {
		return contract.DoorAccept.Run(ctx, contract.DoorSignal{Payload: []byte(payload)}, "")
	})
	if err := env.GetWorkflowError(); err != nil {
		return contract.DoorAccepted{}, contract.FromTemporal(err)
	}
	var accepted contract.DoorAccepted
	require.NoError(t, env.GetWorkflowResult(&accepted))
	return accepted, nil
}

func TestASignalIsAPressOfItsNamespaceUnderTheIDOfItsWorkflow(t *testing.T) {
	t.Parallel()
	p := &presses{run: flow.Run{RunID: "r", Status: flow.Accepted}, start: run.Start{BatchID: "order 7", Flow: "specs", Digest: "d", Skeleton: flow.Skeleton{Source: "plm"}}}
	accepted, f := accept(t, p, "order 7", `{"flow":"specs","params":{"id":"AS1","n":12345678901234567890},"label":"admin"}`)
	require.Nil(t, f)
	require.Equal(t, []flow.Press{{Flow: "specs", Principal: "temporal:default-test-namespace", Workflow: "order 7",
		Params: map[string]any{"id": "AS1", "n": json.Number("12345678901234567890")}}}, p.got, "a label gives no right, and numbers stay exact")
	require.Equal(t, contract.DoorAccepted{Batch: contract.Batch{BatchID: "order 7", Flow: "specs", Digest: "d"}, RunID: "r", Skeleton: flow.Skeleton{Source: "plm"}}, accepted)
}

func TestOnlyARunThatHasEndedIsNotCarriedAgain(t *testing.T) {
	t.Parallel()
	for status, ended := range map[flow.Status]bool{flow.Accepted: false, flow.Running: false, flow.Parked: false, flow.Completed: true, flow.Failed: true, flow.Cancelled: true} {
		accepted, f := accept(t, &presses{run: flow.Run{RunID: "r", Status: status, Replayed: true}}, "order 7", `{"flow":"specs"}`)
		require.Nil(t, f)
		require.Equal(t, ended, accepted.Replayed, "%s", status)
	}
}

func TestWhatIsWrongWithASignalIsSaidOnceAndForAll(t *testing.T) {
	t.Parallel()
	unknown := fault.NotFoundf("flow.not_found", "there is no flow specz; did you mean specs?")
	wrong := fault.Invalidf("params.invalid", "id is missing").With(fault.Field{Path: "params.id", Code: "field.required"})
	reused := fault.New(fault.Conflict, "idem.reused", "this Idempotency-Key was used", nil)
	for name, c := range map[string]struct {
		id, payload string
		book        error
		class       fault.Class
		code, path  string
	}{
		"no JSON":           {id: "x", payload: `{"flow":`, class: fault.Invalid},
		"no payload":        {id: "x", class: fault.Invalid},
		"binary":            {id: "x", payload: "\x00\xff", class: fault.Invalid},
		"unknown key":       {id: "x", payload: `{"flow":"specs","parms":{}}`, class: fault.Invalid, code: "field.unknown", path: "parms"},
		"twice":             {id: "x", payload: `{"flow":"specs","flow":"other"}`, class: fault.Invalid},
		"list":              {id: "x", payload: `{"flow":"specs","params":[1]}`, class: fault.Invalid, path: "params"},
		"no flow":           {id: "x", payload: `{"params":{}}`, class: fault.Invalid, code: "door.flow", path: "flow"},
		"unknown flow":      {id: "x", payload: `{"flow":"specz"}`, book: unknown, class: fault.Invalid, code: "door.flow", path: "flow"},
		"wrong parameters":  {id: "x", payload: `{"flow":"specs"}`, book: wrong, class: fault.Invalid, code: "params.invalid", path: "params.id"},
		"another press":     {id: "x", payload: `{"flow":"specs"}`, book: reused, class: fault.Conflict, code: "idem.reused"},
		"our ID":            {id: "instant/specs/abc", payload: `{"flow":"specs"}`, class: fault.Invalid, code: "door.id_reserved"},
		"our later ID":      {id: "consolidation/specs/slot", payload: `{"flow":"specs"}`, class: fault.Invalid, code: "door.id_reserved"},
		"control character": {id: "a\x00b", payload: `{"flow":"specs"}`, class: fault.Invalid, code: "door.id_invalid"},
	} {
		p := &presses{err: c.book}
		_, f := accept(t, p, c.id, c.payload)
		require.NotNil(t, f, name)
		require.Equal(t, c.class, f.Class, "%s: %v", name, f)
		if c.code != "" {
			require.Equal(t, c.code, f.Code, name)
		}
		if c.path != "" {
			require.NotEmpty(t, f.Fields, name)
			require.Equal(t, c.path, f.Fields[0].Path, name)
		}
		require.Equal(t, c.book != nil, len(p.got) == 1, name)
	}
	_, f := accept(t, &presses{run: flow.Run{RunID: "r"}}, "instant", `{"flow":"specs"}`)
	require.Nil(t, f, "only the form of our IDs is ours")
}

func TestAnAnswerThatIsTooLargeForTemporalStaysInTheDatabase(t *testing.T) {
	t.Parallel()
	read := func(r flow.Run) contract.DoorAnswer {
		answer, err := (&activities.Doorman{Runs: &presses{run: r}}).Read(t.Context(), contract.DoorAccepted{RunID: r.RunID})
		require.NoError(t, err)
		return answer
	}
	small := &flow.Result{Rows: []flow.Row{{"a": strings.Repeat("x", contract.MostAnswer-100)}}, Count: 1}
	require.Equal(t, contract.DoorAnswer{RunID: "r", Status: flow.Completed, Result: small, Count: 1}, read(flow.Run{RunID: "r", Status: flow.Completed, Result: small}))
	large := &flow.Result{Rows: []flow.Row{{"a": strings.Repeat("<", contract.MostAnswer/6)}}, Count: 1} // six bytes each, as JSON has it
	require.Equal(t, contract.DoorAnswer{RunID: "r", Status: flow.Running, Count: 1, Large: true}, read(flow.Run{RunID: "r", Status: flow.Running, Result: large}))
	failed := read(flow.Run{RunID: "r", Status: flow.Failed, Problem: &flow.Problem{Code: "source.not_found", Detail: "no such product"}})
	require.Equal(t, fault.New(fault.Rejected, "source.not_found", "no such product", nil), failed.Fault)
}

// backs is the book as Release sees it.
type backs struct {
	why *fault.Fault
	err error
}

func (b *backs) PutBackAll(_ context.Context, _ string, why *fault.Fault) (int, error) {
	b.why = why
	return 3, b.err
}

func TestReleaseSaysWhyInWordsOfTheRunAndComesThrough(t *testing.T) {
	t.Parallel()
	deadline := fault.New(fault.Unavailable, flow.DeadlineCode, "no answer within the time the flow allows", nil)
	for code, in := range map[string]*fault.Fault{"batch.left": nil, "batch.lost": deadline, "store.unavailable": fault.New(fault.Unavailable, "store.unavailable", "away", nil)} {
		b := &backs{}
		out, err := (&activities.Releaser{Runs: b}).Release(t.Context(), contract.ReleaseInput{Fault: in})
		require.NoError(t, err)
		require.Equal(t, 3, out.Open)
		require.Equal(t, code, b.why.Code, "a lost batch says nothing of a run's deadline")
	}
	for class, again := range map[fault.Class]bool{fault.Bug: true, fault.InDoubt: true, fault.Unavailable: true, fault.NotFound: false} {
		_, err := (&activities.Releaser{Runs: &backs{err: fault.New(class, "x", "x", nil)}}).Release(t.Context(), contract.ReleaseInput{})
		require.Equal(t, again, fault.Of(err).Retryable(), "%s", class)
	}
}
