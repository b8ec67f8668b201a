package inbox

import "time"

// ClaimDue is the query of a claim, and Beginning where one begins that knows nothing.
const ClaimDue = claimDue

var Beginning = beginning

// Mark is where the next claim of a flow begins.
func (x *Inbox) Mark(flow string) time.Time { return x.marks.of[flow].at }
