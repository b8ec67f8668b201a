package workers

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/worker"

	"patchbay/internal/fault"
)

// refused is a worker of the SDK whose namespace is gone: it stops by itself.
type refused struct{ worker.Worker }

func (refused) Run(<-chan any) error { return serviceerror.NewNamespaceNotFound("secret-name") }

// interrupted is one that works until it is told to stop.
type interrupted struct{ worker.Worker }

func (interrupted) Run(interrupt <-chan any) error { <-interrupt; return nil }

// A worker that the SDK has given up on must not look alive.
func TestRunEndsWithTheErrorThatStoppedTheWorker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	f := fault.Of((&Worker{worker: refused{}}).Run(ctx))
	require.Equal(t, "worker.stopped", f.Code)
	require.Equal(t, fault.NotFound, f.Class)
	require.Equal(t, "the worker has stopped: Temporal has no such namespace", f.Text)
}

func TestRunEndsWithoutErrorWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, (&Worker{worker: interrupted{}}).Run(ctx))
}
