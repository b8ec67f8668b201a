package ledger

import (
	"time"

	"patchbay/internal/flow"
)

type (
	// Member is one intended write of a call.
	Member struct {
		Key    string // canonical JSON array of the key's values; distinct within a call
		Label  string // the key in words, safe to show: "AS54888, Weight"
		SHA256 []byte // of the row that will be sent; frozen from the first intent on
		Later  bool   // intended only, it begins right before it leaves; of all members of a call or of none
	}

	// Open is a member that this attempt has to send.
	Open struct {
		Key     string
		Fence   int64  // of this attempt; goes back in the Outcome
		CallID  string // of the call the member was first intended for
		Retried bool   // an earlier attempt's outcome is unknown: read back first
		// Since is how long ago, by the database's clock, the newest of the earlier
		// attempts began that may have sent the member; zero without one. Attempts
		// that certainly sent nothing do not count.
		Since time.Duration
	}

	// Outcome is what an attempt learned about one member. State is Confirmed,
	// Refused, Doubtful, or Intent when the write certainly never reached the
	// target, as after a 429.
	Outcome struct {
		Key    string
		Fence  int64
		State  flow.EffectState
		Reason string // why refused or in doubt, safe to show; "unchanged" when the target had it already
	}
)
