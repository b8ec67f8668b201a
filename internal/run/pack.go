package run

import "patchbay/internal/flow"

type (
	// waitingRow is what decides which batch a row may join.
	waitingRow struct {
		runID, digest, orderKey string
		class                   flow.Class
		tries                   int
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
	mostInFlight   = 4
	mostAlone      = 16
	inFlightFor    = "5 seconds" // after that a batch is no measure of what a flow can carry
	rateRemembered = "30 seconds"
	expressFor     = "1 second" // who was ahead of others may come again
	mostYielding   = 8          // rows that are under way, of those who have no right to a place yet
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

// pack makes batches of rows that wait, in the order of the queue. The rows of a
// batch share plan, class and tier; an order key is taken once. The rows that wait
// are spread over the batches that are free, so that an almost idle flow has small
// ones; none is larger than what lately was finished in a second.
func pack(rows []waitingRow, r room) []packed {
	n := 0
	for _, row := range rows {
		if tierOf(row.tries) != alone {
			n++
		}
	}
	size := 1
	if r.free > 0 {
		size = (n + r.free - 1) / r.free
	}
	if r.rate > 0 {
		size = min(size, max(r.rate, leastByRate))
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
