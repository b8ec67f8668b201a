package decision_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"patchbay/internal/capsule"
	"patchbay/internal/decision"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// bundle is a room with runs to decide about.
type bundle struct {
	*testing.T
	store *store.Store
	room  *decision.Decisions
}

func newBundle(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, store: storetest.New(t)}
	b.room = decision.New(b.store, func() (ed25519.PrivateKey, error) { return key, nil })
	b.exec(`insert into plan (digest, flow, body) values ('digest', 'loan', '{}')`)
	return b
}

func (b *bundle) exec(sql string, args ...any) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(b.Context(), sql, args...)
		return err
	}))
}

func (b *bundle) run(id string) {
	b.Helper()
	b.exec(`insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, state, timeout, deadline_at)
		values ($1, 'loan', 'hybrid', 'dev', '\x00', '{}', 'digest', 'running', '1 day', now() + interval '1 day')`, id)
}

func proposal(run string, outcome flow.Outcome, partial ...string) decision.Proposal {
	if partial == nil {
		partial = []string{}
	}
	return decision.Proposal{
		RunID: run, Flow: "loan", Plan: "digest", Rules: json.RawMessage(`{"rules":[]}`), RulesDigest: "rules", Workflow: "hybrid/loan/" + run,
		Case: flow.Case{
			Params: flow.Row{"nr": run}, Gaps: []flow.Gap{},
			Inputs:   []flow.Collected{{Name: "application", Source: "bank", AsOf: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Rows: []flow.Row{{"amount": json.Number("1.50")}}}},
			Computed: []flow.Computed{{Name: "score", Function: "risk.score", Version: "v1", Contract: "c", Seed: "18446744073709551615", Input: json.RawMessage(`{"a":1.50,"b":1e-7}`), Output: json.RawMessage(`{"points":1e2}`)}},
		},
		Ruling:   flow.Ruling{Outcome: outcome, Rule: "a-rule", Reasons: []string{"Because."}, Partial: partial},
		FourEyes: false, Conflicts: []string{"Smith"}, Late: flow.Expire, Due: time.Now().Add(time.Hour),
	}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestADecisionIsMadeOnceAndSealedWithIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.run("r1")
	outcomes := []flow.Outcome{flow.Approve, flow.Decline, flow.Refuse}
	got := make([]flow.Outcome, 9)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			s, err := b.room.Rule(t.Context(), proposal("r1", outcomes[i%3]))
			if err == nil {
				got[i] = s.Decision.Outcome
			}
		})
	}
	all.Wait()
	require.Len(t, slices.Compact(got), 1, "who comes second finds the first: %v", got)
	file, err := b.room.Capsule(t.Context(), "r1")
	require.NoError(t, err)
	c, err := capsule.Open(file, key.Public().(ed25519.PublicKey))
	require.NoError(t, err)
	require.Equal(t, []string{string(got[0]), "rules", "rules"}, []string{c.Decision.Outcome, c.Decision.By, c.Decision.Rules})
	require.Equal(t, []string{`{"a":1.50,"b":1e-7}`, `{"points":1e2}`, "18446744073709551615"}, []string{string(c.Computed[0].Input), string(c.Computed[0].Output), c.Computed[0].Seed}, "digit for digit")
	_, err = b.room.Referral(t.Context(), "r1")
	require.Equal(t, "review.not_found", code(err))
}

func TestARunThatIsCancelledOrCannotBeSealedIsNotDecided(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, id := range []string{"sealed", "ended", "keyless"} {
		b.run(id)
	}
	b.exec(`insert into seal (cause, sealed_by) values ('sealed', 'dev')`)
	b.exec(`update work set state = 'failed', closed_at = now() where run_id = 'ended'`)
	for _, id := range []string{"sealed", "ended"} {
		_, err := b.room.Rule(t.Context(), proposal(id, flow.Approve))
		require.Equal(t, "review.closed", code(err), id)
	}
	keyless := decision.New(b.store, func() (ed25519.PrivateKey, error) {
		return nil, fault.New(fault.Unavailable, "capsule.key", "no key", nil)
	})
	_, err := keyless.Rule(t.Context(), proposal("keyless", flow.Approve))
	require.Equal(t, "capsule.key", code(err))
	_, err = b.room.Standing(t.Context(), "keyless", "hybrid/loan/keyless")
	require.Equal(t, "review.not_found", code(err), "nothing is kept without its capsule")
}

func TestPeopleDecideWhatIsReferred(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	woken := 0
	b.room.Wake = func() { woken++ }
	refer := func(id string, change func(*decision.Proposal)) {
		b.run(id)
		p := proposal(id, flow.Refer)
		change(&p)
		s, err := b.room.Rule(t.Context(), p)
		require.NoError(t, err)
		require.Nil(t, s.Decision)
	}
	refer("four", func(p *decision.Proposal) { p.FourEyes = true })
	refer("partial", func(p *decision.Proposal) { p.Ruling.Partial = []string{"bureau"} })
	refer("late", func(p *decision.Proposal) { p.Due = time.Now().Add(-time.Second) })
	refer("cancelled", func(*decision.Proposal) {})
	b.exec(`insert into seal (cause, sealed_by) values ('cancelled', 'dev')`)
	for i, c := range []struct {
		run, by  string
		decision flow.Outcome
		code     string
		decided  flow.Outcome
	}{
		{"four", "key:smith", flow.Decline, "review.conflict", ""},
		{"four", "SMITH", flow.Approve, "review.conflict", ""},
		{"four", "key:anna", flow.Approve, "", ""},
		{"four", "key:anna", flow.Decline, "review.twice", ""},
		{"four", "key:berta", flow.Approve, "", flow.Approve},
		{"four", "key:carla", flow.Decline, "review.decided", ""},
		{"partial", "key:anna", flow.Approve, "review.partial", ""},
		{"partial", "key:anna", flow.Decline, "", flow.Decline},
		{"late", "key:anna", flow.Approve, "review.late", ""},
		{"cancelled", "key:anna", flow.Approve, "review.closed", ""},
		{"nothing", "key:anna", flow.Approve, "review.not_found", ""},
	} {
		r, err := b.room.Opine(t.Context(), c.run, flow.Opinion{By: c.by, Decision: c.decision, Reason: "a reason"})
		require.Equal(t, c.code, code(err), "%d", i)
		if c.decided == "" {
			require.Nil(t, r.Decision, "%d", i)
			continue
		}
		require.Equal(t, c.decided, r.Decision.Outcome, "%d", i)
		file, err := b.room.Capsule(t.Context(), c.run)
		require.NoError(t, err)
		sealed, err := capsule.Open(file, key.Public().(ed25519.PublicKey))
		require.NoError(t, err)
		require.Len(t, sealed.Opinions, len(r.Opinions))
	}
	require.Equal(t, 2, woken)
	open, err := b.room.Referrals(t.Context(), flow.ReferralFilter{})
	require.NoError(t, err)
	require.Len(t, open, 1, "a cancelled one waits for nobody")
	s, err := b.room.Standing(t.Context(), "late", "hybrid/loan/late")
	require.NoError(t, err)
	require.Equal(t, []string{"expire", "deadline"}, []string{string(s.Decision.Outcome), s.Decision.By})
	asleep, err := b.room.Asleep(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, asleep, 3)
	require.NoError(t, b.room.Woken(t.Context(), []string{asleep[0].RunID}))
	asleep, err = b.room.Asleep(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, asleep, 2)
}

// Two people at once: one decides, and the other hears who was first.
func TestOfPeopleWhoDecideAtOnceOneIsFirst(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.run("r1")
	_, err := b.room.Rule(t.Context(), proposal("r1", flow.Refer))
	require.NoError(t, err)
	codes := make([]string, 8)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() {
			_, err := b.room.Opine(t.Context(), "r1", flow.Opinion{By: fmt.Sprint("key:p", i), Decision: []flow.Outcome{flow.Approve, flow.Decline}[i%2], Reason: "mine"})
			codes[i] = code(err)
		})
	}
	all.Wait()
	slices.Sort(codes)
	require.Equal(t, []string{"", "review.decided", "review.decided", "review.decided", "review.decided", "review.decided", "review.decided", "review.decided"}, codes)
}

// Of two who approve at once the second sees the first, and the two decide; who says the same twice
// at once is heard once.
func TestTwoWhoApproveAtOnceDecideUnderFourEyes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i := range 20 {
		id := fmt.Sprint("r", i)
		b.run(id)
		p := proposal(id, flow.Refer)
		p.FourEyes = true
		_, err := b.room.Rule(t.Context(), p)
		require.NoError(t, err)
		errs := make([]error, 4)
		var all sync.WaitGroup
		for j := range errs {
			all.Go(func() {
				_, errs[j] = b.room.Opine(t.Context(), id, flow.Opinion{By: fmt.Sprint("key:p", j%2), Decision: flow.Approve, Reason: "mine"})
			})
		}
		all.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		r, err := b.room.Referral(t.Context(), id)
		require.NoError(t, err)
		require.NotNil(t, r.Decision)
		require.Equal(t, flow.Approve, r.Decision.Outcome)
		require.Len(t, r.Opinions, 2)
	}
}

// A run that was started anew is woken, and not the workflow that it had when it was referred.
func TestTheWorkflowThatAskedLastIsWoken(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.run("r1")
	_, err := b.room.Rule(t.Context(), proposal("r1", flow.Refer))
	require.NoError(t, err)
	_, err = b.room.Standing(t.Context(), "r1", "hybrid/loan/r1-again")
	require.NoError(t, err)
	_, err = b.room.Opine(t.Context(), "r1", flow.Opinion{By: "key:anna", Decision: flow.Approve, Reason: "mine"})
	require.NoError(t, err)
	asleep, err := b.room.Asleep(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []decision.Sleeper{{RunID: "r1", Workflow: "hybrid/loan/r1-again"}}, asleep)
	_, err = b.room.Standing(t.Context(), "r1", "hybrid/loan/r1-third")
	require.NoError(t, err)
}

// Each second it is asked who is to be woken: what rules decided is in no index of that.
func TestWhatRulesDecidedIsNotLookedThrough(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.run("r1")
	_, err := b.room.Rule(t.Context(), proposal("r1", flow.Approve))
	require.NoError(t, err)
	for _, index := range []string{"decision_wake", "decision_open"} {
		var where string
		require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
			return tx.QueryRow(t.Context(), `select pg_get_expr(indpred, indrelid) from pg_index where indexrelid = $1::regclass`, index).Scan(&where)
		}))
		require.Contains(t, where, "due_at IS NOT NULL", index)
	}
}
