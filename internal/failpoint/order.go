package failpoint

type (
	// Place is where in an action something happens.
	Place string

	// What happens there.
	What string

	// Order arms one action. It strikes once.
	Order struct {
		Name  string `json:"name"`  // of the action
		Place Place  `json:"place"` // where in it
		What  What   `json:"what"`
		Nth   int    `json:"nth,omitempty"` // the how manieth time from now on; 0: the next
	}
)

// The places.
const (
	Before Place = "before"
	Inside Place = "inside"
	After  Place = "after"
)

// What may happen. Lose belongs inside, the others before or after.
const (
	Kill What = "kill" // the process ends as by kill -9
	Stop What = "stop" // the process freezes as by SIGSTOP; a SIGCONT lets it go on
	Lose What = "lose" // the action took effect, and whoever asked for it is told that nobody knows
)

// The variables with the loopback address of the control, and with an Order that
// holds from the beginning on.
const (
	Env   = "PATCHBAY_FAILPOINTS"
	First = "PATCHBAY_FAILPOINT"
)
