package mirror_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/replica"
	"patchbay/internal/store/storetest"
)

type (
	// history is what people do in all regions, one after the other, and what that must come
	// to: the later writing of a value stays, and a record is there if something of it was
	// written after it was deleted last.
	history struct {
		*world
		r       *rand.Rand
		n       int
		records map[string]*remembered
		// away has, while nobody observes de, what it has written since: of a row that is read
		// only then it is known when it was changed last, and not when it was deleted.
		away map[string]bool
		// own are only de's from the backup on.
		own  []string
		kept bool
		// made has, since all held the same, in which regions a record was made. One that was
		// made in two and is deleted in one before the other's is written there is none that
		// this one's system ever showed beside it: see docs/synchronization.md, Open.
		made map[string]map[string]bool
	}

	remembered struct {
		values [3]string
		at     [3]int
		gone   int
	}
)

var shownColumns = [3]string{"name", "phone", "credit"}

func (h *history) value(column int) string {
	if column == 2 {
		return fmt.Sprint(h.n)
	}
	return fmt.Sprint("v", h.n)
}

// step is one thing that somebody does in a region, of some records.
func (h *history) step(region string, keys []string) {
	h.Helper()
	h.n++
	key := keys[h.r.IntN(len(keys))]
	rec := h.records[key]
	var sql string
	var args []any
	column := h.r.IntN(3)
	what := h.r.IntN(10)
	own := slices.Contains(h.own, key)
	if h.away[key] && region == "de" && !own {
		return
	}
	if h.kept && own && region != "de" || h.away != nil && region == "de" && !own && what == 0 {
		what = 9
	}
	if what == 0 && len(h.made[key]) > 1 {
		what = 9
	}
	switch {
	case what == 0:
		sql, args = `delete from account where accountnumber = $1`, []any{key}
	case what < 3:
		sql, args = `insert into account values ($1, $2, $3, $4::text::numeric, 'x') on conflict do nothing`, []any{key, h.value(0), h.value(1), h.value(2)}
	case column == 2:
		sql, args = `update account set credit = $2::text::numeric where accountnumber = $1`, []any{key, h.value(2)}
	default:
		sql, args = `update account set `+shownColumns[column]+` = $2 where accountnumber = $1`, []any{key, h.value(column)}
	}
	tag, err := h.regions[region].erp.Exec(h.ctx, sql, args...)
	require.NoError(h, err)
	if tag.RowsAffected() == 0 {
		return
	}
	h.Logf("%d: %s, %s of %s in %s", h.n, sql[:6], shownColumns[column], key, region)
	if h.away != nil && region == "de" {
		h.away[key] = true
	}
	switch {
	case what == 0:
		rec.gone = h.n
	case what < 3:
		if h.made[key] == nil {
			h.made[key] = map[string]bool{}
		}
		h.made[key][region] = true
		for i := range rec.values {
			rec.values[i], rec.at[i] = h.value(i), h.n
		}
	default:
		rec.values[column], rec.at[column] = h.value(column), h.n
	}
}

// want is what all regions must hold.
func (h *history) want() string {
	var lines []string
	for key, r := range h.records {
		if slices.Max(r.at[:]) > r.gone {
			lines = append(lines, fmt.Sprintf("account %s: %s, %s, %s\n", key, r.values[0], r.values[1], r.values[2]))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (h *history) steps(n int, regions []string, keys []string) {
	for range n {
		h.step(regions[h.r.IntN(len(regions))], keys)
	}
}

// agreed waits until all regions hold what the history comes to.
func (h *history) agreed(within time.Duration) {
	h.Helper()
	got := h.same(within)
	clear(h.made)
	want := h.want()
	if got == want {
		return
	}
	for _, key := range h.differing(got, want) {
		for name, r := range h.regions {
			account, err := r.replica.Account(h.ctx, r.side.Place, "account", []string{`"` + key + `"`})
			h.Logf("%s, region %s: %v %v", key, name, account.Words, err)
		}
	}
	require.Equal(h, want, got)
}

// differing are the keys of which two texts tell another thing.
func (h *history) differing(got, want string) (keys []string) {
	for key := range h.records {
		line := func(all string) string {
			_, rest, _ := strings.Cut(all, "account "+key+":")
			line, _, _ := strings.Cut(rest, "\n")
			return line
		}
		if line(got) != line(want) {
			keys = append(keys, key)
		}
	}
	return keys
}

// forgotten removes what all regions have from all borders.
func (w *world) forgotten() {
	w.Helper()
	for _, r := range w.regions {
		for {
			n, err := r.border.Prune(w.ctx, w.plan.Flow)
			require.NoError(w, err)
			if n == 0 {
				break
			}
		}
	}
}

// The database of a region is restored from a backup that was made while everybody worked.
// People went on since, in all regions, also while it was away and while it comes back: what
// all hold in the end is what the writings say, as if nothing had happened.
func TestARestoredRegionComesBackByItself(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { t.Parallel(); restored(t, seed) })
	}
}

func restored(t *testing.T, seed uint64) {
	t.Helper()
	all := []string{"ch", "de", "fr"}
	w := newWorld(t, sharing(), all...)
	w.audited()
	for _, r := range w.regions {
		r.border.Keep = 5 * time.Second
	}
	h := &history{world: w, r: rand.New(rand.NewPCG(seed, 1)), records: map[string]*remembered{}, made: map[string]map[string]bool{}}
	var keys []string
	for n := range 60 {
		keys = append(keys, fmt.Sprintf("K%02d", n))
		h.records[keys[n]] = &remembered{}
	}
	h.own = keys[50:]
	keys = keys[:50]
	w.listening("de")
	w.work(all...)
	everything := slices.Concat(keys, h.own)
	h.steps(150, all, everything)
	h.agreed(90 * time.Second)
	h.kept = true
	h.steps(30, all, keys)
	restore := storetest.Backup(t, w.regions["de"].database.Owner)
	h.steps(200, all, everything)
	h.agreed(90 * time.Second)
	h.away = map[string]bool{}
	h.steps(60, all, keys)
	w.halt("de") // whatever is on its way then
	w.forgotten()
	h.steps(120, all, keys)
	h.steps(20, []string{"de"}, h.own)
	restore()
	w.work("de")
	h.steps(60, all, keys)
	h.agreed(120 * time.Second)
	states, err := w.regions["de"].replica.Status(t.Context(), w.regions["de"].side.Place)
	require.NoError(t, err)
	require.NotNil(t, states[0].Anew)
	require.Equal(t, "sync.retold", states[0].Anew.Code)
	require.False(t, states[0].Restored)
	w.idle()
	w.quiet(2 * time.Second)
	for _, other := range []string{"ch", "fr"} {
		require.Zero(t, w.with("de", other)["account"].Drift)
	}
	h.away = nil
	h.steps(60, all, everything)
	h.agreed(90 * time.Second) // it goes on as before
}

// One of the other regions is away when a region comes back: what waits for it has a name,
// nothing goes out or is written, and putting that region on hold lets the others go on.
func TestARestoredRegionWaitsForAllOthersUnlessTheyAreOnHold(t *testing.T) {
	t.Parallel()
	all := []string{"ch", "de", "fr"}
	w := newWorld(t, sharing(), all...)
	w.listening("de")
	w.work(all...)
	w.run("de", `insert into account values ('A1', 'One', '1', 1, 'x')`)
	w.same(60 * time.Second)
	restore := storetest.Backup(t, w.regions["de"].database.Owner)
	w.run("fr", `update account set name = 'Un' where accountnumber = 'A1'`)
	w.same(60 * time.Second)
	w.halt("de", "ch")
	restore()
	w.work("de")
	w.troubled("de", "account", "sync.restored")
	w.run("de", `update account set phone = '2' where accountnumber = 'A1'`)
	w.run("fr", `update account set credit = 2 where accountnumber = 'A1'`)
	require.Never(t, func() bool {
		return w.shared("fr") != "account A1: Un, 1, 2\n" || w.shared("de") != "account A1: Un, 2, 1\n"
	}, 3*time.Second, 200*time.Millisecond)
	require.Contains(t, func() string {
		w.regions["de"].mu.Lock()
		defer w.regions["de"].mu.Unlock()
		return w.regions["de"].told["account"].Text
	}(), "region ch")
	de := w.regions["de"]
	require.NoError(t, de.replica.Pause(t.Context(), de.side.Place, replica.Paused{Peer: "ch", By: "somebody"}))
	w.eventually("the two go on", func() bool {
		return w.shared("fr") == "account A1: Un, 2, 2\n" && w.shared("de") == "account A1: Un, 2, 2\n"
	})
	require.NoError(t, de.replica.Resume(t.Context(), de.side.Place, "", "ch"))
	w.work("ch")
	require.Equal(t, "account A1: Un, 2, 2\n", w.same(90*time.Second))
}
