package mirror

import (
	"context"
	"maps"
	"slices"
	"time"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

type (
	// Border is our own border, as package egress keeps it.
	Border interface {
		Asked(ctx context.Context, flowName string) (map[string]time.Time, error)
		Last(ctx context.Context, flowName, table string) (int64, error)
		Publish(ctx context.Context, flowName string, t *flow.SyncTable, asked time.Time, received map[string]int64, prints []egress.Print) error
		Wanted(ctx context.Context, flowName string) (map[string]time.Time, error)
		Retold(ctx context.Context, flowName, table string, asked time.Time) error
	}

	// Comparable is the border of another region, of which digests can be had.
	Comparable interface {
		Ask(ctx context.Context, flowName, table string) (time.Time, error)
		Answered(ctx context.Context, flowName string, t *flow.SyncTable, asked time.Time) (*egress.Answer, error)
		Prints(ctx context.Context, flowName string, t *flow.SyncTable, some []int) ([]egress.Print, error)
	}

	// comparison is one table that is compared with another region.
	comparison struct {
		*Side
		table  *flow.SyncTable
		from   string
		peer   Comparable
		border Border
		found  flow.SyncCompared
	}

	// view is what was known of a table at a moment: ours and theirs of the records that
	// differ, and how far each side was then.
	view struct {
		parts    []int // those that differ
		ours     map[uint64]replica.Entry
		theirs   map[uint64]int64
		of       *egress.Answer
		upto     int64            // none of theirs is of a later batch
		last     int64            // and none of ours of a later one of ours,
		had, has map[string]int64 // or of what we had not received: all of had is in them, and nothing beyond has
	}
)

const (
	// perPart is about how many records have one digest.
	perPart = 1000
	// askedFor is how often we look whether somebody wants to compare.
	askedFor = time.Second
	// answers is how long another region may take to answer.
	answers = time.Minute
)

// Publish answers other regions that want to compare, or to be told all again, until ctx ends.
func (s *Side) Publish(ctx context.Context, border Border) {
	for s.sleep(ctx, askedFor) {
		_ = s.tellAgain(ctx, border) // who asked waits for it, and it is begun anew
		asked, err := border.Asked(ctx, s.Place.Flow)
		if err != nil {
			continue // who asked waits a little longer, or asks again
		}
		for table, at := range asked {
			if t := s.Place.Sync.Table(table); t != nil {
				_ = s.publish(ctx, border, t, at) // as above
			}
		}
	}
}

// publish puts digests at our border. What had been received is read before they are made,
// and what was exported after, so that they have all of the one and none beyond the other.
func (s *Side) publish(ctx context.Context, border Border, t *flow.SyncTable, asked time.Time) error {
	state, err := s.state(ctx, t)
	if err != nil || state.Restored { // nobody is told what we do not know any more
		return err
	}
	parts, err := s.Replica.Digests(ctx, s.Place, t.Name, int(state.Records/perPart)+1)
	if err != nil {
		return err
	}
	prints := make([]egress.Print, len(parts))
	for i, p := range parts {
		prints[i] = egress.Print(p)
	}
	return border.Publish(ctx, s.Place.Flow, t, asked, receivedOf(state), prints)
}

func (s *Side) state(ctx context.Context, t *flow.SyncTable) (replica.TableState, error) {
	states, err := s.Replica.Status(ctx, s.Place)
	if err != nil {
		return replica.TableState{}, err
	}
	return states[slices.IndexFunc(states, func(x replica.TableState) bool { return x.Table == t.Name })], nil
}

func receivedOf(state replica.TableState) map[string]int64 {
	received := map[string]int64{}
	for peer, p := range state.Peers {
		received[peer] = p.Upto
	}
	return received
}

// CompareWith compares what we know of the records of each table with what another region
// knows, by digests. Where they differ although each has all that the other one had,
// something was lost: what we know is told again, with its versions, and merging it decides.
// What the other region knows and we do not, it tells us when it compares. Of each table it
// gives what was found, or what it suffers from.
func (s *Side) CompareWith(ctx context.Context, from string, peer Comparable, border Border) (all []flow.SyncCompared, trouble map[string]*fault.Fault, err error) {
	trouble = map[string]*fault.Fault{}
	for i := range s.Place.Sync.Tables {
		c := &comparison{Side: s, table: &s.Place.Sync.Tables[i], from: from, peer: peer, border: border}
		c.found = flow.SyncCompared{Peer: from, Table: c.table.Name}
		if state, err := s.state(ctx, c.table); err == nil && state.Restored {
			continue // what differs is being told again
		}
		err := s.guarded(ctx, c.table, func(ctx context.Context, _ *flow.SyncTable) error { return c.run(ctx) })
		if ctx.Err() != nil {
			return all, trouble, ctx.Err()
		}
		if err == nil {
			err = s.Replica.Compared(ctx, s.Place, c.found)
		}
		if err != nil {
			trouble[c.table.Name] = fault.Of(err)
			continue
		}
		all = append(all, c.found)
	}
	return all, trouble, nil
}

// run looks at all records, and at those that differ once more when each side has what the
// other one had.
func (c *comparison) run(ctx context.Context) error {
	first, err := c.look(ctx, c.sums)
	if err != nil {
		return err
	}
	differ := first.differ()
	if len(differ) == 0 {
		return nil
	}
	pauses, err := c.Replica.Pauses(ctx, c.Place)
	if err != nil {
		return err
	}
	if onHold(pauses, c.table.Name, c.from) { // nothing comes here, so we do not wait for it
		c.found.Pending += int64(len(differ))
		return nil
	}
	second, reached, err := c.caughtUp(ctx, first)
	if err != nil {
		return err
	}
	if err := c.judge(ctx, first, second, differ, reached); err != nil {
		return err
	}
	c.found.Drift = c.found.Changed + c.found.Missing + c.found.Added
	return nil
}

// look asks the other region, and reads what both know of the parts that are chosen.
func (c *comparison) look(ctx context.Context, choose func(context.Context, *view) error) (*view, error) {
	asked, err := c.peer.Ask(ctx, c.Place.Flow, c.table.Name)
	if err != nil {
		return nil, err
	}
	v := &view{ours: map[uint64]replica.Entry{}, theirs: map[uint64]int64{}}
	for end := time.Now().Add(c.brief(answers)); v.of == nil; {
		if v.of, err = c.peer.Answered(ctx, c.Place.Flow, c.table, asked); err != nil {
			return nil, err
		}
		if v.of != nil {
			break
		}
		if time.Now().After(end) {
			return nil, fault.New(fault.Unavailable, "sync.unanswered", "region "+c.from+" has not answered what it knows of table "+c.table.Name+"; it is asked again the next time", nil)
		}
		if !c.sleep(ctx, firstPause) {
			return nil, ctx.Err()
		}
	}
	if err := choose(ctx, v); err != nil || len(v.parts) == 0 {
		return v, err
	}
	state, err := c.state(ctx, c.table)
	if err != nil {
		return nil, err
	}
	v.had = receivedOf(state)
	entries, err := c.Replica.Entries(ctx, c.Place, c.table.Name, v.of.Parts, v.parts)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		v.ours[e.Name] = e
	}
	if state, err = c.state(ctx, c.table); err != nil {
		return nil, err
	}
	v.has = receivedOf(state)
	if v.last, err = c.border.Last(ctx, c.Place.Flow, c.table.Name); err != nil {
		return nil, err
	}
	return v, c.asked(ctx, v, asked)
}

// asked reads what the other region has of the parts. It may have answered somebody else
// meanwhile: then that is what we read.
func (c *comparison) asked(ctx context.Context, v *view, at time.Time) error {
	prints, err := c.peer.Prints(ctx, c.Place.Flow, c.table, v.parts)
	if err != nil {
		return err
	}
	for _, p := range prints {
		of, ok := replica.EntriesOf(p.Entries)
		if !ok {
			return fault.New(fault.Bug, egress.CodeMalformed, "what region "+c.from+" says of its records of table "+c.table.Name+" cannot be", nil)
		}
		maps.Copy(v.theirs, of)
	}
	now, err := c.peer.Answered(ctx, c.Place.Flow, c.table, at)
	if err != nil {
		return err
	}
	if now == nil || now.Parts != v.of.Parts {
		return c.grew()
	}
	v.upto = now.Last
	return nil
}

func (c *comparison) grew() error {
	return fault.New(fault.Unavailable, "sync.grown", "table "+c.table.Name+" of region "+c.from+" grew while it was compared; it is compared again the next time", nil)
}

// sums chooses the parts that differ.
func (c *comparison) sums(ctx context.Context, v *view) error {
	ours, err := c.Replica.Digests(ctx, c.Place, c.table.Name, v.of.Parts)
	if err != nil {
		return err
	}
	prints, err := c.peer.Prints(ctx, c.Place.Flow, c.table, nil)
	if err != nil {
		return err
	}
	theirs := make(map[int]egress.Print, len(prints))
	for _, p := range prints {
		theirs[p.N] = p
	}
	c.found.Records = 0
	for _, p := range ours {
		other := theirs[p.N]
		if c.found.Records += max(p.Rows, other.Rows); p.Rows != other.Rows || p.Digest != other.Digest {
			v.parts = append(v.parts, p.N)
		}
	}
	return nil
}

// differ are the records of which the two sides know other things; one that is not known
// and one that is deleted are alike.
func (v *view) differ() (names []uint64) {
	for name, e := range v.ours {
		if e.Digest != v.theirs[name] {
			names = append(names, name)
		}
	}
	for name, digest := range v.theirs {
		if _, known := v.ours[name]; !known && digest != 0 {
			names = append(names, name)
		}
	}
	return names
}

// caughtUp looks again when the other region has all that we had at the first look, and we
// have what it had; reached: they have. What came from third regions is waited for, too, but
// what of them does not come to one of us at all is told by the other one.
func (c *comparison) caughtUp(ctx context.Context, first *view) (second *view, reached bool, err error) {
	pause := askedFor
	for end := time.Now().Add(c.brief(settles)); ; pause = min(2*pause, lastPause/2) {
		if second, err = c.look(ctx, func(_ context.Context, v *view) error { v.parts = first.parts; return nil }); err != nil {
			return nil, false, err
		}
		if second.of.Parts != first.of.Parts {
			return nil, false, c.grew()
		}
		pair := second.of.Received[c.Place.Region] >= first.last && second.had[c.from] >= first.upto
		ours, theirs := but(first.has, c.from), but(first.of.Received, c.Place.Region)
		if pair && egress.Reached(second.of.Received, ours) && egress.Reached(second.had, theirs) {
			return second, true, nil
		}
		if time.Now().After(end) {
			return second, pair, nil
		}
		if !c.sleep(ctx, pause) {
			return nil, false, ctx.Err()
		}
	}
}

func but(received map[string]int64, region string) map[string]int64 {
	out := maps.Clone(received)
	delete(out, region)
	return out
}

// judge names what differs, and has what was lost told again.
func (c *comparison) judge(ctx context.Context, first, second *view, differ []uint64, reached bool) error {
	var lost []string
	for _, name := range differ {
		ours, known := second.ours[name]
		theirs := second.theirs[name]
		switch was := first.ours[name]; {
		case ours.Digest == theirs, ours.Digest != was.Digest, theirs != first.theirs[name]:
			c.found.InFlight++ // it was on its way, or still is
			continue
		case !reached:
			c.found.InFlight++
			continue
		case ours.Held:
			c.found.Held++
		case ours.Digest == 0:
			c.found.Added++
		case theirs == 0:
			c.found.Missing++
		default:
			c.found.Changed++
		}
		if known {
			lost = append(lost, ours.UID)
		}
	}
	slices.Sort(lost)
	for part := range slices.Chunk(lost, most) {
		n, err := c.Replica.Resend(ctx, c.Place, c.table.Name, part)
		if err != nil {
			return err
		}
		c.found.Repaired += n
	}
	return nil
}
