package workflows_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/workflows"
)

// Histories are recorded by TestRecord from the workflows as they were released.
// One is never deleted and never recorded again under its name: a change that
// cannot replay it would break runs that are open when it is deployed.
func TestReplayOfEveryRecordedHistory(t *testing.T) {
	t.Parallel()
	var recorded []string
	require.NoError(t, fs.WalkDir(os.DirFS("testdata/replay"), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".json") {
			recorded = append(recorded, path)
		}
		return err
	}))
	require.GreaterOrEqual(t, len(recorded), 5, "the recorded histories are gone")
	for _, path := range recorded {
		t.Run(strings.TrimSuffix(path, ".json"), func(t *testing.T) {
			t.Parallel()
			replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{})
			require.NoError(t, err)
			workflows.Register(replayer)
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, filepath.Join("testdata/replay", filepath.FromSlash(path))))
		})
	}
}

// A replay that any order of commands passed would prove nothing.
func TestReplayRefusesAnotherOrderOfCommands(t *testing.T) {
	t.Parallel()
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{})
	require.NoError(t, err)
	contract.Instant.Register(replayer, func(ctx workflow.Context, in contract.InstantInput) (contract.InstantResult, error) {
		_, err := contract.Release.Run(ctx, contract.ReleaseInput{Batch: in.Batch}, "put back before it was carried")
		if err == nil {
			_, err = contract.Carry.Run(ctx, in.Batch, "carry")
		}
		return contract.InstantResult{}, err
	})
	require.ErrorContains(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, "testdata/replay/Instant/batch-lost-worker.json"), "TMPRL1100", "the SDK's code of what is not deterministic")
}
