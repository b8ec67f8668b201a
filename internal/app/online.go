package app

import (
	"context"
	"time"

	"patchbay/internal/check"
	"patchbay/internal/config"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// askedWithin bounds what one table may take to be described.
const askedWithin = 30 * time.Second

// CheckOnline compares the flows of a report with what their systems say of their
// tables now. Nothing but descriptions is read. The environment in dir, if there is
// one, says where the sandbox is.
func CheckOnline(ctx context.Context, r check.Report, dir string) (check.Report, error) {
	if err := nameSandbox(dir); err != nil {
		return r, err
	}
	s := newSystems(declared(r.Connections), nil, registry(), config.Resolve, 1)
	defer s.client.CloseIdleConnections()
	return check.Online(ctx, r, func(ctx context.Context, c flow.Connection, table string) (*check.Shape, error) {
		// Who checks in one region has the credentials of that one.
		if c.Region != "" && len(unresolved([]flow.Connection{c}, c.Region, config.Resolve)) > 0 {
			return nil, fault.New(fault.Rejected, check.CodeElsewhere, "its credentials are those of the region "+c.Region+", and are not known here", nil)
		}
		return s.describe(ctx, c, table)
	}), nil
}

// describe is what a system says of one table; nil where it says nothing.
func (s *systems) describe(ctx context.Context, c flow.Connection, table string) (*check.Shape, error) {
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	o, err := s.shared(c)
	if err != nil {
		return nil, err
	}
	describer, ok := o.system.(connector.Describer)
	if !ok {
		return nil, nil
	}
	d, err := describer.Describe(ctx, table)
	if ctx.Err() != nil {
		return nil, fault.New(fault.Unavailable, "vendor.timeout", c.Name+" did not answer in time", nil)
	}
	if err != nil {
		return nil, err
	}
	shape := check.Shape{Columns: make(map[string]flow.Type, len(d.Columns)), Keys: d.Keys}
	for _, column := range d.Columns {
		shape.Columns[column.Name] = typeOf(column.Type)
	}
	return &shape, nil
}

// typeOf is a type of a description as flows know it; empty for those they do not.
func typeOf(described string) flow.Type {
	switch t := flow.Type(described); t {
	case flow.String, flow.Int, flow.Decimal, flow.Bool, flow.Date, flow.Timestamp:
		return t
	case flow.Any:
	}
	return ""
}
