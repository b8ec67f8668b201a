package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// rowsAndPages counts the records of accounts that have rows, and the pages.
func (p *place) rowsAndPages() (rows, pages int) {
	p.Helper()
	require.NoError(p, p.store.Pool().QueryRow(p.Context(), `select (select count(*) from replica_record), (select count(*) from replica_page)`).Scan(&rows, &pages))
	return rows, pages
}

// all is all that anybody can ask of the accounts of a region, by every way.
func (p *place) all(numbers int) []string {
	p.Helper()
	var out []string
	say := func(what string, v any, err error) {
		require.NoError(p, err)
		out = append(out, fmt.Sprintf("%s: %v", what, v))
	}
	say("digests", p.digests(), nil)
	entries, err := p.replica.Entries(p.Context(), p.Place, "account", 3, []int{0, 2})
	slices.SortFunc(entries, func(a, b Entry) int { return int(int64(a.Name>>1) - int64(b.Name>>1)) })
	say("entries", entries, err)
	var keys [][]string
	var names []string
	for i := range numbers {
		keys, names = append(keys, []string{strconv.Itoa(i)}), append(names, strconv.Itoa(i))
	}
	for name, list := range map[string]func(after string) ([][]string, string, error){
		"settled": func(after string) ([][]string, string, error) {
			return p.replica.Settled(p.Context(), p.Place, "account", after, 11)
		},
		"holds": func(after string) ([][]string, string, error) {
			return p.replica.Holds(p.Context(), p.Place, "account", after, 7)
		},
		"made": func(after string) ([][]string, string, error) {
			return p.replica.Made(p.Context(), p.Place, "account", after, 7)
		},
		"all": func(after string) ([][]string, string, error) {
			uids, last, err := p.replica.All(p.Context(), p.Place, "account", after, 7)
			return [][]string{uids}, last, err
		},
	} {
		var listed []string
		for after := ""; ; {
			keys, last, err := list(after)
			require.NoError(p, err)
			for _, key := range keys {
				listed = append(listed, key...)
			}
			if last == "" {
				break
			}
			require.Greater(p, last, after)
			after = last
		}
		require.True(p, slices.IsSorted(listed) || name != "all")
		say(name, listed, nil)
	}
	refs, err := p.replica.Refs(p.Context(), p.Place, "account", names)
	say("refs", refs, err)
	ids, err := p.replica.IDs(p.Context(), p.Place, "account", names)
	say("ids", ids, err)
	known, err := p.replica.Known(p.Context(), p.Place, "account", keys)
	for i, k := range known {
		if k == nil {
			say(names[i], nil, nil)
			continue
		}
		values := []string{}
		for _, c := range k.Values {
			values = append(values, string(c.Value))
		}
		say(names[i], []any{k.Key, values, k.Deleted, k.Open}, nil)
		if i%20 > 0 {
			continue
		}
		account, err := p.replica.Account(p.Context(), p.Place, "account", keys[i])
		say(names[i], []any{account.Outcome, account.Code, len(account.Words)}, err)
	}
	slices.Sort(out) // of a map
	require.NoError(p, err)
	return out
}

// Records in pages are what they would be in rows of their own, whatever becomes of them:
// the same history, told twice, once with all that can be in pages and once with none.
func TestRecordsInPagesAreWhatTheyWouldBeInRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var told [2][]string
			for i, together := range []int{1, 1 << 30} {
				b := newBundle(t, "de", "fr")
				for _, r := range b.regions {
					r.replica.together, r.at = together, b.regions["de"].at
				}
				told[i] = b.history(rand.New(rand.NewPCG(seed, 7)))
				rows, pages := b.regions["de"].rowsAndPages()
				t.Log(rows, pages)
				require.Equal(t, together > 1, pages == 0)
			}
			for i := range told[0] {
				require.Equal(t, told[1][i], told[0][i], "of %d", i)
			}
		})
	}
}

// history has two regions make and edit accounts as chance will have it.
func (b *bundle) history(chance *rand.Rand) (told []string) {
	const numbers = 160
	names := []string{"de", "fr"}
	version := int64(0)
	for step := range 39 {
		name := names[chance.IntN(2)]
		p, other := b.regions[name], names[0]
		if name == other {
			other = names[1]
		}
		version += 10
		switch n := 1 + chance.IntN(30); chance.IntN(6) {
		case 0, 1:
			from := chance.IntN(numbers - n)
			rows := make([]Observed, n)
			for i := range rows { // a range, of which some is known
				rows[i] = Observed{Key: []string{strconv.Itoa(from + i)}, Values: values("Acme", strconv.Itoa(from), ""), At: p.at, Version: version, Reread: true}
			}
			p.tick()
			p.observe("account", rows...)
		case 2:
			rows := make([]Observed, n)
			for i := range rows {
				rows[i] = Observed{Key: []string{strconv.Itoa(chance.IntN(numbers))}, Values: values("Edit", strconv.Itoa(i), "3"), At: p.tick(), Version: version, Deleted: chance.IntN(8) == 0}
			}
			p.observe("account", rows...)
		case 3:
			p.receive(other)
		case 4: // what came is written as it came
			from := b.regions[other]
			deltas := from.out[p.sent[other]:]
			p.sent[other] = len(from.out)
			_, orders, err := p.replica.Receive(b.Context(), p.Place, other, "account", deltas, int64(len(from.out)))
			require.NoError(b, err)
			w := p.writing("account")
			slices.SortFunc(orders, func(a, b Order) int { return strings.Compare(a.uid, b.uid) })
			settled := applied(orders, version)
			for i := range settled {
				if chance.IntN(9) == 0 {
					settled[i].Outcome, settled[i].Code = flow.SyncRejected, "postgres.too_long"
				}
			}
			p.settle(w, settled...)
			require.NoError(b, p.replica.Release(b.Context(), p.Place, w))
		case 5:
			w := p.writing("account")
			if orders := p.orders(w); len(orders) > 0 {
				p.settle(w, applied(orders, version)[:1+chance.IntN(len(orders))]...)
			}
			require.NoError(b, p.replica.Release(b.Context(), p.Place, w))
		}
		if step%13 == 12 {
			told = append(told, b.regions["de"].all(numbers)...)
			told = append(told, b.regions["fr"].all(numbers)...)
		}
	}
	return told
}

func TestAPageEndsWithItsLastRecord(t *testing.T) {
	t.Parallel()
	de, fr, orders := newRanged(t)
	rows, pages := fr.rowsAndPages()
	require.Equal(t, []int{0, 1}, []int{rows, pages}, "what came together is in a page")
	fr.settle(fr.writing("account"), applied(orders, 50)...)
	for i := range orders {
		require.True(t, de.edit(numbered(i), "newer", 0))
	}
	fr.receive("de")
	for _, p := range []*place{de, fr} {
		rows, pages = p.rowsAndPages()
		require.Equal(t, []int{150, 0}, []int{rows, pages})
	}
}

func TestWhatMayNotCrossAnyMoreLeavesPages(t *testing.T) {
	t.Parallel()
	de, fr, _ := newRanged(t)
	de.sync.Tables[0].Columns = []flow.SyncColumn{{Name: "credit", Type: flow.Decimal}, {Name: "phone", Type: flow.String}}
	for _, p := range []*place{de, fr} {
		require.NoError(t, p.replica.Bind(t.Context(), p.Place, "account", nil))
		var found int
		require.NoError(t, p.store.Pool().QueryRow(t.Context(), `select (select count(*) from replica_record where cells like '%Acme%') + (select count(*) from replica_page where cells like '%Acme%')`).Scan(&found))
		require.Zero(t, found)
		require.Equal(t, []string{"2", "1"}, p.told(numbered(3))[1:])
	}
}
