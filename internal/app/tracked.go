package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/starters"
)

// Changed gives a page of what change tracking tells of a table. A system that tracks
// nothing is told by deliveries alone: it has no changes.
func (s *systems) Changed(ctx context.Context, plan *flow.Plan, connection, table string, columns []string, cursor string) (starters.Changes, error) {
	system, err := s.open(ctx, plan, connection)
	if err != nil {
		return starters.Changes{}, err
	}
	reader, tracks := system.(connector.ChangeReader)
	identifier, names := system.(connector.Identifier)
	if !tracks || !names {
		return starters.Changes{Cursor: cursor}, nil
	}
	page, err := reader.ReadChanges(ctx, table, columns, cursor)
	if err != nil {
		return starters.Changes{}, fmt.Errorf("reading changes of %s.%s: %w", connection, table, err)
	}
	primary, now := identifier.Identify(table), time.Now()
	out := starters.Changes{Cursor: page.Cursor, More: page.More}
	for i, row := range page.Rows {
		e := flow.Occurrence{Connection: connection, Table: table, Record: fmt.Sprint(row[primary]), At: now, After: row, Whole: true}
		if i < len(page.Versions) {
			e.Version = page.Versions[i]
		}
		if e.ID, err = swept(e, row); err != nil {
			return out, err
		}
		out.Events = append(out.Events, e)
	}
	for _, record := range page.Deleted {
		e := flow.Occurrence{Connection: connection, Table: table, Record: record, At: now, Change: flow.Deleted}
		if e.ID, err = swept(e, page.Cursor); err != nil {
			return out, err
		}
		out.Events = append(out.Events, e)
	}
	return out, nil
}

// swept is the ID of a change that change tracking tells of: equal for the same state
// of the same record, however often it is told.
func swept(e flow.Occurrence, state any) (string, error) {
	if e.Version != 0 {
		return "swept " + e.Table + " " + e.Record + " " + strconv.FormatInt(e.Version, 10), nil
	}
	body, err := json.Marshal(state)
	if err != nil {
		return "", fault.New(fault.Bug, "sweep.encode", "a changed row cannot be encoded", err)
	}
	return "swept " + e.Table + " " + e.Record + " " + string(body), nil
}

// Record reads one record by its primary key; nil when there is none.
func (s *systems) Record(ctx context.Context, plan *flow.Plan, connection, table, record string, columns []string) (flow.Row, error) {
	system, err := s.open(ctx, plan, connection)
	if err != nil {
		return nil, err
	}
	if followed, ok := system.(connector.FeedReader); ok {
		key, err := s.key(ctx, connection, table)
		if err != nil {
			return nil, err
		}
		at, err := keyOf(key, record)
		if err != nil {
			return nil, err
		}
		rows, err := followed.ReadFeed(ctx, connector.FeedTable{Table: table, Key: key, Columns: columns}, []connector.Row{at})
		if err != nil {
			return nil, fmt.Errorf("reading a record of %s.%s: %w", connection, table, err)
		}
		return rows[0].Row, nil
	}
	reader, reads := system.(connector.KeyReader)
	identifier, names := system.(connector.Identifier)
	if !reads || !names {
		return nil, lacking(connection, "read one record by its primary key")
	}
	primary := identifier.Identify(table)
	rows, err := reader.ReadByKey(ctx, table, []string{primary}, []connector.Row{{primary: record}}, columns)
	if err != nil {
		return nil, fmt.Errorf("reading a record of %s.%s: %w", connection, table, err)
	}
	return rows[0], nil
}
