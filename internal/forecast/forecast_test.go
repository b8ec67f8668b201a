package forecast_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
	"patchbay/internal/forecast"
)

const (
	seeds = 20
	most  = 120 // runs that a forecast is made of
)

var began = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// world makes histories: what a run takes is what it does per row, the rows of the day,
// and noise that now and then is a run which hangs or finds nothing.
type world struct {
	random *rand.Rand
	every  time.Duration
	base   float64 // share of the interval that the first run takes
	growth float64 // by which that grows each slot
	noise  float64 // of it, as a standard deviation
	rows   bool    // it takes longer because there are more rows
}

func (w world) point(i int) forecast.Point {
	share := w.base + w.growth*float64(i)
	rows := 100_000.0
	if w.rows {
		rows = 1_000_000 * share
	}
	took := share * (1 + w.noise*w.random.NormFloat64())
	switch w.random.IntN(40) {
	case 0:
		took *= 0.1
	case 1:
		took = min(took*2.5, 0.99) // it hangs, and yet is over in time
	}
	return forecast.Point{At: began.Add(time.Duration(i) * w.every), Took: time.Duration(max(took, 0.001) * float64(w.every)), Rows: int64(rows * (1 + 0.05*w.random.NormFloat64()))}
}

func times(t *testing.T, every time.Duration) (*calendar.Times, string) {
	t.Helper()
	s := flow.Schedule{Every: every}
	c, err := calendar.Compile(s)
	require.NoError(t, err)
	return c, calendar.Words(s)
}

// follow forecasts after each run, as a Patchbay does, until a run is not over in time.
// It gives the first run after which people were warned, and the one that was too long.
func follow(t *testing.T, w world, runs int) (warned, breached int) {
	t.Helper()
	c, words := times(t, w.every)
	warned, breached = -1, -1
	var history []forecast.Point
	for i := range runs {
		p := w.point(i)
		if p.Took >= w.every {
			return warned, i
		}
		history = append(history, p)
		if len(history) > most {
			history = history[1:]
		}
		if i%3 > 0 && runs-i > 3 { // each third is enough to show it
			continue
		}
		f, enough := forecast.Of("picture", words, history, c, p.At.Add(p.Took))
		if enough && f.Warn && warned < 0 {
			warned = i
			require.NotNil(t, f.Breach)
			require.Contains(t, f.Text, "every "+calendar.Short(w.every))
			require.Contains(t, f.Text, "longer each day")
			require.Contains(t, f.Text, f.Breach.Format(time.RFC3339))
		}
	}
	return warned, breached
}

func TestAWarningComesBeforeTheBreach(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]world{
		"hourly, slowly":          {every: time.Hour, base: 0.3, growth: 0.003, noise: 0.1},
		"daily, with its rows":    {every: 24 * time.Hour, base: 0.4, growth: 0.006, noise: 0.08, rows: true},
		"each minute, with noise": {every: time.Minute, base: 0.5, growth: 0.004, noise: 0.15},
		"each second, fast":       {every: time.Second, base: 0.2, growth: 0.01, noise: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, ahead := 0, 0
			for seed := range uint64(seeds) {
				w := w
				w.random = rand.New(rand.NewPCG(seed, 1))
				warned, breached := follow(t, w, 400)
				require.GreaterOrEqual(t, breached, 0, "seed %d never breaches, so it shows nothing", seed)
				if warned >= 0 && warned < breached {
					before++
					ahead += breached - warned
				}
			}
			t.Logf("warned before the breach in %d of %d, %d runs ahead on average", before, seeds, ahead/max(before, 1))
			require.GreaterOrEqual(t, before, 19)
		})
	}
}

func TestAFlatHistoryRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]world{
		"quiet":              {every: time.Hour, base: 0.4, noise: 0.05},
		"noisy":              {every: time.Hour, base: 0.5, noise: 0.15},
		"noisy and nearly":   {every: 24 * time.Hour, base: 0.7, noise: 0.08},
		"rows that say more": {every: time.Hour, base: 0.5, noise: 0.1, rows: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alarms := 0
			for seed := range uint64(seeds) {
				w := w
				w.random = rand.New(rand.NewPCG(seed, 2))
				if warned, _ := follow(t, w, 200); warned >= 0 {
					alarms++
				}
			}
			t.Logf("%d false alarms of %d", alarms, seeds)
			require.LessOrEqual(t, alarms, 1)
		})
	}
}

func TestTooFewRunsAndTheLastSlotSayNothing(t *testing.T) {
	t.Parallel()
	c, words := times(t, time.Hour)
	w := world{random: rand.New(rand.NewPCG(1, 3)), every: time.Hour, base: 0.3, growth: 0.01}
	var history []forecast.Point
	for i := range 7 {
		history = append(history, w.point(i))
	}
	_, enough := forecast.Of("picture", words, history, c, began)
	require.False(t, enough)
	once, err := calendar.Compile(flow.Schedule{Cron: []string{"0 0 1 11 * 2026"}})
	require.NoError(t, err)
	_, enough = forecast.Of("picture", words, append(history, w.point(7), w.point(8)), once, began.Add(10*time.Hour))
	require.False(t, enough)
}

func TestAShortGapOfAnIrregularScheduleIsTheOneThatIsBreached(t *testing.T) {
	t.Parallel()
	c, err := calendar.Compile(flow.Schedule{Cron: []string{"0 6 * * *", "30 6 * * 1"}}) // on Mondays half an hour
	require.NoError(t, err)
	var history []forecast.Point
	for i := range 20 {
		history = append(history, forecast.Point{At: began.AddDate(0, 0, i).Add(6 * time.Hour), Took: 20*time.Minute + time.Duration(i)*20*time.Second, Rows: 5})
	}
	now := history[19].At.Add(time.Hour)
	f, enough := forecast.Of("picture", "on Mondays twice", history, c, now)
	require.True(t, enough)
	require.True(t, f.Warn, f.Text)
	require.Equal(t, time.Monday, f.Breach.Weekday())
	require.InDelta(t, 20, f.PerDay.Seconds(), 0.1)
}
