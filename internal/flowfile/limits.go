package flowfile

import (
	"time"

	"patchbay/internal/flow"
)

// The defaults of Limits.
const (
	defaultTimeout    = 30 * time.Second
	defaultRows       = 500
	defaultConcurrent = 50
	defaultPerUser    = 2
	defaultQueue      = 1_000
	maxTimeout        = 24 * time.Hour
)

func (c *compiler) limits() {
	d := &c.doc.limits
	c.out.Limits = flow.Limits{
		Timeout: c.duration(d.timeout, defaultTimeout), Rows: count(d.rows, defaultRows), Concurrent: count(d.concurrent, defaultConcurrent),
		PerUser: count(d.perUser, defaultPerUser), Queue: count(d.queue, defaultQueue), ShareIdentical: c.duration(d.shareIdentical, 0),
	}
	switch {
	case d.timeout.ok && d.timeout.value <= 0:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is zero, so no run could end in time", "write a duration such as 30s")
	case d.timeout.value > maxTimeout && c.out.Saga == nil:
		c.add(d.timeout.at, CodeTimeout, "limits.timeout is longer than 24h", "nobody waits that long at a button; write at most 24h")
	}
	if d.shareIdentical.value > maxTimeout {
		c.add(d.shareIdentical.at, CodeTimeout, "limits.share_identical is longer than 24h", "write at most 24h")
	}
}

func count(w whole, otherwise int) int {
	if !w.given() || w.value == 0 {
		return otherwise
	}
	return int(w.value)
}

// duration is d, or otherwise, at the speed of the environment.
func (c *compiler) duration(d span, otherwise time.Duration) time.Duration {
	v := otherwise
	if d.ok {
		v = d.value
	}
	if c.options.Speed > 0 {
		v = time.Duration(float64(v) / c.options.Speed)
	}
	return v
}
