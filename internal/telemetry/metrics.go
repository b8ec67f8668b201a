package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
)

// Seconds, from a press that is answered at once to a run that waits for a night.
var (
	runBuckets  = []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 43200}
	callBuckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}
)

type (
	// Metrics are the instruments of one process. All methods may be called from
	// any goroutine; on nil they do nothing.
	Metrics struct {
		registry *prometheus.Registry
		provider *sdkmetric.MeterProvider
		runs     metric.Float64Histogram
		requests metric.Float64Histogram
		backlog  atomic.Pointer[func(context.Context) (Backlog, error)]
		canary   atomic.Pointer[func() Canary]
		slots    atomic.Pointer[func(context.Context) ([]Slots, error)]
		queues   atomic.Pointer[func(context.Context) ([]Queue, error)]
		shared   atomic.Pointer[func(context.Context) ([]Shared, error)]
	}

	// Canary is what the canaries told, read at each scrape.
	Canary struct {
		Passed time.Time       // the last that came through; zero: none has
		Took   time.Duration   // it
		Up     map[string]bool // by leg of its way: nothing stops them there
	}

	// Backlog is the state of the run rows, read at each scrape.
	Backlog struct {
		OldestDue   time.Duration // age of the oldest accepted row that Temporal does not have
		Due         int           // such rows
		OpenRuns    int
		OpenBatches int
		Retried     int // open rows with tries above 0
	}
)

// New makes the instruments of a process, those of the Go runtime included.
func New() (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(m.registry), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("building the metrics exporter: %w", err)
	}
	m.provider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithView(
		sdkmetric.NewView(sdkmetric.Instrument{Name: "temporal_*", Kind: sdkmetric.InstrumentKindHistogram},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: callBuckets}})))
	meter := m.provider.Meter("patchbay")
	if m.runs, err = meter.Float64Histogram("patchbay_run_duration", metric.WithUnit("s"),
		metric.WithDescription("From acceptance to the end of a run, by flow and outcome."),
		metric.WithExplicitBucketBoundaries(runBuckets...)); err != nil {
		return nil, err
	}
	if m.requests, err = meter.Float64Histogram("patchbay_http_request_duration", metric.WithUnit("s"),
		metric.WithDescription("Requests to the API and the console, by route and status."),
		metric.WithExplicitBucketBoundaries(callBuckets...)); err != nil {
		return nil, err
	}
	return m, errors.Join(m.registerBacklog(meter), m.registerCanary(meter), m.registerSlots(meter), m.registerQueues(meter), m.registerShared(meter))
}

func (m *Metrics) registerCanary(meter metric.Meter) error {
	up, err := meter.Float64ObservableGauge("patchbay_canary_up", metric.WithDescription("1 unless canaries are lost on this leg of their way: store, temporal, worker."))
	age, ageErr := meter.Float64ObservableGauge("patchbay_canary_age_seconds", metric.WithDescription("Time since a canary came through."))
	took, tookErr := meter.Float64ObservableGauge("patchbay_canary_duration_seconds", metric.WithDescription("How long the last canary took that came through."))
	if err := errors.Join(err, ageErr, tookErr); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		read := m.canary.Load()
		if read == nil {
			return nil
		}
		c := (*read)()
		for leg, well := range c.Up {
			value := 0.0
			if well {
				value = 1
			}
			o.ObserveFloat64(up, value, metric.WithAttributes(attribute.String("leg", leg)))
		}
		if !c.Passed.IsZero() {
			o.ObserveFloat64(age, time.Since(c.Passed).Seconds())
			o.ObserveFloat64(took, c.Took.Seconds())
		}
		return nil
	}, up, age, took)
	return err
}

// WatchCanary has the canaries read at each scrape.
func (m *Metrics) WatchCanary(read func() Canary) {
	if m != nil {
		m.canary.Store(&read)
	}
}

func (m *Metrics) registerBacklog(meter metric.Meter) error {
	var failed error
	gauge := func(name, help string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge(name, metric.WithDescription(help))
		if err != nil && failed == nil {
			failed = err
		}
		return g
	}
	oldest := gauge("patchbay_oldest_due_seconds", "Age of the oldest accepted run that Temporal does not have yet.")
	due := gauge("patchbay_due_runs", "Accepted runs that Temporal does not have yet.")
	runs := gauge("patchbay_open_runs", "Runs that are not final.")
	batches := gauge("patchbay_open_batches", "Workflows with runs that are not final.")
	retried := gauge("patchbay_retried_runs", "Open runs that have been tried before.")
	if failed != nil {
		return failed
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		read := m.backlog.Load()
		if read == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		b, err := (*read)(ctx)
		if err != nil {
			return nil // a database that is away leaves a gap in five lines, not in all of them
		}
		o.ObserveFloat64(oldest, b.OldestDue.Seconds())
		o.ObserveFloat64(due, float64(b.Due))
		o.ObserveFloat64(runs, float64(b.OpenRuns))
		o.ObserveFloat64(batches, float64(b.OpenBatches))
		o.ObserveFloat64(retried, float64(b.Retried))
		return nil
	}, oldest, due, runs, batches, retried)
	return err
}

// WatchBacklog has the backlog read at each scrape.
func (m *Metrics) WatchBacklog(read func(context.Context) (Backlog, error)) {
	if m != nil {
		m.backlog.Store(&read)
	}
}

// RunClosed counts the end of a run, took after it was accepted.
func (m *Metrics) RunClosed(flow, outcome string, took time.Duration) {
	if m != nil {
		m.runs.Record(context.Background(), took.Seconds(), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("flow", flow), attribute.String("outcome", outcome))))
	}
}

// Request records a request to the API or the console; route is the pattern that
// served it, which holds no parameter.
func (m *Metrics) Request(route string, status int, took time.Duration) {
	if m != nil {
		m.requests.Record(context.Background(), took.Seconds(), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("route", route), attribute.String("status", strconv.Itoa(status)))))
	}
}

// Temporal is the handler for the metrics of the Temporal SDK.
func (m *Metrics) Temporal() client.MetricsHandler {
	if m == nil {
		return client.MetricsNopHandler
	}
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                m.provider.Meter("temporal-sdk-go"),
		OnError:              func(error) {}, // a metric is not worth a worker
		UseMonotonicCounters: true,
	})
}

// Handler serves GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Close stops the instruments.
func (m *Metrics) Close(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return m.provider.Shutdown(ctx)
}
