package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/stage"
)

// expiredCode is the code of a source that no longer knows where the next page begins.
const expiredCode = "connector.cursor_expired"

type (
	// Sheets reads sources page by page.
	Sheets interface {
		// ExtractPage reads one page of a source: of all its rows, or of those that were
		// changed at or after since, which is JSON text; empty is all. token is empty for
		// the first page, then the Next of the page before.
		ExtractPage(ctx context.Context, plan *flow.Plan, source flow.Source, since, token string) (flow.Sheet, error)
		// SourceColumns are the columns that the system itself says its table has; nil when
		// it cannot say.
		SourceColumns(ctx context.Context, plan *flow.Plan, source flow.Source) ([]string, error)
	}

	// Staging keeps what is read, a page at a time.
	Staging interface {
		Begin(ctx context.Context, plan *flow.Plan, source flow.Source, runID string, full bool) (*stage.Reading, error)
	}

	// Extractor is the activity consolidation.extract.v1: it reads one source of a run.
	Extractor struct {
		Plans   Plans
		Runs    Reads
		Sheets  Sheets
		Staging Staging
		// Patience is how long a source may give no answer before it counts as missing.
		Patience time.Duration
	}
)

// Extract reads one source to its end. Each page is committed with its cursor, so that
// an attempt goes on where the one before it was lost. A source that stays away for
// longer than the patience, or that says no for good, is missing: the flow's policy says
// whether the run goes on without it.
func (a *Extractor) Extract(ctx context.Context, in contract.ExtractInput) (contract.ExtractResult, error) {
	ctx, _, stop := alive(ctx)
	defer stop()
	plan, source, err := a.source(ctx, in)
	if err != nil {
		return contract.ExtractResult{}, err
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "reading")
	if err != nil {
		return contract.ExtractResult{}, fmt.Errorf("beginning to read: %w", err)
	}
	r, err := a.Staging.Begin(ctx, plan, source, item.RunID, asked(item, flow.ParamFull))
	if err != nil {
		return contract.ExtractResult{}, fmt.Errorf("beginning to read %s: %w", source.Name, err)
	}
	if !r.Ended {
		if err = a.pages(ctx, plan, source, r); err == nil {
			err = r.Complete(ctx, plan.Gather.Guard, asked(item, flow.ParamAccept))
		}
	}
	if err != nil {
		return a.trouble(ctx, source, item, r, err)
	}
	return resultOf(source, r), nil
}

// source finds the plan of a run and the source that is meant.
func (a *Extractor) source(ctx context.Context, in contract.ExtractInput) (*flow.Plan, flow.Source, error) {
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return nil, flow.Source{}, fmt.Errorf("loading the plan: %w", err)
	}
	if plan.Gather != nil {
		if i := slices.IndexFunc(plan.Gather.Sources, func(s flow.Source) bool { return s.Name == in.Source }); i >= 0 {
			return plan, plan.Gather.Sources[i], nil
		}
	}
	return nil, flow.Source{}, fault.New(fault.Bug, "consolidation.plan", "the plan has no source "+in.Source, nil)
}

// asked reports whether a person gave the run a parameter of consolidations.
func asked(item run.Item, param string) bool {
	yes, _ := item.Params[param].(bool)
	return yes
}

// pages reads from where the reading stands to the last page.
func (a *Extractor) pages(ctx context.Context, plan *flow.Plan, source flow.Source, r *stage.Reading) error {
	there, err := a.columns(ctx, plan, source, r)
	if err != nil {
		return err
	}
	for !r.Last() {
		sheet, err := a.Sheets.ExtractPage(ctx, plan, there, r.Since, r.Token)
		if err != nil {
			return &unread{err}
		}
		if r.Pages == 0 && sheet.Rows() > 0 {
			if err := a.drift(ctx, r, sheet.Columns, false); err != nil {
				return err
			}
		}
		if err := r.Put(ctx, sheet); err != nil {
			if f := fault.Of(err); f.Code == stage.CodePageLoop || f.Code == truncatedCode {
				return &unread{err}
			}
			return fmt.Errorf("keeping a page of %s: %w", source.Name, err)
		}
	}
	return nil
}

// truncatedCode is the code of a page that ends within a row.
const truncatedCode = "vendor.truncated"

// columns asks the system itself what its table has, where it can say, and gives the
// source as it can be asked for: without the columns that it has lost.
func (a *Extractor) columns(ctx context.Context, plan *flow.Plan, source flow.Source, r *stage.Reading) (flow.Source, error) {
	if r.Last() {
		return source, nil
	}
	columns, err := a.Sheets.SourceColumns(ctx, plan, source)
	if err != nil {
		return source, &unread{err}
	}
	if columns == nil {
		return source, nil
	}
	there := source
	there.Select = slices.DeleteFunc(slices.Clone(source.Select), func(c string) bool { return !slices.Contains(columns, c) })
	return there, a.drift(ctx, r, columns, true)
}

func (a *Extractor) drift(ctx context.Context, r *stage.Reading, columns []string, whole bool) error {
	if err := r.Columns(ctx, columns, whole); err != nil {
		return fmt.Errorf("comparing columns: %w", err)
	}
	if err := r.Drift(); err != nil {
		return &unread{fault.Of(err)}
	}
	return nil
}

// unread is a failure of the source, not one of our own.
type unread struct{ err error }

func (u *unread) Error() string { return u.err.Error() }
func (u *unread) Unwrap() error { return u.err }

// trouble decides about a failed attempt: another one, or the source is missing.
func (a *Extractor) trouble(ctx context.Context, source flow.Source, item run.Item, r *stage.Reading, err error) (contract.ExtractResult, error) {
	var of *unread
	f := fault.Of(err)
	read := errors.As(err, &of)
	if !read && f.Code != stage.CodeMoved || errors.Is(err, context.Canceled) {
		return contract.ExtractResult{}, err
	}
	ctx, done := committed(ctx) // an attempt whose time is over says so all the same
	defer done()
	if f.Code == expiredCode || !read {
		if err := r.Restart(ctx); err != nil {
			return contract.ExtractResult{}, fmt.Errorf("beginning %s anew: %w", source.Name, err)
		}
		return contract.ExtractResult{}, fault.New(fault.Unavailable, f.Code, f.Text+"; it is read anew", err)
	}
	if f.Retryable() {
		since, failed := r.Failing(ctx)
		if failed != nil {
			return contract.ExtractResult{}, fmt.Errorf("noting the failure of %s: %w", source.Name, failed)
		}
		if since < a.Patience {
			tell(ctx, a.Runs, item, flow.Running, source.Connection, err)
			return contract.ExtractResult{}, fmt.Errorf("reading %s: %w", source.Name, err)
		}
	}
	if err := r.Abandon(ctx, f); err != nil {
		return contract.ExtractResult{}, fmt.Errorf("giving up %s: %w", source.Name, err)
	}
	r.Held = f
	return resultOf(source, r), nil
}

// resultOf says how a reading ended. What a guard holds was read all the same.
func resultOf(source flow.Source, r *stage.Reading) contract.ExtractResult {
	out := contract.ExtractResult{Source: source.Name, State: flow.Fresh, Rows: r.Rows, Pages: r.Pages, Rejected: r.Rejected}
	if f := r.Held; f != nil {
		out.Fault = f
		if f.Code != stage.CodeZero && f.Code != stage.CodeShare {
			out.State = flow.Missing
		}
	}
	return out
}
