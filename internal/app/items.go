package app

import (
	"context"
	"maps"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// items gives the net changes that a run of an event flow carries, one for each
// record, as rows: each with its record as row. A flow that reads besides has what the
// source holds now laid over what the events told; of a record that is gone the events
// are all there is.
func (s *systems) items(ctx context.Context, plan *flow.Plan, params flow.Row) ([]flow.Row, error) {
	list, ok := params["items"].([]any)
	if !ok {
		return nil, fault.New(fault.Bug, "event.items", "a run of an event flow without its items", nil)
	}
	rows := make([]flow.Row, 0, len(list))
	for _, v := range list {
		item, ok := v.(map[string]any)
		if !ok {
			return nil, fault.New(fault.Bug, "event.items", "an item of a run that is no net change", nil)
		}
		now, err := s.now(ctx, plan, params, item["key"])
		if err != nil {
			return nil, err
		}
		for _, record := range records(item) {
			rows = append(rows, laidOver(record, now))
		}
	}
	return rows, nil
}

// now is what the flow reads of a key; nil where it reads nothing, or there is nothing.
func (s *systems) now(ctx context.Context, plan *flow.Plan, params flow.Row, key any) (flow.Row, error) {
	if plan.Read == nil {
		return nil, nil
	}
	with := maps.Clone(params)
	with["key"] = key
	read, err := s.read(ctx, plan, with)
	if fault.Is(err, fault.NotFound) || err == nil && len(read) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return read[0], nil
}

// records are the net changes of an item, one for each record that its window was of:
// the one that changed last comes last.
func records(item flow.Row) []flow.Row {
	others, _ := item["others"].([]any)
	list := make([]flow.Row, 0, len(others)+1)
	for _, v := range others {
		if other, ok := v.(map[string]any); ok {
			list = append(list, other)
		}
	}
	return append(list, item)
}

// laidOver is an item whose record has the columns of now.
func laidOver(item, now flow.Row) flow.Row {
	if now == nil {
		return item
	}
	row, _ := item["row"].(map[string]any)
	merged := make(flow.Row, len(row)+len(now))
	maps.Copy(merged, row)
	maps.Copy(merged, now)
	item = maps.Clone(item)
	item["row"] = merged
	return item
}
