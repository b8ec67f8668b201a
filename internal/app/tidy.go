package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/claimcheck"
)

// tidyEvery is how often documents that nobody needs are looked for.
const tidyEvery = 30 * time.Second

// tidy removes documents that nobody needs until ctx ends. Any process may.
func (c *core) tidy(ctx context.Context) {
	every := time.NewTicker(time.Duration(float64(tidyEvery) / max(c.Speed, 1)))
	defer every.Stop()
	cleaner := &claimcheck.Cleaner{Checks: c.checks, Runs: c.book, Events: c.topics}
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if n, err := cleaner.Clean(ctx); err != nil {
			c.Log.Debug("documents that nobody needs were not removed", zap.Error(err))
		} else if n > 0 {
			c.Log.Info("documents that nobody needs were removed", zap.Int("documents", n))
		}
	}
}
