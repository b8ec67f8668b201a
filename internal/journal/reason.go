package journal

// Reason says why something ended or stands as it does. The word is an
// interface: it is what `explain` prints and what people search for.
type Reason string

// Reasons along the way.
const (
	Accepted    Reason = "accepted"     // kept; it will be worked on
	Answered    Reason = "answered"     // the answer may be shown
	CancelAsked Reason = "cancel_asked" // no new effect from here on
	Confirmed   Reason = "confirmed"    // the target holds it
	Refused     Reason = "refused"      // the target said no
	InDoubt     Reason = "in_doubt"     // sent, outcome unknown
	Undone      Reason = "undone"       // intended, never sent
	Stands      Reason = "stands"       // written, and nothing took it back
	Repaired    Reason = "put_right"    // by a person, who took it back or did what it needs
	Parked      Reason = "parked"       // waits for a person
	Redriven    Reason = "redriven"     // a dead letter, accepted again
	Dismissed   Reason = "dismissed"    // a dead letter that a person has put aside
	Spike       Reason = "spike"        // a flow gets more than it expects, or no longer
)

// Final reasons: each run, event, record and slot gets exactly one.
const (
	Delivered Reason = "delivered" // done, all of it
	Unchanged Reason = "unchanged" // done, and the target had it already
	Filtered  Reason = "filtered"  // the flow's own clauses did not want it
	Merged    Reason = "merged"    // went along with a later one of the same key
	Rejected  Reason = "rejected"  // understood and refused, by us or by the target
	Shed      Reason = "shed"      // dropped as the flow's spike rule says
	Shared    Reason = "shared"    // answered from an identical run
	Duplicate Reason = "duplicate" // had come before
	NotFound  Reason = "not_found" // what it asked for does not exist
	Deadline  Reason = "deadline"  // not done within the time the flow allows
	Failed    Reason = "failed"    // could not be done
	Cancelled Reason = "cancelled" // somebody asked for it
	Expired   Reason = "expired"   // too old when its turn came
)
