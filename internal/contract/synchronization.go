package contract

import (
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/fault"
)

// The synchronization pattern: workflows that stand as long as their flow is in force,
// each in its own region. Export gathers what changed here; import takes what another
// region has for us; reconcile compares with it. Rows stay in the databases; what
// travels here are names and counts (promises 5 and 8).
var (
	Export    = DeclareWorkflow[SyncInput, SyncResult]("patchbay.export.v1", Main)
	Import    = DeclareWorkflow[SyncInput, SyncResult]("patchbay.import.v1", Main)
	Reconcile = DeclareWorkflow[SyncInput, SyncResult]("patchbay.reconcile.v1", Main)

	ExportChanges  = DeclareActivity[SyncInput, SyncCounts]("synchronization.export.v1", Standing, Main)
	ImportBatches  = DeclareActivity[SyncInput, SyncCounts]("synchronization.import.v1", Standing, Main)
	CompareRegions = DeclareActivity[SyncInput, SyncCounts]("synchronization.reconcile.v1", Standing, Main)
)

// SupersedeSignal tells a standing workflow that another plan is in force: its value is
// the digest. The workflow goes on as new with it, once what it is doing has ended.
const SupersedeSignal = "supersede.v1"

type (
	// SyncInput says whose standing workflow it is. From is the other region, of an import.
	SyncInput struct {
		Flow   string `json:"flow"`
		Digest string `json:"digest"`
		Region string `json:"region"`
		From   string `json:"from,omitempty"`
		// Total is what was done before the workflow went on as new.
		Total SyncCounts `json:"total"`
	}

	// SyncCounts is what one activity, or a whole workflow, has done: records by outcome.
	SyncCounts struct {
		Changes  int64            `json:"changes"`
		Batches  int64            `json:"batches"`
		Outcomes map[string]int64 `json:"outcomes,omitempty"` // by flow.SyncOutcome
		// Trouble is what one table, or the other region, suffers from; the others go on.
		Trouble map[string]*fault.Fault `json:"trouble,omitempty"`
	}

	// SyncResult is what a standing workflow had done when it ended.
	SyncResult struct {
		Total SyncCounts `json:"total"`
	}
)

// Add adds what was done since; the trouble is the newer one.
func (c SyncCounts) Add(more SyncCounts) SyncCounts {
	sum := SyncCounts{Changes: c.Changes + more.Changes, Batches: c.Batches + more.Batches, Trouble: more.Trouble, Outcomes: map[string]int64{}}
	for _, m := range []map[string]int64{c.Outcomes, more.Outcomes} {
		for _, name := range workflow.DeterministicKeys(m) {
			sum.Outcomes[name] += m[name]
		}
	}
	return sum
}
