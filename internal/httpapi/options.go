package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/flow"
)

type (
	// Trigger accepts presses. A nil error means that the run's row is committed
	// (promise 1); Run.Replayed is set when the same key had been pressed before.
	// The run need not be answered yet.
	Trigger interface {
		Press(ctx context.Context, press flow.Press) (flow.Run, error)
	}

	// Runs reads runs. An unknown ID is a NotFound fault. List answers newest
	// first, with the cursor of the next page or "". Watch gives a channel that
	// ticks when the run may have changed and at least once a second, so that its
	// reader need not poll, and a function that ends the watch; of "" it ticks when any
	// run may have changed. WatchAnswer may leave out what is neither an answer nor an
	// end.
	Runs interface {
		Get(ctx context.Context, id string) (flow.Run, error)
		List(ctx context.Context, filter flow.RunFilter) (runs []flow.Run, next string, err error)
		Watch(ctx context.Context, id string) (<-chan struct{}, func())
		WatchAnswer(ctx context.Context, id string) (<-chan struct{}, func())
	}

	// Canceller seals a run and waits for its certificate (promise 3). When ctx
	// ends first the seal stays, and the error is the context's.
	Canceller interface {
		Cancel(ctx context.Context, by flow.Principal, id string) (flow.Certificate, error)
	}

	// Flows knows the applied flows. An unknown name is a NotFound fault.
	Flows interface {
		Flows(ctx context.Context) ([]flow.Applied, error)
		Flow(ctx context.Context, name string) (flow.Applied, error)
	}

	// Hooks takes what sources deliver. Without error it is committed (promise 1). Who
	// did not prove what it sent is Unauthorized; codes are hook.….
	Hooks interface {
		Receive(ctx context.Context, d flow.Delivery) (flow.Receipt, error)
	}

	// Explainer tells what happened to a business key or a run, oldest first. A
	// key that nobody has heard of has no entries.
	Explainer interface {
		Explain(ctx context.Context, key string) ([]flow.Entry, error)
	}

	// Readiness says whether this process can do its work now.
	Readiness interface {
		Ready(ctx context.Context) []Check
	}

	// Doctor looks at everything that a Patchbay stands on. It comes to an end,
	// whatever hangs, and no secret is in what it says.
	Doctor interface {
		Examine(ctx context.Context) []Check
	}

	// Keys knows the bearer keys of this installation. Implementations compare in
	// constant time.
	Keys interface {
		Principal(token string) (flow.Principal, bool)
	}

	// Check is one line of GET /readyz, where any status "fail" makes the answer 503,
	// and of GET /v1/doctor.
	Check struct {
		Name   string `json:"name"`
		Status string `json:"status" enum:"ok,warn,fail"`
		Detail string `json:"detail,omitempty"`
	}

	// Options assemble a Server. The interfaces must be set; the rest has the
	// defaults named here.
	Options struct {
		Trigger   Trigger
		Runs      Runs
		Canceller Canceller
		Flows     Flows
		Explainer Explainer
		Dead      Dead
		Hooks     Hooks     // nil: no flow reacts to events
		Topics    Topics    // nil: no flow accepts business events
		Troubles  Troubles  // the events that wait for a person; nil as Hooks
		Repairs   Repairs   // nil: no flow is a service
		Schedules Schedules // nil: no flow has a schedule
		Keeper    Keeper    // nil as Schedules
		Pictures  Pictures  // of consolidations; nil: no flow is one
		Plans     ActionPlans
		Referrals Referrals        // nil: no flow leaves anything to a person
		Capsules  Capsules         // nil as Referrals
		Regions   Synchronizations // nil: no flow is one
		Paid      Paid             // nil: nothing is ever paid
		Shadows   Shadows          // nil: nothing is computed in a shadow
		Stops     Stops            // nil: nothing is ever stopped
		Readiness Readiness
		Doctor    Doctor

		Console http.Handler // everything outside the API; nil answers 404
		Metrics http.Handler // GET /metrics, for principals that operate; nil answers 404
		Keys    Keys         // bearer keys; nil knows none

		// Dev makes a call without credentials the principal "dev" with every
		// right. Run then refuses a listener beyond loopback, and only hosts that
		// name that listener and pages of its own origin are served.
		Dev bool
		// Hosts are the Host headers to serve, for example "patchbay.example.com".
		// Empty serves any, unless Dev.
		Hosts []string
		// Proxies are networks of proxies of this installation: what they say in
		// X-Forwarded-For counts, and nobody else's word does.
		Proxies []netip.Prefix

		Version string        // of this build, for the OpenAPI document
		Drain   time.Duration // how long Run waits for requests when it ends; 10 s
		Log     *zap.Logger   // nil logs nothing
		// Observe is told of every request that reached a route: its pattern,
		// never its path. It may be nil and must not block.
		Observe func(route string, status int, took time.Duration)
	}
)

// operates reports whether p may see what others did.
func operates(p flow.Principal) bool {
	return p.Role == flow.RoleOperate || p.Role == flow.RoleAdmin
}
