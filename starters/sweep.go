package starters

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/run"
)

const (
	cancelEvery = time.Second
	// questions is how many Temporal is asked at a time.
	questions = 8

	// Temporal is asked after batches that it has had for sweepAge, a page each
	// sweepEvery; the pages of one sweep follow each other by the second.
	sweepAge   = 15 * time.Second
	sweepEvery = 15 * time.Second
	sweepPage  = 100
)

// openEnds is what the relay asks after: batches of one whose cancel Temporal may
// not have heard, batches that have been open for long, and those that nobody settled.
type openEnds interface {
	SealedOpen(ctx context.Context) ([]run.Handed, error)
	Open(ctx context.Context, age time.Duration, after string, limit int) ([]run.Handed, error)
	SettleEmpty(ctx context.Context, age time.Duration) (int, error)
	ender
}

// cancel repeats the cancels whose runs are still open.
func (r *Relay) cancel(ctx context.Context) (more bool, err error) {
	sealed, err := r.book.SealedOpen(ctx)
	if err != nil {
		return false, err
	}
	return false, each(ctx, sealed, func(ctx context.Context, h run.Handed) error {
		return cancelBatch(ctx, r.book, r.launcher.temporal, h)
	})
}

// sweep ends what workflows left open that were terminated, timed out or lost, so
// that no run stays open for ever (promise 4), and settles what nobody settled. It
// reports that there is another page.
func (r *Relay) sweep(ctx context.Context) (more bool, err error) {
	if r.swept == "" {
		if _, err := r.book.SettleEmpty(ctx, sweepAge); err != nil {
			return false, err
		}
	}
	page, err := r.book.Open(ctx, sweepAge, r.swept, sweepPage)
	if err != nil {
		return false, err
	}
	err = each(ctx, page, func(ctx context.Context, h run.Handed) error {
		f, err := fateOf(ctx, r.launcher.temporal, h.WorkflowID)
		if err != nil || f == nil {
			return err
		}
		if err := f.end(ctx, r.book, h.BatchID); err != nil {
			return err
		}
		r.log.Warn("a workflow left runs open", zap.String("workflow", h.WorkflowID), zap.Bool("carried out anew", !f.final), zap.Error(f.why))
		return nil
	})
	if away(err) {
		return false, err // the page is asked again
	}
	r.swept = ""
	if len(page) == sweepPage {
		r.swept = page[sweepPage-1].BatchID
	}
	return r.swept != "", err
}

// each asks Temporal after several batches at a time. What fails keeps none of the
// others from being asked, except that Temporal is away for all.
func each(ctx context.Context, list []run.Handed, ask func(context.Context, run.Handed) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(questions)
	failed := make([]error, len(list))
	for i, h := range list {
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			err := ask(ctx, h)
			if away(err) {
				return err
			}
			failed[i] = err
			return nil
		})
	}
	return errors.Join(g.Wait(), errors.Join(failed...))
}
