package paid

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Paid answers questions that cost money. It is safe for concurrent use.
	Paid struct {
		store *store.Store
		speed float64
		lease time.Duration
		key   key
	}

	// Options tune Paid.
	Options struct {
		Speed float64 // so many budgets a day; 0 and 1 are one
		// Lease is how long others leave a question to the run that asks it after it was last
		// heard of; 0: fifteen seconds. A shorter one costs nothing but requests.
		Lease time.Duration
	}

	// Question is one that a provider answers for Price. Identity names the system behind the
	// connection; another system's answer is another one. Asked is all else that the answer
	// depends on: table, columns and the values of where, as encoding/json writes it, with the
	// keys of maps in order. Both are digested and not kept.
	Question struct {
		Connection string
		Identity   string
		Asked      any
		Price      flow.Money
		Budget     flow.Budget // a PerDay of no currency: none
		// Reuse is how old an answer of another run may be; 0: none is used. A run may always
		// use what it paid for itself.
		Reuse  time.Duration
		Flow   string
		Run    string // that the answer is for
		Source string // its name in the flow
	}

	// Fetch asks the provider, which knows a repeated question by the reference, and judges the
	// answer: what it returns without an error is used by others. Its faults say what is paid:
	// Unavailable, InDoubt and the end of ctx leave it in doubt; Bug ("connector.malformed",
	// "rest.other-subject") is a paid answer that cannot be used; all else is a refusal, not paid.
	Fetch func(ctx context.Context, reference string) (Reply, error)

	// Reply is what a provider says. AsOf is of when its figures are, where it says so.
	Reply struct {
		Body json.RawMessage
		AsOf time.Time
	}

	// Answer is what a question came to.
	Answer struct {
		Body      json.RawMessage
		Reference string
		AsOf      time.Time // where the provider does not say so, when it was asked first
		Price     flow.Money
		Run       string // that paid
		Reused    bool   // another run did, or this one did before
	}
)

// UsedUp is the code of a question that the budget of the day has no money for any more. It is
// Throttled; After is the time until the next day.
const UsedUp = "budget.used-up"

// UnderWay is the code of a question that another run asked and that is not answered yet. It is Throttled.
const UnderWay = "paid.under_way"

const (
	defaultLease = 15 * time.Second
	// mostUnusable is how often a question is repeated whose answer cannot be used: under the same
	// reference, for nothing. After that it was paid in vain.
	mostUnusable = 3
	within       = 5 * time.Second // a transaction, whatever its caller does
	longestLook  = 400 * time.Millisecond
)

// New gives the paid answers of a store.
func New(s *store.Store, o Options) *Paid {
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	return &Paid{store: s, speed: max(o.Speed, 1), lease: o.Lease, key: key{store: s}}
}

// Ask gives the answer to a question: one that is there and young enough, or else that of fetch,
// which is called at most once. While another run asks the same it waits, at most until ctx ends:
// then the fault is UnderWay. A day without money for it is UsedUp. Else the error is that of fetch.
func (p *Paid) Ask(ctx context.Context, q Question, fetch Fetch) (Answer, error) {
	asked, err := json.Marshal(q.Asked)
	if err != nil {
		return Answer{}, fault.New(fault.Bug, "paid.encode", "what "+q.Connection+" is asked for cannot be encoded", nil)
	}
	digest, err := p.key.of(ctx, "question", q.Connection, q.Identity, string(asked))
	if err != nil {
		return Answer{}, err
	}
	for look := 10 * time.Millisecond; ; look = min(2*look, longestLook) {
		t, err := p.begin(ctx, q, digest)
		switch {
		case err != nil:
			return Answer{}, fmt.Errorf("beginning a paid inquiry: %w", err)
		case t.answer != nil:
			return *t.answer, nil
		case t.ours:
			return p.fetch(ctx, q, t, fetch)
		case !pause(ctx, look):
			return Answer{}, fault.ThrottledFor(time.Second, UnderWay, "another run has asked "+q.Connection+" the same, and there is no answer yet", nil)
		}
	}
}

// fetch asks and settles. What came of it is kept even when the caller is gone.
func (p *Paid) fetch(ctx context.Context, q Question, t turn, fetch Fetch) (Answer, error) {
	reply, failed := fetch(ctx, t.reference)
	if failed == nil && !json.Valid(reply.Body) {
		failed = fault.New(fault.Bug, "paid.malformed", "the answer of "+q.Connection+" is no JSON", nil)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if failed != nil {
		_ = p.fail(ctx, t, failed) // else it counts as paid until somebody knows better
		return Answer{}, failed
	}
	answer, err := p.keep(ctx, q, t, reply)
	if err != nil {
		return Answer{}, fmt.Errorf("keeping a paid answer: %w", err)
	}
	return answer, nil
}

// pause waits, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// key is what questions are digested with: the installation's own.
type key struct {
	store *store.Store
	mu    sync.Mutex
	value []byte
}

func (k *key) of(ctx context.Context, parts ...string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.value == nil {
		value, err := k.store.Setting(ctx, "paid.key", func() []byte {
			fresh := make([]byte, 32)
			_, _ = rand.Read(fresh) // never fails
			return fresh
		})
		if err != nil {
			return nil, err
		}
		k.value = value
	}
	mac := hmac.New(sha256.New, k.value)
	for _, part := range parts {
		mac.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return mac.Sum(nil), nil
}

var references = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// reference is by what the provider knows the n-th payment for a question. It follows from them, so
// that a database which was restored asks under the same one, which is free.
func (p *Paid) reference(ctx context.Context, question []byte, n int) (string, error) {
	mac, err := p.key.of(ctx, "reference", string(question), strconv.Itoa(n))
	if err != nil {
		return "", err
	}
	return references.EncodeToString(mac)[:32], nil
}
