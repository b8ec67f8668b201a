package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Queue is what waits in a task queue, as Temporal estimates it.
type Queue struct {
	Name    string
	Waiting int64         // tasks that no worker has
	Age     time.Duration // of the oldest
	Pollers int           // that asked for tasks within the last minutes
}

func (m *Metrics) registerQueues(meter metric.Meter) error {
	waiting, err := meter.Int64ObservableGauge("patchbay_queue_backlog", metric.WithDescription("Computations that wait for a worker, by task queue. Scale the fleet by it."))
	if err != nil {
		return err
	}
	age, err := meter.Float64ObservableGauge("patchbay_queue_age", metric.WithUnit("s"), metric.WithDescription("Age of the oldest computation that waits for a worker, by task queue."))
	if err != nil {
		return err
	}
	pollers, err := meter.Int64ObservableGauge("patchbay_queue_pollers", metric.WithDescription("Workers that asked for computations within the last minutes, by task queue."))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		read := m.queues.Load()
		if read == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		list, err := (*read)(ctx)
		if err != nil {
			return nil // a Temporal that is away leaves a gap
		}
		for _, q := range list {
			of := metric.WithAttributes(attribute.String("queue", q.Name))
			o.ObserveInt64(waiting, q.Waiting, of)
			o.ObserveFloat64(age, q.Age.Seconds(), of)
			o.ObserveInt64(pollers, int64(q.Pollers), of)
		}
		return nil
	}, waiting, age, pollers)
	return err
}

// WatchQueues has the backlogs of task queues read at each scrape.
func (m *Metrics) WatchQueues(read func(context.Context) ([]Queue, error)) {
	if m != nil {
		m.queues.Store(&read)
	}
}
