package run

import "patchbay/internal/flow"

type (
	// waitingRow is what decides which batch a row may join.
	waitingRow struct {
		runID, digest, orderKey string
		class                   flow.Class
		tries                   int
		answered                bool // what it still has to do is to write
	}

	// room is how much of a flow may be claimed now.
	room struct {
		pattern flow.Pattern
		free    int // batches; of several rows, or of one that was never alone
		alone   int // runs of one that have to be alone
		several int // batches of several rows, of all flows
		rate    int // rows that a batch finished in a second lately; 0: not known
		most    int // rows; below 0: no bound
		largest int // rows of a batch, where that is less than its cap; 0: it is not

		express bool // somebody was ahead of those who wait, just now
		shared  int  // batches in flight that were claimed for others
		large   bool // no batch is smaller than it has to be
	}

	// pace is how a flow is claimed that nobody waits for at a button: batches as large as
	// they may be, one behind the other, instead of several small ones beside each other.
	pace struct {
		under  int  // rows of its batches that have no end yet
		recent bool // the newest batch was claimed just now, and is in flight
		rate   int  // rows that all its batches together finished in a second lately; 0: not known
	}

	// tier is how much trust a row has left: it bounds the batch that it may join.
	tier int16

	// packed are rows that one workflow carries.
	packed struct {
		digest string
		class  flow.Class
		tier   tier
		rows   []string // run_ids
	}

	// kind is what the rows of a batch have in common.
	kind struct {
		digest string
		class  flow.Class
		tier   tier
	}
)

// The tiers: a row that was never in trouble, one that was once, and one that has
// to be alone from now on.
const (
	untroubled tier = iota
	troubled
	alone
)

// Bounds of a batch. One that must not finish in a second what it can carry in two
// would never grow, hence the least.
const (
	mostInstant    = 64
	mostEvents     = 200
	mostTroubled   = 8
	leastByRate    = 8
	mostInFlight   = 4 // of a flow whose runs share batches; else half of the slots
	mostAlone      = 16
	inFlightFor    = "5 seconds" // after that a batch is no measure of what a flow can carry
	rateRemembered = "30 seconds"
	expressFor     = "1 second" // who was ahead of others may come again
	mostYielding   = 8          // rows that are under way, of those who have no right to a place yet
	gathering      = "250 milliseconds"
)

// yield is the room of others while somebody comes again and again who is ahead of
// them: one small batch.
func (r room) yield() room {
	r.free, r.largest = max(1-r.shared, 0), mostYielding
	return r
}

func tierOf(tries int) tier { return tier(min(max(tries, 0), int(alone))) }

// capOf is the most rows of a batch.
func capOf(pattern flow.Pattern, t tier) int {
	switch {
	case t == alone:
		return 1
	case pattern == flow.Event && t == untroubled:
		return mostEvents
	case pattern == flow.Instant && t == untroubled:
		return mostInstant
	case pattern == flow.Event, pattern == flow.Instant:
		return mostTroubled
	}
	return 1
}

// unhurried is the room of a flow that nobody waits for. While a batch of it has just been
// claimed, fewer rows than a full one are left for a moment: one event alone waits for
// nothing, and a batch that stands still holds up nobody for longer. What its batches
// share is what its target takes: together they have no more rows than that is in a
// second, and the next is claimed when three quarters of those are done.
func (r room) unhurried(p pace, rows []waitingRow) room {
	r.rate = max(r.rate, p.rate)
	if p.recent && unlonely(rows) < r.full() {
		r.free = 0
	}
	if r.rate == 0 {
		return r
	}
	r.large = true
	if most := max(r.rate, leastByRate); 4*p.under > most {
		r.free = 0
	} else if left := most - p.under; r.most < 0 || left < r.most {
		r.most = left
	}
	return r
}

// full is how many rows the largest batch may have: as many as lately were finished in a
// second.
func (r room) full() int {
	most := capOf(r.pattern, untroubled)
	if r.rate > 0 {
		most = min(most, max(r.rate, leastByRate))
	}
	return most
}

// unlonely counts the rows that need not be alone.
func unlonely(rows []waitingRow) (n int) {
	for _, row := range rows {
		if tierOf(row.tries) != alone {
			n++
		}
	}
	return n
}

// pack makes batches of rows that wait, in the order of the queue. The rows of a
// batch share plan, class and tier; an order key is taken once. The rows that wait
// are spread over the batches that are free, so that an almost idle flow has small
// ones; none is larger than what lately was finished in a second.
func pack(rows []waitingRow, r room) []packed {
	n := unlonely(rows)
	size := 1
	switch {
	case r.large:
		size = max(r.full(), 1)
	case r.free > 0:
		size = min((n+r.free-1)/r.free, r.full())
	}
	if r.largest > 0 {
		size = min(size, r.largest)
	}
	var batches []*packed
	open := map[kind]*packed{}
	taken := map[string]bool{}
	most := r.most
	for _, row := range rows {
		if most == 0 {
			break
		}
		if row.orderKey != "" && taken[row.orderKey] {
			continue
		}
		k := kind{row.digest, row.class, tierOf(row.tries)}
		b := open[k]
		switch {
		case k.tier == alone && r.alone == 0:
			continue
		case k.tier == alone:
			r.alone--
			b = nil
		case b != nil && len(b.rows) < min(size, capOf(r.pattern, k.tier)) && (len(b.rows) > 1 || r.several > 0):
			if len(b.rows) == 1 {
				r.several--
			}
		case r.free == 0:
			continue
		default:
			r.free--
			b = nil
		}
		if b == nil {
			b = &packed{digest: k.digest, class: k.class, tier: k.tier}
			batches = append(batches, b)
			open[k] = b
		}
		b.rows = append(b.rows, row.runID)
		taken[row.orderKey] = true
		most--
	}
	out := make([]packed, len(batches))
	for i, b := range batches {
		out[i] = *b
	}
	return out
}
