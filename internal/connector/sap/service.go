package sap

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

type (
	// services keeps what each service says of itself.
	services struct {
		mu    sync.Mutex
		known map[string]*described // by root
	}

	// described is one service; whoever holds turn asks for it, the others wait.
	described struct {
		turn  chan struct{}
		model atomic.Pointer[model]
	}

	// target is a table of the connection as its service has it.
	target struct {
		table  connector.Table
		root   string // of the service, without a slash at its end
		set    string
		v4     bool
		entity *entity
		model  *model
	}
)

func newServices() *services { return &services{known: map[string]*described{}} }

func (x *services) of(root string) *described {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.known[root]
	if d == nil {
		d = &described{turn: make(chan struct{}, 1)}
		x.known[root] = d
	}
	return d
}

// target finds a table and, once for each service, what the service says of it. A
// column that the service did not have is asked for again: it may be new. One that
// it does not have is refused here, because some servers give rows without it.
func (s *SAP) target(ctx context.Context, name string, columns ...string) (target, error) {
	t, err := s.config.Table(name)
	if err != nil {
		return target{}, err
	}
	root, set, ok := s.place(t)
	if !ok {
		return target{}, fault.Invalidf("connector.path", "connection %s: the path of table %s is not SERVICE/SET", s.config.Name, name)
	}
	d := s.services.of(root)
	known := d.model.Load()
	for fresh := false; ; fresh = true {
		m := known
		if m == nil || fresh {
			if m, err = s.load(ctx, root, d, m); err != nil {
				return target{}, err
			}
		}
		at, err := s.in(t, root, set, m)
		lacks := slices.IndexFunc(columns, func(c string) bool { _, has := at.entity.properties[c]; return !has })
		switch {
		case err == nil && lacks < 0:
			return at, nil
		case fresh || known == nil:
			if err == nil {
				err = fault.New(fault.Rejected, System+".unknown_column", s.config.Name+" has no column "+columns[lacks]+" in table "+name, nil)
			}
			return target{}, err
		}
	}
}

func (s *SAP) in(t connector.Table, root, set string, m *model) (target, error) {
	e := m.sets[set]
	if e == nil {
		return target{entity: &entity{}}, fault.New(fault.Rejected, System+".unknown_resource",
			s.config.Name+" has no such entity set in the service; check path of table "+t.Name+", names are case-sensitive", nil)
	}
	return target{table: t, root: root, set: set, v4: m.v4, entity: e, model: m}, nil
}

// load asks a service for its $metadata, unless another caller just has: stale is what
// is not good enough.
func (s *SAP) load(ctx context.Context, root string, d *described, stale *model) (*model, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m := d.model.Load(); m != stale {
		return m, nil
	}
	var m *model
	_, err := s.transport.Do(ctx, connector.Request{
		Method: http.MethodGet, Target: root + "/$metadata" + s.query(), Header: http.Header{"Accept": {"application/xml"}}, Collection: true,
		Decode: func(_ http.Header, body []byte) (err error) { m, err = parseModel(body); return err },
	}, nil)
	if err != nil {
		return nil, err
	}
	d.model.Store(m)
	return m, nil
}

// Describe reads the $metadata of the table's service now.
func (s *SAP) Describe(ctx context.Context, table string) (connector.Description, error) {
	t, err := s.config.Table(table)
	if err != nil {
		return connector.Description{}, err
	}
	root, set, ok := s.place(t)
	if !ok {
		return connector.Description{}, fault.Invalidf("connector.path", "connection %s: the path of table %s is not SERVICE/SET", s.config.Name, table)
	}
	d := s.services.of(root)
	m, err := s.load(ctx, root, d, d.model.Load())
	if err != nil {
		return connector.Description{}, err
	}
	at, err := s.in(t, root, set, m)
	if err != nil {
		return connector.Description{}, err
	}
	out := at.entity.describe()
	if column := s.references[table]; column != "" {
		out.Keys = append(out.Keys, []string{column}) // Patchbay keeps it one
	}
	// What the table says of lines is of the entity of lines.
	for _, name := range linesOf {
		if e := at.entity.navigations[name]; e != nil {
			if slices.Contains(t.Columns, name) {
				out.Columns = append(out.Columns, connector.Described{Name: name, Type: "list", Nullable: true})
			}
			for _, c := range e.describe().Columns {
				if slices.Contains(t.Columns, c.Name) && !at.has(c.Name) {
					out.Columns = append(out.Columns, c)
				}
			}
		}
	}
	return out, nil
}

// form is how the values of a column become what rows hold: as the connection
// declares the column, else as the service does.
func (t target) form(column string) sheet.Form {
	p := t.entity.properties[column]
	switch t.table.Types[column] {
	case "decimal", "int":
		return sheet.Number
	case "date":
		return sheet.Date
	case "timestamp":
		return sheet.Timestamp
	}
	return p.form()
}
