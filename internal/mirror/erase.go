package mirror

import (
	"context"
	"slices"
	"time"

	"patchbay/internal/replica"
)

// mostErased is how many deleted records of a table are looked at in one go.
const mostErased = 20_000

// Erase forgets the values of deleted records, when every other region says that it has no
// such record, and we have all that it told before it said so: then nobody writes to it any
// more who does not know of the deletion, and nothing is on its way that somebody wrote who
// did not. It gives how many were erased.
func (s *Side) Erase(ctx context.Context, peers map[string]Comparable, border Border) (erased int64, err error) {
	for i := range s.Place.Sync.Tables {
		t := &s.Place.Sync.Tables[i]
		if state, err := s.state(ctx, t); err != nil || state.Restored {
			if err != nil {
				return erased, err
			}
			continue
		}
		uids, err := s.Replica.Buried(ctx, s.Place, t.Name, mostErased)
		for _, r := range s.Place.Sync.Regions {
			if r.Name == s.Place.Region || err != nil || len(uids) == 0 {
				continue
			}
			if peers[r.Name] == nil {
				uids = nil // it is away, and may not know
				continue
			}
			c := &comparison{Side: s, table: t, from: r.Name, peer: peers[r.Name], border: border}
			uids, err = c.forgotten(ctx, uids)
		}
		if err != nil {
			return erased, err
		}
		for part := range slices.Chunk(uids, most) {
			n, err := s.Replica.Erase(ctx, s.Place, t.Name, part)
			if err != nil {
				return erased, err
			}
			erased += n
		}
	}
	return erased, nil
}

// forgotten gives those of our deleted records that the other region does not have either,
// when all that it told before has come here.
func (c *comparison) forgotten(ctx context.Context, uids []string) ([]string, error) {
	v, err := c.look(ctx, func(_ context.Context, v *view) error {
		for _, uid := range uids {
			v.parts = append(v.parts, int(replica.NameOf(uid)%uint64(v.of.Parts)))
		}
		slices.Sort(v.parts)
		v.parts = slices.Compact(v.parts)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(c.brief(settles)); ; {
		state, err := c.state(ctx, c.table)
		if err != nil {
			return nil, err
		}
		if receivedOf(state)[c.from] >= v.upto {
			break
		}
		if time.Now().After(end) || !c.sleep(ctx, firstPause) {
			return nil, ctx.Err()
		}
	}
	return slices.DeleteFunc(uids, func(uid string) bool { return v.theirs[replica.NameOf(uid)] != 0 }), nil
}
