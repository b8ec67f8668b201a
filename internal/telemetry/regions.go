package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type (
	// Shared is how a synchronization stands, seen from one region.
	Shared struct {
		Flow  string
		Held  int64 // conflicts that wait for a person
		Links []SharedLink
	}

	// SharedLink is one table on its way from one region to another.
	SharedLink struct {
		From, To, Table string
		Lag             time.Duration // how far the other side is behind
		Rows            int64         // under way
	}
)

func (m *Metrics) registerShared(meter metric.Meter) error {
	lag, err := meter.Float64ObservableGauge("patchbay_sync_lag_seconds", metric.WithDescription("How far the region to is behind of what the region from changed, by flow and table; 0 where nothing is under way."))
	rows, rowsErr := meter.Int64ObservableGauge("patchbay_sync_rows", metric.WithDescription("Rows under way from one region to another that are known here, by flow and table."))
	held, heldErr := meter.Int64ObservableGauge("patchbay_sync_held_conflicts", metric.WithDescription("Conflicts of a synchronization that wait for a person."))
	if err := errors.Join(err, rowsErr, heldErr); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		read := m.shared.Load()
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
			o.ObserveInt64(held, s.Held, metric.WithAttributes(attribute.String("flow", s.Flow)))
			for _, l := range s.Links {
				of := metric.WithAttributes(attribute.String("flow", s.Flow), attribute.String("from", l.From), attribute.String("to", l.To), attribute.String("table", l.Table))
				o.ObserveFloat64(lag, l.Lag.Seconds(), of)
				o.ObserveInt64(rows, l.Rows, of)
			}
		}
		return nil
	}, lag, rows, held)
	return err
}

// WatchShared has the synchronizations read at each scrape.
func (m *Metrics) WatchShared(read func(context.Context) ([]Shared, error)) {
	if m != nil {
		m.shared.Store(&read)
	}
}
