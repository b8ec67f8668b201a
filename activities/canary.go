package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

type (
	// Schema is the one row that the canary reads: the version of the schema.
	Schema interface {
		Schema(ctx context.Context) (have, want int64, err error)
	}

	// Canary is the activity canary.read.v1. It touches no run and no system outside.
	Canary struct {
		Store Schema
	}
)

// canaryReads bounds the read: its failure has to be told before the attempt ends.
const canaryReads = 2 * time.Second

// Read reads the row.
func (a *Canary) Read(ctx context.Context, _ contract.CanaryInput) (contract.CanaryResult, error) {
	ctx, cancel := context.WithTimeout(ctx, canaryReads)
	defer cancel()
	version, _, err := a.Store.Schema(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fault.New(fault.Unavailable, "store.unavailable", "the database does not answer", err)
	}
	if err != nil {
		return contract.CanaryResult{}, fmt.Errorf("reading the version of the schema: %w", err)
	}
	return contract.CanaryResult{Schema: version}, nil
}
