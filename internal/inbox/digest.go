package inbox

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/flow"
)

// digestEvery is how often one recipient gets a message while the spike plan says
// digest.
const digestEvery = 15 * time.Minute

// bundle is windows that go together: the first carries the message of all.
type bundle struct {
	by   hash
	list []*due
}

// digests groups windows by recipient. Those of a recipient whose last digest is not
// long ago wait. A window whose recipient is not known before it is carried goes by
// itself.
func (x *Inbox) digests(ctx context.Context, tx pgx.Tx, plan *flow.Plan, judge Judge, list []*due) ([]bundle, error) {
	var groups []bundle
	var keys []hash
	at := map[hash]int{}
	for _, d := range list {
		recipient, err := judge.Recipient(d.key, d.net.Row)
		if err != nil || recipient == "" {
			groups = append(groups, bundle{list: []*due{d}})
			continue
		}
		by := hashOf([]byte("digest"), []byte(recipient))
		if i, there := at[by]; there {
			groups[i].list = append(groups[i].list, d)
			continue
		}
		at[by] = len(groups)
		keys = append(keys, by)
		groups = append(groups, bundle{by: by, list: []*due{d}})
	}
	now, next, err := turnsOf(ctx, tx, plan.Flow, keys)
	if err != nil {
		return nil, err
	}
	ready := groups[:0]
	for _, g := range groups {
		if until := next[g.by]; g.by != (hash{}) && until.After(now) {
			g.wait(until)
			continue
		}
		ready = append(ready, g)
	}
	return ready, nil
}

// digested notes that the recipients of groups got a message now.
func (x *Inbox) digested(ctx context.Context, tx pgx.Tx, name string, groups []bundle) error {
	next := map[hash]time.Time{}
	for _, g := range groups {
		if g.by != (hash{}) && g.list[0].fate == outcomeRun {
			next[g.by] = time.Now().Add(time.Duration(float64(digestEvery) / x.options.Speed))
		}
	}
	return keepTurns(ctx, tx, name, next)
}

func (g bundle) wait(until time.Time) {
	for _, d := range g.list {
		d.until = until
	}
}

// together settles a group by what its first has come to.
func (g bundle) together() {
	lead := g.list[0]
	if !lead.until.IsZero() {
		g.wait(lead.until)
		return
	}
	lead.fate = outcomeRun
	for _, d := range g.list[1:] {
		d.fate, d.into = outcomeDigest, lead.id
	}
}
