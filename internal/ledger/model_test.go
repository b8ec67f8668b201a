package ledger_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
)

// model is the ledger of one cause, kept in memory and in order.
type model struct {
	sealed  bool
	order   []string
	effects map[string]*modelEffect
}

type modelEffect struct {
	state  flow.EffectState
	body   string
	fence  int64
	unsure bool
}

// wants tells what Attempt has to answer: a fault code, or the open keys and
// which of them are to be read back.
func (m *model) wants(keys []string, body func(string) string) (code string, open []string, retried map[string]bool) {
	if m.sealed {
		return "ledger.sealed", nil, nil
	}
	retried = map[string]bool{}
	for _, k := range keys {
		e := m.effects[k]
		if e != nil && e.body != body(k) {
			return "ledger.body_changed", nil, nil
		}
		if e == nil || e.state == flow.Intent || e.state == flow.Attempt || e.state == flow.Doubtful {
			open = append(open, k)
			retried[k] = e != nil && e.state != flow.Intent
		}
	}
	return "", open, retried
}

func (m *model) settle(o ledger.Outcome) bool {
	e := m.effects[o.Key]
	decides := o.State == flow.Confirmed || o.State == flow.Refused
	switch {
	case e == nil || e.fence != o.Fence:
		return false
	case e.state == flow.Attempt && (o.State == flow.Intent || o.State == flow.Refused) && e.unsure:
		e.state = flow.Doubtful
	case e.state == flow.Attempt:
		e.state = o.State
	case e.state == flow.Doubtful && o.State == flow.Confirmed:
		e.state = flow.Settled
	case e.state == flow.Doubtful && decides && e.unsure: // a refusal decides nothing of the attempt before
	case e.state == flow.Doubtful && decides:
		e.state = o.State
	default:
		return false
	}
	return true
}

// Any sequence of attempts, outcomes (late ones too), crashes, seals and doubts
// leaves the tables as the sequential model says. A crash is an attempt whose
// outcomes never come, or come after the next attempt has begun.
func TestTheLedgerAgreesWithItsModel(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	causes := 0
	rapid.Check(t, func(r *rapid.T) {
		causes++
		cause := fmt.Sprintf("cause-%d", causes)
		m := &model{effects: map[string]*modelEffect{}}
		var sent []ledger.Open // every attempt ever begun: outcomes may come in any order
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})

		r.Repeat(map[string]func(*rapid.T){
			"attempt": func(r *rapid.T) {
				chosen := rapid.SliceOfNDistinct(keys, 0, 4, rapid.ID[string]).Draw(r, "keys")
				other := rapid.IntRange(0, 9).Draw(r, "body") == 0
				body := func(k string) string {
					if other && len(chosen) > 0 && k == chosen[0] {
						return "other"
					}
					return "body"
				}
				members := make([]ledger.Member, len(chosen))
				for i, k := range chosen {
					members[i] = member(k, body(k))
				}
				code, open, retried := m.wants(chosen, body)
				got, err := b.begin(cause, "call", members...)
				if code != "" {
					require.Equal(r, code, fault.Of(err).Code)
					return
				}
				require.NoError(r, err)
				require.Len(r, got, len(open))
				for i, o := range got {
					require.Equal(r, open[i], o.Key)
					require.Equal(r, retried[o.Key], o.Retried)
					e := m.effects[o.Key]
					if e == nil {
						e = &modelEffect{body: body(o.Key)}
						m.effects[o.Key] = e
						m.order = append(m.order, o.Key)
					}
					require.Greater(r, o.Fence, e.fence, "each attempt has a newer fence")
					e.state, e.fence, e.unsure = flow.Attempt, o.Fence, o.Retried
				}
				sent = append(sent, got...)
			},
			"settle": func(r *rapid.T) {
				if len(sent) == 0 {
					r.Skip("nothing was sent")
				}
				one := rapid.SampledFrom(sent).Draw(r, "attempt")
				state := rapid.SampledFrom([]flow.EffectState{flow.Confirmed, flow.Refused, flow.Doubtful, flow.Intent}).Draw(r, "state")
				o := ledger.Outcome{Key: one.Key, Fence: one.Fence, State: state}
				want := 0
				if m.settle(o) {
					want = 1
				}
				got, err := b.settle(cause, o)
				require.NoError(r, err)
				require.Equal(r, want, got)
			},
			"doubt": func(r *rapid.T) {
				require.NoError(r, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
					_, err := ledger.Conclude(b.Context(), tx, nil, "no answer came back", []string{cause}, nil)
					return err
				}))
				for _, e := range m.effects {
					if e.state == flow.Attempt {
						e.state = flow.Doubtful
					}
				}
			},
			"reopen": func(r *rapid.T) {
				require.NoError(r, b.store.Tx(b.Context(), func(tx pgx.Tx) error { return ledger.Reopen(b.Context(), tx, cause) }))
				for _, e := range m.effects {
					if e.state == flow.Refused {
						e.state = flow.Intent
					}
				}
			},
			"seal": func(r *rapid.T) {
				if rapid.IntRange(0, 4).Draw(r, "rarely") > 0 {
					r.Skip("rarely")
				}
				require.Equal(r, m.sealed, b.seal(cause))
				m.sealed = true
			},
			"": func(r *rapid.T) {
				all, err := ledger.EffectsOf(b.Context(), b.store.Pool(), cause)
				require.NoError(r, err)
				got := all[cause]
				for i := range got {
					got[i].Reason = "" // words for people; the model has none
				}
				var want []flow.Effect
				for _, k := range m.order {
					want = append(want, flow.Effect{Step: "write", Target: "crm.t label of " + k, State: m.effects[k].state})
				}
				require.Equal(r, want, got)
			},
		})
	})
}
