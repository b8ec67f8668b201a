package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"patchbay/internal/check"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

// landscape tells how the flows in force hang together. The index is made again when
// another plan, or other connections, are in force.
type landscape struct {
	plans *run.Plans

	mu    sync.Mutex
	of    string
	index *check.Index
}

// Map implements web.Landscape.
func (l *landscape) Map(ctx context.Context) (flow.Map, error) {
	x, err := l.current(ctx)
	if err != nil {
		return flow.Map{}, err
	}
	return x.Map(), nil
}

// Impact implements web.Landscape.
func (l *landscape) Impact(ctx context.Context, item string) (flow.Impact, error) {
	x, err := l.current(ctx)
	if err != nil {
		return flow.Impact{}, err
	}
	return x.Impact(item)
}

func (l *landscape) current(ctx context.Context) (*check.Index, error) {
	report, of, err := inForceNow(ctx, l.plans)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index == nil || l.of != of {
		l.index, l.of = check.NewIndex(report), of
	}
	return l.index, nil
}

// inForceNow is what is in force, as a check of its files would report it, and a text
// that is another when something else is. Files are not known.
func inForceNow(ctx context.Context, plans *run.Plans) (check.Report, string, error) {
	applied, err := plans.List(ctx)
	if err != nil {
		return check.Report{}, "", err
	}
	report := check.Report{}
	if report.Connections, err = plans.Connections(ctx); err != nil {
		return check.Report{}, "", err
	}
	config, err := json.Marshal(report.Connections)
	if err != nil {
		return check.Report{}, "", fmt.Errorf("comparing connections: %w", err)
	}
	var of strings.Builder
	of.Write(config)
	for _, a := range applied {
		report.Flows = append(report.Flows, check.Flow{Plan: a.Plan})
		of.WriteString(a.Digest)
	}
	return report, of.String(), nil
}
