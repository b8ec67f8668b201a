package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"patchbay/activities"
	"patchbay/internal/claimcheck"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// rereadings is how often a document is read anew at once that changed while it was read.
const rereadings = 3

// checks keeps the bytes of documents.
type checks interface {
	Keep(ctx context.Context, runID string, from io.Reader) (flow.Claim, error)
	Open(ctx context.Context, claim flow.Claim, from int64) (io.ReadCloser, error)
}

var _ checks = (*claimcheck.Checks)(nil)

// documentID is the column of a table that names its documents: its first key.
func (s *systems) documentID(ctx context.Context, connection, table string) (string, error) {
	c, err := s.connections.Connection(ctx, connection)
	if err != nil {
		return "", fmt.Errorf("looking up connection %s: %w", connection, err)
	}
	keys := c.Tables[table].Keys
	if len(keys) == 0 || len(keys[0]) != 1 {
		return "", fault.New(fault.Rejected, "connection.key", "the first key of "+connection+"."+table+" is no longer one column, by which its documents are known", nil)
	}
	return keys[0][0], nil
}

// besides are the columns that a read asks for beside its document: the ID among them.
func (s *systems) besides(ctx context.Context, read *flow.Read) ([]string, error) {
	id, err := s.documentID(ctx, read.Connection, read.Table)
	if err != nil {
		return nil, err
	}
	columns := slices.DeleteFunc(slices.Clone(read.Select), func(name string) bool { return name == read.Document })
	if !slices.Contains(columns, id) {
		columns = append(columns, id)
	}
	return columns, nil
}

// Fetch implements activities.Documents. One that changes while it is read is read anew, and
// where that goes on and on later.
func (s *systems) Fetch(ctx context.Context, plan *flow.Plan, row flow.Row, runID string) (flow.Claim, string, error) {
	read := plan.Read
	system, err := s.open(ctx, plan, read.Connection)
	if err != nil {
		return flow.Claim{}, "", err
	}
	reader, ok := system.(connector.DocumentReader)
	if !ok {
		return flow.Claim{}, "", lacking(read.Connection, "read documents")
	}
	column, err := s.documentID(ctx, read.Connection, read.Table)
	if err != nil {
		return flow.Claim{}, "", err
	}
	id, is := row[column].(string)
	if !is || id == "" {
		return flow.Claim{}, "", fault.New(fault.Rejected, "document.id", "the row has no "+column+", by which its document is known", nil)
	}
	for range rereadings {
		claim, wrong, err := s.fetch(ctx, reader, connector.DocumentRef{Table: read.Table, ID: id}, runID)
		if f := fault.Of(err); err == nil || f.Code != "connector.changed" {
			return claim, wrong, err
		}
	}
	return flow.Claim{}, "", fault.New(fault.Unavailable, flow.DocumentChangedCode, "the document changes while it is read, again and again; it is read anew", nil)
}

// fetch reads one version of a document.
func (s *systems) fetch(ctx context.Context, reader connector.DocumentReader, ref connector.DocumentRef, runID string) (flow.Claim, string, error) {
	d, err := reader.Open(ctx, ref, 0)
	if err != nil {
		return flow.Claim{}, "", err
	}
	defer d.Body.Close()
	if d.Size > flow.MostDocument {
		return flow.Claim{}, "", fault.New(fault.Rejected, flow.DocumentLargeCode, fmt.Sprintf("the document has %d bytes; a flow carries at most %d MiB", d.Size, flow.MostDocument>>20), nil)
	}
	claim, err := s.checks.Keep(ctx, runID, d.Body)
	if err != nil {
		return flow.Claim{}, "", err
	}
	name, wrong := connector.SafeName(d.Name)
	if name == "" {
		name = "document"
	}
	if d.Wrong != "" { // the connector made it safe
		wrong = append([]string{d.Wrong}, wrong...)
	}
	claim.Name, claim.Type = name, d.Type
	return claim, strings.Join(wrong, ", "), nil
}

// storing is the write of a document that a row says.
func (s *systems) storing(plan *flow.Plan, row flow.Row, held func() error) (connector.DocumentWrite, error) {
	w := plan.Write
	claim, is := flow.ClaimOf(row[w.Document])
	name, named := row[flow.FileName].(string)
	switch {
	case !is:
		return connector.DocumentWrite{}, fault.New(fault.Rejected, "document.missing", "the column "+w.Document+" has no document", nil)
	case !named || !flow.SafeName(name):
		return connector.DocumentWrite{}, fault.New(fault.Rejected, flow.DocumentNameCode, "the name of the document is none of a file: it is empty, too long, or has a path or characters that cannot be seen", nil)
	}
	d := connector.DocumentWrite{
		Place:     connector.DocumentPlace{Table: w.Table, Parent: connector.Row{}, Name: name},
		Reference: claim.SHA256, // the same content is the same document, whichever run brings it
		Held:      held,
		Content: connector.Content{Type: claim.Type, Size: claim.Size, SHA256: claim.SHA256,
			Open: func(ctx context.Context, from int64) (io.ReadCloser, error) { return s.checks.Open(ctx, claim, from) }},
	}
	for column, v := range row {
		switch {
		case column == w.Document, column == flow.FileName:
		case slices.Contains(w.Key, column):
			d.Place.Parent[column] = v
		default:
			if d.Values == nil {
				d.Values = connector.Row{}
			}
			d.Values[column] = v
		}
	}
	return d, nil
}

// carry stores the documents of rows, or takes them away; it answers as Upsert does.
func (s *systems) carry(ctx context.Context, plan *flow.Plan, system any, call activities.Call) ([]error, error) {
	writer, stores := system.(connector.DocumentWriter)
	remover, removes := system.(connector.DocumentRemover)
	switch {
	case !stores:
		return nil, lacking(plan.Write.Connection, "store documents")
	case plan.Write.Remove && !removes:
		return nil, lacking(plan.Write.Connection, "take documents back")
	}
	errs := make([]error, len(call.Rows))
	for i, row := range call.Rows {
		w, err := s.storing(plan, row, call.Held)
		switch {
		case err != nil:
		case plan.Write.Remove:
			err = remover.Remove(ctx, w)
		default:
			_, err = writer.Store(ctx, w)
		}
		errs[i] = err
	}
	return errs, nil
}

// sight looks for the documents of rows; those that are to be taken away are seen where
// they are not.
func (s *systems) sight(ctx context.Context, plan *flow.Plan, system any, rows []flow.Row) (activities.Sight, error) {
	sight := activities.Sight{Rows: make([]flow.Row, len(rows)), Conditional: plan.Write.Remove, Looks: true}
	if _, once := system.(connector.DocumentOnce); once {
		sight.Conditional = true
	}
	var err error
	if sight.SettleAfter, err = s.settleAfter(ctx, plan.Write.Connection); err != nil {
		return activities.Sight{}, err
	}
	for i, row := range rows {
		there, err := s.there(ctx, plan, system, row)
		if err != nil {
			return activities.Sight{}, err
		}
		if there != plan.Write.Remove {
			sight.Rows[i] = row
		}
	}
	return sight, nil
}

func (s *systems) there(ctx context.Context, plan *flow.Plan, system any, row flow.Row) (bool, error) {
	writer, ok := system.(connector.DocumentWriter)
	if !ok {
		return false, lacking(plan.Write.Connection, "store documents")
	}
	w, err := s.storing(plan, row, nil)
	if err != nil {
		return false, err
	}
	found, err := writer.Stored(ctx, w)
	return found != nil, err
}

// Stored implements activities.Documents.
func (s *systems) Stored(ctx context.Context, plan *flow.Plan, row flow.Row) (bool, error) {
	system, err := s.open(ctx, plan, plan.Write.Connection)
	if err != nil {
		return false, err
	}
	return s.there(ctx, plan, system, row)
}
