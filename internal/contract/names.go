package contract

import (
	"embed"

	"go.temporal.io/sdk/temporal"
)

// Sources are this package's own files: part of the build ID, see
// durable.BuildID.
//
//go:embed *.go
var Sources embed.FS

// Deployment is the name of the one worker deployment of a Patchbay.
const Deployment = "patchbay"

// Queue is a task queue.
type Queue string

// The task queues. One worker of the default queue hosts all that needs no queue
// of its own.
const (
	Main Queue = "patchbay"
)

// The custom search attributes, registered at start. Their values are never
// encrypted: flow names, outcomes and run IDs only (promise 5).
var (
	FlowAttribute    = temporal.NewSearchAttributeKeyKeyword("PatchbayFlow")
	OutcomeAttribute = temporal.NewSearchAttributeKeyKeyword("PatchbayOutcome")
	RunsAttribute    = temporal.NewSearchAttributeKeyKeywordList("PatchbayRuns")
	// ScheduledAttribute is Temporal's own: the time of the schedule that started a workflow.
	ScheduledAttribute = temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")
)

// The values of OutcomeAttribute; upserted only when a run did not complete.
const (
	OutcomePartial = "partial"
	OutcomeFailed  = "failed"
)

// WorkflowID is the ID of the workflow that carries a batch or a run.
func WorkflowID(pattern, flow, id string) string { return pattern + "/" + flow + "/" + id }
