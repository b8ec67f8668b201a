package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"patchbay/internal/durable"
	"patchbay/internal/httpapi"
	"patchbay/workers"
)

// Ready implements httpapi.Readiness. A build that is not current is no failure:
// it is waiting to be, or finishes the runs that began with it.
func (w *work) Ready(ctx context.Context) []httpapi.Check {
	checks := []httpapi.Check{
		verdict("database", w.store.Ping(ctx)),
		verdict("temporal", durable.Ready(ctx, w.temporal, w.Namespace)),
	}
	build := httpapi.Check{Name: "build", Status: "ok", Detail: Build()}
	switch current, err := workers.Current(ctx, w.temporal); {
	case err != nil:
		build.Status, build.Detail = "warn", "whether build "+Build()+" is current is not known"
	case !current:
		build.Status, build.Detail = "warn", "build "+Build()+" is not current; it takes no new runs"
	default:
		if found := w.found.Load(); found != nil && len(found.Left) > 0 {
			build.Status, build.Detail = "warn", fmt.Sprintf("%d open runs wait for a worker of the build they began with, such as %s for %s",
				len(found.Left), found.Left[0].WorkflowID, found.Left[0].Build)
		}
	}
	return append(checks, build)
}

// serveProbes serves ln until ctx ends. It owns ln.
func serveProbes(ctx context.Context, ln net.Listener, probes http.Handler) error {
	server := &http.Server{Handler: probes, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	// A probe is asked again: none is worth waiting for.
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the probes: %w", err)
	}
	return nil
}
