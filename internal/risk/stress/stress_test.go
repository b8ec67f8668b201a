package stress_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/stress"
)

var update = flag.Bool("update", false, "write the golden bits anew")

func TestAnyNumberOfWorkersGivesTheSameBits(t *testing.T) {
	t.Parallel()
	o := stress.Options{Paths: 20_002, Seed: 11, Workers: 1}
	want, err := stress.Sums(t.Context(), stress.Example(), o)
	require.NoError(t, err)
	for _, o.Workers = range []int{2, 3, 8, 64} {
		got, err := stress.Sums(t.Context(), stress.Example(), o)
		require.NoError(t, err)
		require.Equal(t, want, got, "%d workers", o.Workers)
	}
	o.Seed++
	other, err := stress.Sums(t.Context(), stress.Example(), o)
	require.NoError(t, err)
	require.NotEqual(t, want, other)
}

// The file was written on amd64. Another machine, or another compiler, has to find the same.
func TestTheBitsAreThoseOnRecord(t *testing.T) {
	t.Parallel()
	sums, err := stress.Sums(t.Context(), stress.Example(), stress.Options{Paths: 10_000, Seed: 2026})
	require.NoError(t, err)
	a, err := stress.Run(t.Context(), stress.Example(), stress.Options{Paths: 10_000, Seed: 2026})
	require.NoError(t, err)
	got := fmt.Sprintf("%sinstalment %x\ndistress %x %x %x %x\nshortfall %x %x %x %x\n", sums, a.Instalment,
		a.Distress.Value, a.Distress.Low, a.Distress.High, a.Distress.Gain, a.Shortfall.Value, a.Shortfall.Low, a.Shortfall.High, a.Shortfall.Gain)
	golden := filepath.Join("testdata", "golden.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestTheSameLoopInCGivesTheSameBits(t *testing.T) {
	t.Parallel()
	gcc, err := exec.LookPath("gcc")
	require.NoError(t, err, "make test-tools installs it")
	program := filepath.Join(t.TempDir(), "paths")
	out, err := exec.CommandContext(t.Context(), gcc, "-O3", "-std=c11", "-Wall", "-Werror", "-ffp-contract=off", "-pthread", "-o", program,
		filepath.Join("testdata", "paths.c"), "-lm").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, q := range map[string]stress.Question{"the example": stress.Example(), "only rates": forms()["a normal rate"].question, "only work": forms()["loss of work"].question} {
		listing, err := stress.Listing(q)
		require.NoError(t, err)
		want, err := stress.Sums(t.Context(), q, stress.Options{Paths: 30_000, Seed: 5})
		require.NoError(t, err)
		for _, threads := range []string{"1", "2"} {
			cmd := exec.CommandContext(t.Context(), program, "5", "15000", threads)
			cmd.Stdin = strings.NewReader(listing)
			out, err := cmd.Output()
			require.NoError(t, err)
			_, got, _ := strings.Cut(string(out), "\n")
			require.Equal(t, want, got, "%s with %s threads", name, threads)
		}
	}
}

func TestNoPathAllocates(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts what others allocate meanwhile
	block, err := stress.Block(stress.Example())
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(20, block))
	of := func(paths int) float64 {
		return testing.AllocsPerRun(3, func() {
			_, err := stress.Run(context.Background(), stress.Example(), stress.Options{Paths: paths, Seed: 1, Workers: 1})
			require.NoError(t, err)
		})
	}
	require.Less(t, of(65_536)-of(4_096), 4.0, "sixteen times the paths, and no more allocations")
}

func TestProgressRisesToTheEnd(t *testing.T) {
	t.Parallel()
	var seen []int
	_, err := stress.Run(t.Context(), stress.Example(), stress.Options{Paths: 10_000, Workers: 4, Progress: func(done, total int) {
		seen = append(seen, done)
		require.Equal(t, 10_000, total)
	}})
	require.NoError(t, err)
	require.IsIncreasing(t, seen)
	require.Len(t, seen, 10)
	require.Equal(t, 10_000, seen[len(seen)-1])
}

func TestACancelIsHeardWithinABlock(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const workers = 3
	after := 0
	_, err := stress.Run(ctx, stress.Example(), stress.Options{Paths: 1e8, Workers: workers, Progress: func(int, int) {
		cancel()
		after++
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.LessOrEqual(t, after, workers, "each worker ends the block it has")
}

func TestEachStressMakesItWorse(t *testing.T) {
	t.Parallel()
	at := func(change func(*stress.Question)) stress.Answer {
		q := stress.Example()
		change(&q)
		a, err := stress.Run(t.Context(), q, stress.Options{Paths: 20_000, Seed: 3})
		require.NoError(t, err)
		return a
	}
	base := at(func(*stress.Question) {})
	for name, change := range map[string]func(*stress.Question){
		"a dearer rate":        func(q *stress.Question) { q.Stress.RateRise += 0.01 },
		"less income":          func(q *stress.Question) { q.Stress.IncomeCut = 0.05 },
		"more lose their work": func(q *stress.Question) { q.Stress.LossFactor = 4 },
		"fewer find work":      func(q *stress.Question) { q.Economy.JobFind = 0.1 },
		"rates against income": func(q *stress.Question) { q.Economy.Correlation.RateIncome = -0.8 },
		"fewer savings":        func(q *stress.Question) { q.Household.Savings = 1000 },
		"a longer look":        func(q *stress.Question) { q.Horizon = 20 },
	} {
		worse := at(change)
		require.Greater(t, worse.Distress.Value+worse.Shortfall.Value/1e5, base.Distress.Value+base.Shortfall.Value/1e5, name)
	}
	var paths uint64
	for _, n := range base.Lowest.Counts {
		paths += n
	}
	require.EqualValues(t, 20_000, paths)
}

func TestWhatNeverHappensIsNotSaidToBeImpossible(t *testing.T) {
	t.Parallel()
	q := quiet()
	a, err := stress.Run(t.Context(), q, stress.Options{Paths: 10_000})
	require.NoError(t, err)
	require.Zero(t, a.Distress.Value)
	require.InDelta(t, 1-math.Pow(0.05, 1.0/5000), a.Distress.High, 1e-12)
	q.Household.Living = 5000
	a, err = stress.Run(t.Context(), q, stress.Options{Paths: 10_000})
	require.NoError(t, err)
	require.Equal(t, 1.0, a.Distress.Value)
	require.Less(t, a.Distress.Low, 1.0)
}

func TestAWrongQuestionIsAnErrorWithAName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*stress.Question, *stress.Options)
		path   string
		code   string
	}{
		"no income":           {func(q *stress.Question, _ *stress.Options) { q.Household.Income = 0 }, "household.income", figures.Range},
		"negative income":     {func(q *stress.Question, _ *stress.Options) { q.Household.Income = -1 }, "household.income", figures.Range},
		"income that is none": {func(q *stress.Question, _ *stress.Options) { q.Household.Income = math.NaN() }, "household.income", figures.NotANumber},
		"endless savings":     {func(q *stress.Question, _ *stress.Options) { q.Household.Savings = math.Inf(1) }, "household.savings", figures.NotANumber},
		"no volatility":       {func(q *stress.Question, _ *stress.Options) { q.Economy.RateVol = math.NaN() }, "economy.rate_vol", figures.NotANumber},
		"a loan for ever":     {func(q *stress.Question, _ *stress.Options) { q.Loan.Months = 481 }, "loan.months", figures.Range},
		"beyond the loan":     {func(q *stress.Question, _ *stress.Options) { q.Loan.Months = 12 }, "horizon", figures.Contradiction},
		"losses above one":    {func(q *stress.Question, _ *stress.Options) { q.Stress.LossFactor = 99 }, "stress.loss_factor", figures.Contradiction},
		"a probability of 2":  {func(q *stress.Question, _ *stress.Options) { q.Economy.JobFind = 2 }, "economy.job_find", figures.Range},
		"no factor":           {func(q *stress.Question, _ *stress.Options) { q.Stress.LossFactor = 0 }, "stress.loss_factor", figures.Range},
		"correlations that cannot be": {func(q *stress.Question, _ *stress.Options) {
			q.Economy.Correlation = stress.Correlation{RateIncome: 0.9, RateWork: 0.9, IncomeWork: -0.9}
		}, "economy.correlation", figures.Contradiction},
		"two that are one, and a third": {func(q *stress.Question, _ *stress.Options) {
			q.Economy.Correlation = stress.Correlation{RateIncome: 1, RateWork: 0.5, IncomeWork: -0.5}
		}, "economy.correlation", figures.Contradiction},
		"odd paths":      {func(_ *stress.Question, o *stress.Options) { o.Paths = 4097 }, "options.paths", figures.Range},
		"few paths":      {func(_ *stress.Question, o *stress.Options) { o.Paths = 10 }, "options.paths", figures.Range},
		"sure of itself": {func(_ *stress.Question, o *stress.Options) { o.Level = 1 }, "options.level", figures.Range},
	} {
		q, o := stress.Example(), stress.Options{Paths: 4096}
		c.change(&q, &o)
		_, err := stress.Run(t.Context(), q, o)
		var f *fault.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, fault.Invalid, f.Class, name)
		require.Equal(t, c.code, f.Code, name)
		require.Equal(t, c.path, f.Fields[0].Path, name)
	}
}

func TestCorrelationsOfOneAreAllowed(t *testing.T) {
	t.Parallel()
	q := stress.Example()
	q.Economy.Correlation = stress.Correlation{RateIncome: -1, RateWork: 1, IncomeWork: -1}
	_, err := stress.Run(t.Context(), q, stress.Options{Paths: 4096})
	require.NoError(t, err)
}

// Whatever is asked: an answer of finite numbers that makes sense, or an error with a name.
func TestAnyFiguresGiveSenseOrAnError(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		strange := rapid.SampledFrom([]float64{0, -1, 1, 1e-300, 1e12, 0.5, 0.001, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64})
		q := stress.Example()
		for _, x := range []*float64{
			&q.Household.Income, &q.Household.Living, &q.Household.Debts, &q.Household.Savings, &q.Loan.Amount, &q.Loan.Margin, &q.Economy.Rate, &q.Economy.RateMean,
			&q.Economy.RateReversion, &q.Economy.RateVol, &q.Economy.IncomeGrowth, &q.Economy.IncomeVol, &q.Economy.CostGrowth, &q.Economy.JobLoss, &q.Economy.JobFind,
			&q.Economy.Benefit, &q.Economy.Correlation.RateIncome, &q.Stress.RateRise, &q.Stress.IncomeCut, &q.Stress.LossFactor,
		} {
			if rapid.IntRange(0, 15).Draw(r, "strange") == 0 {
				*x = strange.Draw(r, "figure")
			}
		}
		a, err := stress.Run(context.Background(), q, stress.Options{Paths: 2048})
		if err != nil {
			var f *fault.Fault
			require.ErrorAs(r, err, &f)
			require.Equal(r, fault.Invalid, f.Class, "%v", err)
			require.NotEmpty(r, f.Fields)
			return
		}
		require.True(r, 0 <= a.Distress.Low && a.Distress.Low <= a.Distress.Value && a.Distress.Value <= a.Distress.High && a.Distress.High <= 1, "%+v", a.Distress)
		_, err = json.Marshal(a)
		require.NoError(r, err, "JSON refuses what is no number")
	})
}

func BenchmarkPaths(b *testing.B) {
	block, err := stress.Block(stress.Example())
	require.NoError(b, err)
	for b.Loop() {
		block()
	}
}
