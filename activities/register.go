package activities

import (
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
)

type (
	// Set is every activity of the main queue.
	Set struct {
		Reader   *Reader
		Writer   *Writer
		Carrier  *Carrier
		Releaser *Releaser
		Closer   *Closer
		Doorman  *Doorman
		Canary   *Canary

		Consolidator *Consolidator
		Extractor    *Extractor
		Joiner       *Joiner
		Deliverer    *Deliverer
		Advisor      *Advisor

		Synchronizer *Synchronizer

		Tasker *Tasker
	}

	// Systems are the systems outside, behind the connections of a plan.
	Systems interface {
		Source
		Target
	}

	// Book is all that the set asks of the book of runs.
	Book interface {
		Reads
		Effects
		Writes
		Batches
		Outcomes
		Backs
		Closes
		Presses
	}
)

// NewSet builds the set but for what knows more than runs, the canary and the
// consolidation, which are the caller's to add. A press alone and one in a batch go through the same reader and writer.
func NewSet(plans Plans, systems Systems, mapper Mapper, book Book) Set {
	reader := &Reader{Plans: plans, Source: systems, Mapper: mapper, Runs: book}
	writer := &Writer{Plans: plans, Target: systems, Effects: book, Runs: book}
	return Set{
		Reader:   reader,
		Writer:   writer,
		Carrier:  &Carrier{Reader: reader, Writer: writer, Batches: book, Outcomes: book},
		Releaser: &Releaser{Runs: book},
		Closer:   &Closer{Runs: book},
		Doorman:  &Doorman{Runs: book},
	}
}

// Register registers the set under the names of package contract.
func (s Set) Register(r worker.ActivityRegistry) {
	contract.Read.Register(r, s.Reader.Read)
	contract.Prepare.Register(r, s.Reader.Read)
	contract.Write.Register(r, s.Writer.Write)
	contract.Carry.Register(r, s.Carrier.Carry)
	contract.Release.Register(r, s.Releaser.Release)
	contract.CloseRun.Register(r, s.Closer.Close)
	contract.DoorAccept.Register(r, s.Doorman.Accept)
	contract.DoorRead.Register(r, s.Doorman.Read)
	contract.CanaryRead.Register(r, s.Canary.Read)
	contract.OpenSlot.Register(r, s.Consolidator.Open)
	contract.Extract.Register(r, s.Extractor.Extract)
	contract.Join.Register(r, s.Joiner.Join)
	contract.Deliver.Register(r, s.Deliverer.Deliver)
	contract.Advise.Register(r, s.Advisor.Advise)
	contract.Finish.Register(r, s.Consolidator.Finish)
	contract.ExportChanges.Register(r, s.Synchronizer.Export)
	contract.ImportBatches.Register(r, s.Synchronizer.Import)
	contract.DoTask.Register(r, s.Tasker.Do)
	contract.CallFlow.Register(r, s.Tasker.Call)
	contract.UndoTask.Register(r, s.Tasker.Undo)
	contract.KeepShadow.Register(r, s.Tasker.Shadow)
	contract.EndService.Register(r, s.Tasker.End)
	contract.CompareRegions.Register(r, s.Synchronizer.Compare)
}
