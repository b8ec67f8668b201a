package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/calculator"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/httpapi"
	"patchbay/internal/telemetry"
)

// Options are what a process that only computes is told.
type Options struct {
	Temporal  string   // HOST:PORT; empty: the environment configuration of Temporal's SDK
	Namespace string   // empty: the environment's, else "default"
	Queues    []string // such as "risk"; each with its lane for batches
	HTTP      string   // HOST:PORT of /metrics, /healthz and /readyz; empty: none
	Tuning    Tuning
	Log       *zap.Logger
}

// Run hosts calculators until ctx ends, then lets what is under way end. It opens a connection to
// Temporal and listens on o.HTTP: nothing else.
func Run(ctx context.Context, o Options, calculators ...calculator.Calculator) error {
	if len(calculators) == 0 || len(o.Queues) == 0 {
		return fault.Invalidf("fleet.nothing", "a worker that computes needs at least one queue and one calculator")
	}
	registry, err := calculator.Register(calculators...)
	if err != nil {
		return err
	}
	metrics, err := telemetry.New()
	if err != nil {
		return fmt.Errorf("building the metrics: %w", err)
	}
	defer func() { _ = metrics.Close(context.WithoutCancel(ctx)) }()
	temporal, err := durable.Dial(ctx, durable.Options{Address: o.Temporal, Namespace: o.Namespace, Logger: o.Log, Metrics: metrics.Temporal()})
	if err != nil {
		return err
	}
	defer temporal.Close()
	queues := make([]contract.Queue, len(o.Queues))
	for i, q := range o.Queues {
		queues[i] = contract.Queue(q)
	}
	host := NewHost(temporal, queues, registry, o.Tuning, o.Log)
	names := make([]string, len(calculators))
	for i, c := range calculators {
		names[i] = c.Name() + " " + c.Version()
	}
	slices.Sort(names)
	o.Log.Info("hosting calculators", zap.Strings("queues", o.Queues), zap.Strings("calculators", names), zap.Int("slots", host.slots))

	parts, ctx := errgroup.WithContext(ctx)
	base, end := context.WithCancel(context.WithoutCancel(ctx)) // the probes outlive what they watch
	if o.HTTP != "" {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.HTTP)
		if err != nil {
			end()
			return fault.New(fault.Invalid, "http.listen", "cannot listen on "+o.HTTP+"; give --http HOST:PORT (port 0 picks a free one)", err)
		}
		o.Log.Info("serving probes", zap.String("address", ln.Addr().String()))
		parts.Go(func() error { return serve(base, ln, httpapi.Probes(probe{temporal, o.Namespace}, metrics.Handler())) })
	}
	parts.Go(func() error {
		defer end()
		return host.Run(ctx)
	})
	return parts.Wait()
}

// probe tells whether a process of the fleet can be given work.
type probe struct {
	temporal  client.Client
	namespace string
}

// Ready implements httpapi.Readiness.
func (p probe) Ready(ctx context.Context) []httpapi.Check {
	c := httpapi.Check{Name: "temporal", Status: "ok"}
	if err := durable.Ready(ctx, p.temporal, cmp.Or(p.namespace, client.DefaultNamespace)); err != nil {
		c.Status, c.Detail = "fail", fault.Of(err).Text
	}
	return []httpapi.Check{c, {Name: "build", Status: "ok", Detail: Build()}}
}

// serve serves ln until ctx ends. It owns ln.
func serve(ctx context.Context, ln net.Listener, probes http.Handler) error {
	server := &http.Server{Handler: probes, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the probes: %w", err)
	}
	return nil
}
