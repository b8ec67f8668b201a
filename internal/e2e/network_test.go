package e2e

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/e2e/toxic"
)

// The lines between Patchbay, which is serve and worker, and its three servers fail
// in five ways while people press. Judged by what the clients were answered and by
// the sandbox's own record: what was accepted is done, once, and nothing else was
// said to be.
func TestWhateverTheNetworkDoesNoPressIsLostAndNoRowIsWrittenTwice(t *testing.T) { //nolint:tparallel // the cases share their lines
	t.Parallel()
	const pressesEach, every = 6, 400 * time.Millisecond
	lines := map[string]*toxic.Line{}
	i, _ := install(t, func(i *installation) {
		database, err := url.Parse(i.application)
		require.NoError(t, err)
		sandbox, err := url.Parse(i.sandboxAt)
		require.NoError(t, err)
		for name, host := range map[string]*string{"sandbox": &sandbox.Host, "postgres": &database.Host, "temporal": &i.temporalAt} {
			lines[name] = toxic.New(t, *host)
			*host = lines[name].Address()
		}
		i.application, i.sandboxAt = database.String(), sandbox.String()
	})
	path, err := binary()
	require.NoError(t, err)
	i.serve(path, freePort(t))
	faults := []struct {
		name  string
		fault toxic.Fault
	}{{"cut", toxic.Cut}, {"latency of two seconds", toxic.Latency}, {"reset", toxic.Reset}, {"slices", toxic.Slices}, {"black hole", toxic.BlackHole}}
	products := i.products(3 * len(faults) * pressesEach)
	var all []outcome
	for _, server := range []string{"sandbox", "postgres", "temporal"} {
		for _, f := range faults {
			some := products[:pressesEach]
			products = products[pressesEach:]
			if !t.Run(server+" "+f.name, func(t *testing.T) {
				l := i.pressing(some, every)
				lines[server].Fail(f.fault)
				i.await("pressed", time.Minute, func() bool { return l.sent.Load() == pressesEach })
				lines[server].Heal()
				l.under.Wait()
				allAnswered(t, l.outcomes, patience)
				judgeAnswers(t, l.answers)
				all = append(all, l.outcomes...)
			}) {
				return
			}
		}
	}
	i.once(i.settled(all, 90*time.Second))
	conn, err := pgx.Connect(t.Context(), i.Database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var runs, reasons int
	require.NoError(t, conn.QueryRow(t.Context(), `select (select count(*) from work where flow = 'product-specs'), (select count(*) from journal where final and flow = 'product-specs')`).Scan(&runs, &reasons))
	require.Equal(t, len(all), runs, "one run a press, however often it was sent")
	require.Equal(t, runs, reasons, "and one final reason each")
	i.await("ready", time.Minute, func() bool {
		resp, err := http.Get(i.HTTP + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// judgeAnswers requires that every request had an answer that a client can go by:
// the run, or that and when to come again, soon.
func judgeAnswers(t *testing.T, answers []answer) {
	t.Helper()
	count := map[int]int{}
	for _, a := range answers {
		count[a.status]++
		switch a.status {
		case http.StatusOK, http.StatusAccepted:
		case http.StatusServiceUnavailable:
			require.NotEmpty(t, a.retry, "%+v", a)
			if a.method == http.MethodPost {
				require.Less(t, a.took, 2*time.Second+time.Second/2, "%+v; half a second is this machine's", a)
			}
		default:
			t.Errorf("%+v", a)
		}
	}
	t.Logf("answers by status: %v", count)
}
