package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
)

// Export gathers what changed in this region for the others, as long as its flow is in
// force.
func Export(ctx workflow.Context, in contract.SyncInput) (contract.SyncResult, error) {
	return stand(ctx, contract.Export, contract.ExportChanges, in, "send what changed in "+in.Region)
}

// Import takes what another region has for this one, as long as its flow is in force.
func Import(ctx workflow.Context, in contract.SyncInput) (contract.SyncResult, error) {
	return stand(ctx, contract.Import, contract.ImportBatches, in, "take what changed in "+in.From)
}

// Reconcile compares this region's system with what the regions agree on, and mends what
// differs, as long as its flow is in force.
func Reconcile(ctx workflow.Context, in contract.SyncInput) (contract.SyncResult, error) {
	return stand(ctx, contract.Reconcile, contract.CompareRegions, in, "compare what "+in.Region+" holds")
}

// mostRounds keeps histories short: a round is three events or four.
const mostRounds = 200

type (
	standing = contract.Workflow[contract.SyncInput, contract.SyncResult]

	round = contract.Activity[contract.SyncInput, contract.SyncCounts]
)

// stand carries out one activity after the other. Each works for minutes, waits where
// there is nothing to do, and leaves its progress in the region's database, so that one
// that was lost costs nothing but time. Another plan ends the round that is under way and
// is what the workflow goes on with.
func stand(ctx workflow.Context, self standing, act round, in contract.SyncInput, summary string) (contract.SyncResult, error) {
	superseded := workflow.GetSignalChannel(ctx, contract.SupersedeSignal)
	for range mostRounds {
		counts, digest, err := once(ctx, superseded, act, in, summary)
		if err != nil {
			return contract.SyncResult{Total: in.Total}, err
		}
		in.Total = in.Total.Add(counts)
		workflow.SetCurrentDetails(ctx, describe(in.Total))
		if digest != "" {
			in.Digest = digest
			break
		}
	}
	for { // none is lost that came since
		var digest string
		if !superseded.ReceiveAsync(&digest) {
			return contract.SyncResult{}, workflow.NewContinueAsNewError(ctx, self.Name(), in)
		}
		in.Digest = digest
	}
}

// once carries out one round. digest is the plan that took the place of the round's.
func once(ctx workflow.Context, superseded workflow.ReceiveChannel, act round, in contract.SyncInput, summary string) (counts contract.SyncCounts, digest string, err error) {
	inner, stop := workflow.WithCancel(ctx)
	defer stop()
	in.Total = contract.SyncCounts{} // the workflow's own
	done := act.Begin(inner, in, summary)
	ended := false
	turn := workflow.NewSelector(ctx).AddFuture(done, func(workflow.Future) { ended = true })
	turn.AddReceive(superseded, func(c workflow.ReceiveChannel, _ bool) {
		var told string
		if c.Receive(ctx, &told); told != in.Digest {
			digest = told
			stop()
		}
	})
	for !ended {
		turn.Select(ctx)
	}
	err = done.Get(ctx, &counts)
	if digest != "" && temporal.IsCanceledError(err) && ctx.Err() == nil {
		err = nil // it was told to
	}
	return counts, digest, err
}

// describe is the counts in words, for the Web UI.
func describe(c contract.SyncCounts) string {
	text := fmt.Sprintf("%d changes in %d batches", c.Changes, c.Batches)
	for _, name := range workflow.DeterministicKeys(c.Outcomes) {
		text += fmt.Sprintf(", %d %s", c.Outcomes[name], name)
	}
	for _, name := range workflow.DeterministicKeys(c.Trouble) {
		text += fmt.Sprintf("; %s: %s", name, c.Trouble[name].Text)
	}
	return text
}
