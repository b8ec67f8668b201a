package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
)

type (
	// Metrics are the instruments of one process. Methods are safe for concurrent
	// use.
	Metrics struct {
		registry *prometheus.Registry
		provider *sdk.MeterProvider
		meter    metric.Meter
		runs     metric.Float64Histogram
		answers  metric.Float64Histogram
		requests metric.Float64Histogram
	}

	// Queue is the state of the queue of runs at one moment.
	Queue struct {
		OldestDue   time.Duration // age of the oldest row that Temporal does not have
		Due         int           // such rows
		OpenBatches int           // workflows under way
		Retried     int           // open rows with tries above 0
	}
)

// seconds are the bucket bounds of durations, from a quick answer to an outage.
var seconds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600}

// New builds the instruments.
func New() (*Metrics, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("building the exporter: %w", err)
	}
	m := &Metrics{registry: registry, provider: sdk.NewMeterProvider(sdk.WithReader(reader))}
	m.meter = m.provider.Meter("patchbay")
	histogram := func(name, help string) metric.Float64Histogram {
		h, bad := m.meter.Float64Histogram(name, metric.WithDescription(help), metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(seconds...))
		if bad != nil && err == nil {
			err = bad
		}
		return h
	}
	m.runs = histogram("patchbay.run.duration", "From accepted to closed, by flow and outcome.")
	m.answers = histogram("patchbay.answer.duration", "From accepted to answered, by flow.")
	m.requests = histogram("patchbay.http.duration", "HTTP requests by route and status.")
	if err != nil {
		return nil, fmt.Errorf("building instruments: %w", err)
	}
	return m, nil
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Temporal is where the SDK's own metrics go.
func (m *Metrics) Temporal() client.MetricsHandler {
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{Meter: m.provider.Meter("temporal")})
}

// Run records a run that closed.
func (m *Metrics) Run(flow, outcome string, took time.Duration) {
	m.runs.Record(context.Background(), took.Seconds(), metric.WithAttributes(attribute.String("flow", flow), attribute.String("outcome", outcome)))
}

// Answer records an answer.
func (m *Metrics) Answer(flow string, took time.Duration) {
	m.answers.Record(context.Background(), took.Seconds(), metric.WithAttributes(attribute.String("flow", flow)))
}

// Request records an HTTP request; route is its pattern, never its path.
func (m *Metrics) Request(route string, status int, took time.Duration) {
	m.requests.Record(context.Background(), took.Seconds(), metric.WithAttributes(attribute.String("route", route), attribute.String("status", strconv.Itoa(status))))
}

// WatchQueue reads the queue whenever the metrics are scraped. A reading that
// fails leaves a gap, which is what an alarm should see.
func (m *Metrics) WatchQueue(read func(context.Context) (Queue, error)) error {
	var err error
	gauge := func(name, help, unit string) metric.Float64ObservableGauge {
		g, bad := m.meter.Float64ObservableGauge(name, metric.WithDescription(help), metric.WithUnit(unit))
		if bad != nil && err == nil {
			err = bad
		}
		return g
	}
	oldest := gauge("patchbay.due.oldest.age", "Age of the oldest row that Temporal does not have.", "s")
	due := gauge("patchbay.due.rows", "Rows that Temporal does not have.", "")
	batches := gauge("patchbay.batches.open", "Workflows under way.", "")
	retried := gauge("patchbay.rows.retried", "Open rows with tries above 0.", "")
	if err != nil {
		return fmt.Errorf("building gauges: %w", err)
	}
	_, err = m.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		q, err := read(ctx)
		if err != nil {
			return err
		}
		o.ObserveFloat64(oldest, q.OldestDue.Seconds())
		o.ObserveFloat64(due, float64(q.Due))
		o.ObserveFloat64(batches, float64(q.OpenBatches))
		o.ObserveFloat64(retried, float64(q.Retried))
		return nil
	}, oldest, due, batches, retried)
	if err != nil {
		return fmt.Errorf("watching the queue: %w", err)
	}
	return nil
}

// Close ends the export.
func (m *Metrics) Close(ctx context.Context) error { return m.provider.Shutdown(ctx) }
