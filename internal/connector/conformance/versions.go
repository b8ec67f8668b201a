package conformance

import (
	"context"

	"patchbay/internal/connector"
)

// Versions is the harness by which the suite asks of writes by version what it asks of
// all writes: each goes through UpsertAt, as of rows that must not be there.
func Versions(h Harness) Harness {
	build := h.Build
	h.Build = func(c connector.Config, d connector.Deps) (any, error) {
		system, err := build(c, d)
		return byVersions{system}, err
	}
	return h
}

// byVersions has a connector's writes by version look like others.
type byVersions struct{ system any }

func (b byVersions) ReadPage(ctx context.Context, q connector.Query, token string) (connector.Page, error) {
	return b.system.(connector.PageReader).ReadPage(ctx, q, token)
}

func (b byVersions) Upsert(ctx context.Context, u connector.Upsert) ([]connector.Result, error) {
	return b.system.(connector.Versioned).UpsertAt(ctx, u, make([]string, len(u.Rows)))
}
