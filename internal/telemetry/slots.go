package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Slots are the slots of a schedule in the last day that have one outcome.
type Slots struct {
	Flow    string
	Outcome string
	Count   int64
}

func (m *Metrics) registerSlots(meter metric.Meter) error {
	slots, err := meter.Int64ObservableGauge("patchbay_slots", metric.WithDescription("Slots of schedules in the last day, by flow and outcome: ran, late, skipped: overlap, missed, paused."))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		read := m.slots.Load()
		if read == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		list, err := (*read)(ctx)
		if err != nil {
			return nil // a database that is away leaves a gap
		}
		for _, s := range list {
			o.ObserveInt64(slots, s.Count, metric.WithAttributes(attribute.String("flow", s.Flow), attribute.String("outcome", s.Outcome)))
		}
		return nil
	}, slots)
	return err
}

// WatchSlots has the slots of schedules read at each scrape.
func (m *Metrics) WatchSlots(read func(context.Context) ([]Slots, error)) {
	if m != nil {
		m.slots.Store(&read)
	}
}
