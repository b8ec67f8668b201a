package workflows

import (
	"embed"

	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
)

// Sources are this package's own files: with contract.Sources they are the build
// ID, so that a build changes when, and only when, replay may.
//
//go:embed *.go
var Sources embed.FS

// Register registers every workflow.
func Register(r worker.WorkflowRegistry) {
	contract.Instant.Register(r, Instant)
	contract.Event.Register(r, Event)
	contract.Consolidation.Register(r, Consolidation)
	contract.Export.Register(r, Export)
	contract.Import.Register(r, Import)
	contract.Reconcile.Register(r, Reconcile)
	contract.Service.Register(r, Service)
	contract.Hybrid.Register(r, Hybrid)
	contract.Canary.Register(r, Canary)
}
