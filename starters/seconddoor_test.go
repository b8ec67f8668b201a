package starters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// bare is an application that knows of Patchbay what docs/temporal-door.md says:
// its own client, and names and shapes as literals.
type bare struct {
	*testing.T
	client client.Client
}

// doorAnswer is what such an application reads of an answer.
type doorAnswer struct {
	RunID  string `json:"run_id"`
	Status string `json:"status"`
	Result struct {
		Rows  []map[string]any `json:"rows"`
		Count int              `json:"count"`
	} `json:"result"`
	Count    int  `json:"count"`
	Large    bool `json:"large"`
	Rejected int  `json:"rejected"`
	Fault    *struct {
		Code string `json:"code"`
	} `json:"fault"`
}

func outsider(b *bundle, address string) *bare {
	b.Helper()
	c, err := client.Dial(client.Options{HostPort: address, Namespace: b.namespace, Logger: silent{}})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return &bare{T: b.T, client: c}
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

func (o *bare) press(id string, payload any) client.WorkflowRun {
	o.Helper()
	w, err := o.client.SignalWithStartWorkflow(o.Context(), id, "press.v1", payload,
		client.StartWorkflowOptions{TaskQueue: "patchbay"}, "patchbay.instant.v1")
	require.NoError(o, err)
	return w
}

func specsOf(product string) map[string]any {
	return map[string]any{"flow": "specs", "params": map[string]any{"product_id": product}}
}

func (o *bare) ask(w client.WorkflowRun) (answer doorAnswer) {
	o.Helper()
	value, err := o.client.QueryWorkflow(o.Context(), w.GetID(), w.GetRunID(), "answer.v1")
	require.NoError(o, err)
	require.NoError(o, value.Get(&answer))
	return answer
}

// answered asks until there is an answer.
func (o *bare) answered(w client.WorkflowRun) (answer doorAnswer) {
	o.Helper()
	require.Eventually(o, func() bool { answer = o.ask(w); return answer.Status != "accepted" }, time.Minute, 20*time.Millisecond)
	return answer
}

// ended waits for the end of the workflow and gives its answer.
func (o *bare) ended(w client.WorkflowRun) doorAnswer {
	o.Helper()
	var result struct {
		Answer doorAnswer `json:"answer"`
	}
	require.NoError(o, w.Get(o.Context(), &result))
	return result.Answer
}

// refused waits for the end of the workflow and gives the code of its failure.
func (o *bare) refused(w client.WorkflowRun) *temporal.ApplicationError {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), time.Minute)
	defer cancel()
	err := w.Get(ctx, nil)
	var app *temporal.ApplicationError
	require.ErrorAs(o, err, &app)
	require.True(o, app.NonRetryable())
	return app
}

func TestABareClientPressesBySignalAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	gate := make(chan struct{})
	b.outside.onWrite = func(ctx context.Context, _ int) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	o := outsider(b, temporalAddress(t))
	w := o.press("order/4711", specsOf("AS54888")) // a slash of its own is no harm
	answer := o.answered(w)
	require.Equal(t, "running", answer.Status)
	require.Equal(t, []map[string]any{{"product": "AS54888", "attribute": "Weight", "value": 1.50}, {"product": "AS54888", "attribute": "Display", "value": float64(14)}}, answer.Result.Rows)
	r, err := b.book.Get(t.Context(), answer.RunID)
	require.NoError(t, err)
	require.False(t, r.Status.Final(), "the answer does not wait for the write")
	require.Equal(t, "order/4711", r.WorkflowID)
	require.True(t, strings.HasPrefix(r.Principal, "temporal:"), r.Principal)
	close(gate)
	require.Equal(t, answer.RunID, o.ended(w).RunID)
	require.Equal(t, flow.Completed, b.until(answer.RunID, final).Status)
	require.Equal(t, 1, b.outside.written("AS54888"))
	found(t, b.temporal, fmt.Sprintf("PatchbayRuns = '%s'", answer.RunID), "order/4711")
}

func TestASignalThatCannotBeAPressFailsItsWorkflowInWords(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	o := outsider(b, temporalAddress(t))
	raw := func(encoding, data string) converter.RawValue {
		return converter.NewRawValue(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte(encoding)}, Data: []byte(data)})
	}
	for name, c := range map[string]struct {
		payload any
		code    string
	}{
		"unknown-flow":     {map[string]any{"flow": "spces", "params": map[string]any{}}, "door.flow"},
		"no-flow":          {map[string]any{"params": map[string]any{}}, "door.flow"},
		"wrong-parameters": {map[string]any{"flow": "specs", "params": map[string]any{"product": "AS54888"}}, "params.invalid"},
		"params-no-object": {map[string]any{"flow": "specs", "params": []int{1}}, ""},
		"unknown-key":      {map[string]any{"flow": "specs", "params": map[string]any{"product_id": "X"}, "principal": "admin"}, ""},
		"bytes":            {[]byte("AS54888"), ""},
		"broken-json":      {raw("json/plain", `{"flow": "specs", `), ""},
		"doubled-key":      {raw("json/plain", `{"flow": "specs", "flow": "other", "params": {"product_id": "X"}}`), ""},
		"nothing":          {nil, ""},
		"too-large":        {map[string]any{"flow": "specs", "params": map[string]any{"product_id": strings.Repeat("X", 200_000)}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &bare{T: t, client: o.client}
			w := o.press("bad-"+name, c.payload)
			app := o.refused(w)
			if c.code != "" {
				require.Equal(t, c.code, app.Type())
			}
			var f fault.Fault
			require.NoError(t, app.Details(&f))
			require.Equal(t, fault.Invalid, f.Class, "%s", app)
			require.NotEmpty(t, app.Message())
			answer := o.ask(w)
			require.Equal(t, "failed", answer.Status)
			require.Equal(t, app.Type(), answer.Fault.Code, "the query tells the same")
		})
	}
}

func TestNothingIsReadOrKeptForASignalThatIsNoPress(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	o := outsider(b, temporalAddress(t))
	o.refused(o.press("bad", map[string]any{"flow": "specs", "params": map[string]any{"wrong": 1}}))
	runs, _, err := b.book.List(t.Context(), flow.RunFilter{})
	require.NoError(t, err)
	require.Empty(t, runs)
	reads, _, _ := b.outside.counts()
	require.Zero(t, reads)
}

func TestALabelIsANameAndNoRight(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	o := outsider(b, temporalAddress(t))
	press := specsOf("AS54888")
	press["label"] = "key:erp-app"
	answer := o.ended(o.press("labelled", press))
	r, err := b.book.Get(t.Context(), answer.RunID)
	require.NoError(t, err)
	require.Equal(t, "temporal:"+b.namespace, r.Principal)
	others, _, err := b.book.List(t.Context(), flow.RunFilter{Principal: "key:erp-app"})
	require.NoError(t, err)
	require.Empty(t, others)
}

func TestAWorkflowIDStandsForOnePress(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading, gate := make(chan struct{}, 8), make(chan struct{})
	b.outside.on("AS54888", func(context.Context) error { reading <- struct{}{}; <-gate; return nil })
	o := outsider(b, temporalAddress(t))
	w := o.press("same", specsOf("AS54888"))
	<-reading
	again := o.press("same", specsOf("AS54888"))
	require.Equal(t, w.GetRunID(), again.GetRunID())
	o.press("same", specsOf("OTHER"))
	o.press("same", "no press at all")
	close(gate)
	answer := o.ended(w)
	require.Equal(t, "completed", answer.Status)
	require.Equal(t, "AS54888", answer.Result.Rows[0]["product"])
	require.Equal(t, 2, answer.Rejected, "an equal one is a repeat")
	require.Zero(t, b.outside.readOf("OTHER"))

	later := o.press("same", specsOf("AS54888"))
	require.NotEqual(t, w.GetRunID(), later.GetRunID(), "the first workflow has ended")
	repeated := o.ended(later)
	require.Equal(t, answer.RunID, repeated.RunID)
	require.Equal(t, answer.Result, repeated.Result)
	other := o.refused(o.press("same", specsOf("OTHER")))
	require.Equal(t, "idem.reused", other.Type(), "the ID is taken, as a key would be")
	require.Equal(t, 1, b.outside.readOf("AS54888"))
	require.Equal(t, 1, b.outside.written("AS54888"))
}

func TestOneKeyByBothDoorsIsTwoPresses(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	o := outsider(b, temporalAddress(t))
	w := o.press("k-1", specsOf("AS54888"))
	pressed := b.press("AS54889", "k-1")
	answer := o.ended(w)
	require.NotEqual(t, pressed.RunID, answer.RunID, "another principal, so another press")
	require.Equal(t, flow.Completed, b.until(pressed.RunID, final).Status)
	require.Equal(t, flow.Completed, b.until(answer.RunID, final).Status)
	require.Equal(t, []int{1, 1}, []int{b.outside.written("AS54888"), b.outside.written("AS54889")})
}

func TestTheIDsThatPatchbayGivesItselfAreNotToBeHad(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	o := outsider(b, temporalAddress(t))
	app := o.refused(o.press("instant/specs/abcdefghijklmnopqrstuvwxyz", specsOf("AS54888")))
	require.Equal(t, "door.id_reserved", app.Type())
}

func TestACancelOfTheWorkflowCancelsItsPress(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	o := outsider(b, temporalAddress(t))
	w := o.press("changed-my-mind", specsOf("AS54888"))
	<-reading
	id := o.ask(w).RunID
	require.NoError(t, o.client.CancelWorkflow(t.Context(), w.GetID(), w.GetRunID()))
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, w.Get(t.Context(), nil), &cancelled)
	require.Equal(t, "cancelled", o.ask(w).Status)
	certificate, err := b.book.Certificate(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
	require.Empty(t, certificate.Done)
}

func TestACancelByTheAPIEndsTheWorkflowOfTheOtherDoor(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	o := outsider(b, temporalAddress(t))
	w := o.press("order/4712", specsOf("AS54888"))
	<-reading
	certificate, err := b.control.Cancel(t.Context(), flow.Principal{Name: "test"}, o.ask(w).RunID)
	require.NoError(t, err)
	require.Equal(t, flow.Cancelled, certificate.Status)
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, w.Get(t.Context(), nil), &cancelled)
}

func TestADoorWorkflowThatWasTerminatedOrLostLeavesNoRunOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	reading := b.hold()
	o := outsider(b, temporalAddress(t))
	w := o.press("order/4713", specsOf("AS54888"))
	<-reading
	id := o.ask(w).RunID
	require.NoError(t, o.client.TerminateWorkflow(t.Context(), w.GetID(), "", "by a person"))
	_, err := b.db.Pool().Exec(t.Context(), `update batch set relayed_at = now() - interval '2 minutes' where batch_id = $1`, w.GetID())
	require.NoError(t, err)
	b.background(b.relay.Run)
	require.Equal(t, "run.terminated", b.until(id, final).Problem.Code)
}

func TestASignalThatComesBeforeAnyWorkerIsAPressAllTheSame(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan(), withoutWorker)
	o := outsider(b, temporalAddress(t))
	w := o.press("early", specsOf("AS54888"))
	b.workThrough(temporalAddress(t))
	require.Equal(t, "completed", o.ended(w).Status)
}

func TestAnAnswerThatIsTooLargeForAHistoryStaysInTheDatabase(t *testing.T) {
	t.Parallel()
	b := newBundle(t, temporalAddress(t), plan())
	b.outside.rows = func(product string) []flow.Row {
		return []flow.Row{{"product": product, "attribute": "Weight", "value": strings.Repeat("x", 70<<10)},
			{"product": product, "attribute": "Display", "value": json.Number("14")}}
	}
	o := outsider(b, temporalAddress(t))
	answer := o.ended(o.press("large", specsOf("AS54888")))
	require.True(t, answer.Large)
	require.Equal(t, 2, answer.Count)
	require.Empty(t, answer.Result.Rows)
	r, err := b.book.Get(t.Context(), answer.RunID)
	require.NoError(t, err)
	require.Len(t, r.Result.Rows, 2)
}
