package egress

import "time"

// Patience sets how long a peer waits for the next byte.
func (p *Peer) Patience(d time.Duration) { p.silence = d }
