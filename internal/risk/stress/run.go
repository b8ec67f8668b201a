package stress

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/portable"
)

type (
	// Options say how a question is answered.
	Options struct {
		Paths   int     // even, from 2,048 to 1e8
		Seed    uint64  // other numbers for another seed
		Level   float64 // of confidence intervals, from 0.5 to 0.9999; 0 is 0.95
		Workers int     // that compute at a time; 0 is one per core. It changes no bit of the result
		// Progress hears how many of all paths are done: after each block, by one goroutine at a time,
		// never less than before. It may be nil.
		Progress func(done, total int)
	}

	// Estimate is a mean with its confidence interval.
	Estimate struct {
		Value float64 `json:"value"`
		Low   float64 `json:"low"`
		High  float64 `json:"high"`
		// Gain is how many times the variance of as many independent paths this one has: below 1.
		// It is 1 where that variance is 0.
		Gain float64 `json:"gain"`
	}

	// Distribution counts paths by their lowest monthly surplus, in Bins equal parts from Low to High;
	// the first and the last also count what is beyond.
	Distribution struct {
		Low    float64  `json:"low"`
		High   float64  `json:"high"`
		Counts []uint64 `json:"counts"`
	}

	// Answer is what the simulation says. Amounts are of the question's currency.
	Answer struct {
		Paths      int          `json:"paths"`
		Seed       uint64       `json:"seed"`
		Level      float64      `json:"level"`
		Instalment float64      `json:"instalment"` // the first, a month
		Distress   Estimate     `json:"distress"`   // probability that savings do not cover the shortfalls
		Shortfall  Estimate     `json:"shortfall"`  // mean of what they do not cover
		Lowest     Distribution `json:"lowest"`
	}
)

// Run answers a question. It returns ctx's error when it is cancelled, and a fault (package
// figures) when the question or the options are wrong.
func Run(ctx context.Context, q Question, o Options) (Answer, error) {
	p, err := q.prepare()
	if err != nil {
		return Answer{}, err
	}
	if o, err = o.checked(); err != nil {
		return Answer{}, err
	}
	total, bins, err := p.sum(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Paths: o.Paths, Seed: o.Seed, Level: o.Level, Instalment: p.instalment}
	pairs := float64(o.Paths / 2)
	a.Distress = p.estimate(o.Level, pairs, &total, total.fails, total.failsSquare, total.failsControl, 2*total.fails)
	a.Distress.Low, a.Distress.High = max(0, a.Distress.Low), min(1, a.Distress.High)
	a.Distress.Value = min(max(a.Distress.Value, 0), 1)
	// Where all paths end alike, the sample knows no spread: of an event of probability x, none of n pairs has it with (1-x)^n.
	switch unseen := 1 - portable.Exp(portable.Log(1-o.Level)/pairs); total.fails {
	case 0:
		a.Distress.High = unseen
	case pairs:
		a.Distress.Low = 1 - unseen
	}
	a.Shortfall = p.estimate(o.Level, pairs, &total, total.shortfall, total.shortfallSquare, total.shortfallControl, total.singleShortfall)
	a.Shortfall.Low, a.Shortfall.Value = max(0, a.Shortfall.Low), max(0, a.Shortfall.Value)
	a.Lowest = Distribution{Low: p.low, High: p.low + Bins/p.perBin, Counts: bins[:]}
	return a, figures.Finite("the simulation", a.Instalment, a.Distress.Value, a.Distress.Low, a.Distress.High,
		a.Shortfall.Value, a.Shortfall.Low, a.Shortfall.High, a.Lowest.Low, a.Lowest.High)
}

func (o Options) checked() (Options, error) {
	if o.Level == 0 {
		o.Level = 0.95
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	var c figures.Check
	if c.Whole("options.paths", o.Paths, 2048, 1e8) && o.Paths%2 != 0 {
		c.Add(figures.Range, "options.paths", "is odd, and paths come in pairs", "give an even number")
	}
	c.Within("options.level", o.Level, 0.5, 0.9999)
	c.Whole("options.workers", o.Workers, 1, 4096)
	return o, c.Err()
}

// sum simulates all pairs. Blocks are computed in any order, and added in theirs.
func (p *plan) sum(ctx context.Context, o Options) (total sums, all counts, err error) {
	pairs := o.Paths / 2
	parts := make([]sums, (pairs+block-1)/block)
	var (
		next atomic.Int64
		mu   sync.Mutex
		done int
		wg   sync.WaitGroup
	)
	work := func() {
		var bins counts
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(parts) {
				break
			}
			n := min(block, pairs-i*block)
			p.add(&parts[i], &bins, o.Seed, uint64(i)*block, n)
			if o.Progress != nil {
				mu.Lock()
				done += 2 * n
				o.Progress(done, o.Paths)
				mu.Unlock()
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for i, n := range bins {
			all[i] += n
		}
	}
	for range min(o.Workers, len(parts)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return total, all, err
	}
	for i := range parts {
		total.plus(&parts[i])
	}
	return total, all, nil
}

func (s *sums) plus(o *sums) {
	s.fails += o.fails
	s.shortfall += o.shortfall
	s.control += o.control
	s.failsSquare += o.failsSquare
	s.shortfallSquare += o.shortfallSquare
	s.controlSquare += o.controlSquare
	s.failsControl += o.failsControl
	s.shortfallControl += o.shortfallControl
	s.singleShortfall += o.singleShortfall
}

// estimate is the mean of n pairs, corrected by what the quarters without work are off their
// known mean: Y - β(C - E[C]) with the β of the sample. singles is the sum of squares of single paths.
func (p *plan) estimate(level, n float64, s *sums, y, yy, yc, singles float64) Estimate {
	mean, control := y/n, s.control/n
	centred := func(square, a, b float64) float64 { return square - float64(float64(n*a)*b) }
	variance := max(0, centred(yy, mean, mean))
	beta := 0.0
	if spread := centred(s.controlSquare, control, control); spread > float64(1e-12*n) {
		shared := centred(yc, mean, control)
		beta = shared / spread
		variance = max(0, variance-float64(beta*shared))
	}
	variance /= n - 2
	half := float64(portable.Quantile(0.5+float64(0.5*level)) * math.Sqrt(variance/n))
	e := Estimate{Value: mean - float64(beta*(control-p.expected)), Gain: 1}
	e.Low, e.High = e.Value-half, e.Value+half
	if single := singles/(2*n) - float64(mean*mean); single > 0 {
		e.Gain = 2 * variance / single
	}
	return e
}
