package run

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Options tune a Book; the zero value is right for production.
	Options struct {
		Lease time.Duration // how long a claimed row waits for its mark before the relay sends it again; 0: 15 s
		Slots int           // activities that the workers carry out at a time; 0: 200. A quarter is kept for runs of one
		// Computing is how many computations that nobody waits for the compute fleet does at a
		// time; 0: 2. Twice as many such runs of a hybrid flow are under way.
		Computing int
		Solo      bool // no other process works on this store: nobody is notified, and no lease outlives a kill
		// Closed is told of every run that this process closed, once it is committed:
		// its flow, how it ended and how long after it was accepted. It may be nil.
		Closed func(flow string, status flow.Status, took time.Duration)
		// Stops knows what is not to be started now; nil: nothing is stopped.
		Stops Stops
	}

	// Book is the book of runs. It is safe for concurrent use.
	Book struct {
		store            *store.Store
		plans            *Plans
		stops            Stops
		lease            time.Duration
		solo             bool
		hub              *hub
		ended            func(flow string, status flow.Status, took time.Duration)
		slots, computing int
		desk             // what is committed in groups

		door // what is accepted and read in groups

		inherited atomic.Bool // the leases of the process before this one were ended
		rates     rates
		expired   atomic.Int64 // when it was last looked for rows whose time is over; Unix nanoseconds

		mu  sync.Mutex
		key []byte // of the run_id HMAC; nil until it was read
	}

	// Start is what starts one workflow: a batch of accepted rows. The zero value
	// starts nothing.
	Start struct {
		BatchID  string
		Flow     string
		Digest   string
		Pattern  string
		Size     int
		Skeleton flow.Skeleton
		Summary  string   // of the flow, for people
		RunIDs   []string // of the items
		Class    flow.Class
		Workflow string // its ID where it follows from nothing else: it came by the second door
	}

	// Item is one run in the hands of an activity.
	Item struct {
		RunID      string
		BatchID    string
		Flow       string
		Digest     string
		Params     flow.Row // complete and typed, as flow.Plan.Validate gives them
		Principal  string
		AcceptedAt time.Time
		DeadlineAt time.Time
		Tries      int          // batches that it has left without an end
		Fence      int64        // of this Take; what is written with an older one finds no row
		Answer     *flow.Result // of an earlier attempt or step, nil if there is none
		Answered   bool         // and may be shown already: it will not be replaced
		Sealed     bool         // a cancel was asked: no effect may begin
		Task       string       // of TakeTask: what is in hands is this task of the run, and Fence is its
	}
)

// EventPrincipal is who asks for the runs of event flows; nobody else may.
const EventPrincipal = "events"

const (
	defaultLease = 15 * time.Second
	defaultSlots = 200
	// defaultComputing suits a fleet of one process with some processors.
	defaultComputing = 2
	// anyTimeout stands in for a plan that gives none.
	anyTimeout = 30 * time.Second
	// anyQueue stands in for a plan that gives no limit of waiting presses.
	anyQueue = 1000
)

// NewBook gives the book of runs of a store.
func NewBook(s *store.Store, plans *Plans, o Options) *Book {
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	if o.Closed == nil {
		o.Closed = func(string, flow.Status, time.Duration) {}
	}
	if o.Stops == nil {
		o.Stops = nothing{}
	}
	if o.Slots <= 0 {
		o.Slots = defaultSlots
	}
	if o.Computing <= 0 {
		o.Computing = defaultComputing
	}
	b := &Book{store: s, plans: plans, stops: o.Stops, lease: o.Lease, solo: o.Solo, hub: newHub(s, !o.Solo), ended: o.Closed, slots: o.Slots, computing: o.Computing}
	b.desk = newDesk(b)
	b.door = newDoor(b)
	return b
}

// WorkflowID is the ID of the workflow that Start starts.
func (s Start) WorkflowID() string {
	if s.Workflow != "" {
		return s.Workflow
	}
	return workflowID(s.Pattern, s.Flow, s.BatchID)
}

// workflowID has the form of contract.WorkflowID, which this package must not
// import; a test keeps them equal.
func workflowID(pattern, flow, id string) string { return pattern + "/" + flow + "/" + id }

// start describes the batch of rows that carry batchID.
func start(plan *flow.Plan, digest, batchID string, runIDs ...string) Start {
	return Start{
		BatchID:  batchID,
		Flow:     plan.Flow,
		Digest:   digest,
		Pattern:  string(plan.Pattern),
		Size:     len(runIDs),
		Skeleton: plan.Skeleton(),
		Summary:  plan.Summary,
		RunIDs:   runIDs,
	}
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// runID is 26 characters: an HMAC of who asks for what under which key, so that
// the same press finds the same row and no client key or personal data is in an
// ID. Without a key it is random.
func (b *Book) runID(ctx context.Context, press flow.Press) (string, error) {
	if press.Key == "" {
		return lowerBase32.EncodeToString(randomBytes(16)), nil
	}
	return b.pseudonym(ctx, press.Principal+"\x00"+press.Flow+"\x00"+press.Key)
}

// Pseudonym stands for a principal where no name may be, as in a key of Temporal's
// fairness (promise 5): the same for all that one asks for.
func (b *Book) Pseudonym(ctx context.Context, principal string) (string, error) {
	return b.pseudonym(ctx, "principal\x00"+principal)
}

// pseudonym is 26 characters: an HMAC of text under a key of this installation.
func (b *Book) pseudonym(ctx context.Context, text string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key == nil {
		key, err := b.store.Setting(ctx, "run.id-key", func() []byte { return randomBytes(32) })
		if err != nil {
			return "", err
		}
		b.key = key
	}
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(text))
	return lowerBase32.EncodeToString(mac.Sum(nil))[:26], nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// keysOf gives the business keys among parameters: their texts.
func keysOf(params flow.Row) []string {
	var keys []string
	for _, v := range params {
		if s, ok := v.(string); ok && strings.TrimSpace(s) != "" {
			keys = append(keys, s)
		}
	}
	slices.Sort(keys)
	return keys
}
