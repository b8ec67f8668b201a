package topic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
	"patchbay/internal/topic"
)

// inForce are the flows of a test.
type inForce []flow.Applied

func (f inForce) List(context.Context) ([]flow.Applied, error) { return f, nil }

func shipped(keep time.Duration, more ...flow.Param) flow.Topic {
	return flow.Topic{Name: "shipped.v1", Key: []string{"nr"}, Keep: keep, Fields: append([]flow.Param{
		{Name: "nr", Type: flow.String}, {Name: "status", Type: flow.String, Enum: []string{"departed", "arrived"}}, {Name: "weight", Type: flow.Decimal, Optional: true}}, more...)}
}

type bundle struct {
	*testing.T
	store  *store.Store
	topics *topic.Topics
}

func newBundle(t *testing.T, accepts ...flow.Topic) *bundle {
	t.Helper()
	s := storetest.New(t)
	var plans inForce
	for i, a := range accepts {
		plans = append(plans, flow.Applied{Plan: &flow.Plan{Flow: fmt.Sprintf("f%d", i), Accepts: []flow.Topic{a}}})
	}
	return &bundle{T: t, store: s, topics: topic.New(s, plans)}
}

func event(nr, status string) flow.Row { return flow.Row{"nr": nr, "status": status} }

func wait(run, nr, status string, within time.Duration) topic.Wait {
	return topic.Wait{RunID: run, Task: "came", Workflow: "service/f/" + run, Topic: "shipped.v1", Key: nr, Match: flow.Row{"nr": nr, "status": status}, Within: within}
}

func (b *bundle) take(w topic.Wait) (taken topic.Taken) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) (err error) { taken, err = topic.Take(b.Context(), tx, w); return err }))
	return taken
}

func (b *bundle) post(id string, data flow.Row) flow.TopicEvent {
	b.Helper()
	e, err := b.topics.Post(b.Context(), "shipped.v1", id, data, "test")
	require.NoError(b, err)
	return e
}

// expire ends the time of events, everybody having been told of them.
func (b *bundle) expire() int {
	b.Helper()
	due, err := b.topics.Due(b.Context(), 0, 1000)
	require.NoError(b, err)
	var ids []int64
	for _, d := range due {
		ids = append(ids, d.ID)
	}
	require.NoError(b, b.topics.Dispatched(b.Context(), ids))
	n, err := b.topics.Expire(b.Context())
	require.NoError(b, err)
	return n
}

func TestAnEventIsTakenByTheFirstWhoAwaitsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	require.Equal(t, "4711", b.post("a", event("4711", "arrived")).Key)
	require.Nil(t, b.take(wait("r1", "4711", "departed", time.Hour)).Event, "it is another status")
	require.Nil(t, b.take(wait("r1", "0815", "arrived", time.Hour)).Event, "and another number")
	first := b.take(wait("r2", "4711", "arrived", time.Hour))
	require.Equal(t, "a", first.ID)
	require.Equal(t, flow.Row{"nr": "4711", "status": "arrived"}, first.Event)
	require.Equal(t, first, b.take(wait("r2", "4711", "arrived", time.Hour)), "asked again it is the same one")
	require.Nil(t, b.take(wait("r3", "4711", "arrived", time.Hour)).Event)
	list, err := b.topics.List(t.Context(), flow.TopicFilter{Key: "4711"})
	require.NoError(t, err)
	require.Equal(t, []any{flow.TopicTaken, "r2", "came"}, []any{list[0].State, list[0].Run, list[0].Task})
}

func TestNumbersAreComparedByWhatTheyAreWorth(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	b.post("a", flow.Row{"nr": "1", "status": "arrived", "weight": json.Number("1.50")})
	w := wait("r1", "1", "arrived", time.Hour)
	w.Match["weight"] = json.Number("1.5")
	require.Equal(t, json.Number("1.50"), b.take(w).Event["weight"], "and kept as they were written")
}

func TestAnIDIsOneEvent(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	require.False(t, b.post("a", event("1", "arrived")).Duplicate)
	require.True(t, b.post("a", flow.Row{"nr": "1", "status": "arrived", "note": "of no contract"}).Duplicate)
	_, err := b.topics.Post(t.Context(), "shipped.v1", "a", event("1", "departed"), "test")
	require.Equal(t, flow.TopicClashCode, fault.Of(err).Code)
	b.take(wait("r1", "1", "arrived", time.Hour))
	require.Equal(t, flow.TopicTaken, b.post("a", event("1", "arrived")).State, "also when it has been taken")
}

func TestWhatIsNotAsAContractSaysIsNotKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour), shipped(time.Hour, flow.Param{Name: "port", Type: flow.String}))
	for name, c := range map[string]struct {
		topic, id string
		data      flow.Row
		code      string
		path      string
	}{
		"a topic that nobody accepts":     {"other.v1", "a", event("1", "arrived"), flow.TopicUnknownCode, ""},
		"a field that one contract needs": {"shipped.v1", "a", event("1", "arrived"), flow.TopicInvalidCode, "data.port"},
		"a value that is not allowed":     {"shipped.v1", "a", event("1", "sunk"), flow.TopicInvalidCode, "data.status"},
		"no ID":                           {"shipped.v1", "", flow.Row{"nr": "1", "status": "arrived", "port": "HAM"}, flow.TopicInvalidCode, "id"},
		"an empty key":                    {"shipped.v1", "a", flow.Row{"nr": "", "status": "arrived", "port": "HAM"}, flow.TopicInvalidCode, ""},
		"a character that is none":        {"shipped.v1", "a", flow.Row{"nr": "1", "status": "arrived", "port": "H\x00"}, flow.TopicInvalidCode, ""},
		"too much":                        {"shipped.v1", "a", flow.Row{"nr": "1", "status": "arrived", "port": strings.Repeat("H", 50_000)}, flow.TopicInvalidCode, ""},
	} {
		_, err := b.topics.Post(t.Context(), c.topic, c.id, c.data, "test")
		f := fault.Of(err)
		require.Error(t, err, name)
		require.Equal(t, c.code, f.Code, name)
		if c.path != "" {
			require.Equal(t, c.path, f.Fields[0].Path, name)
		}
	}
	list, err := b.topics.List(t.Context(), flow.TopicFilter{})
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestATimeThatIsOverTakesNothingMore(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Nanosecond))
	over := b.take(wait("r1", "1", "arrived", 0))
	require.Zero(t, over.Left)
	b.post("late", event("1", "arrived"))
	b.post("alone", event("2", "arrived"))
	require.Nil(t, b.take(wait("r1", "1", "arrived", time.Hour)).Event)
	require.Equal(t, 2, b.expire())
	entries, err := b.topics.Explain(t.Context(), "1")
	require.NoError(t, err)
	require.Contains(t, entries[0].Detail["why"], "the run r1 awaited such an event until")
	entries, err = b.topics.Explain(t.Context(), "alone")
	require.NoError(t, err)
	require.Contains(t, entries[0].Detail["why"], "no run awaited it")
}

func TestAnEventEndsWithTheRunsThatItStarted(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Nanosecond))
	for i, id := range []string{"good", "bad"} {
		b.post(id, event(fmt.Sprint(i), "arrived"))
	}
	due, err := b.topics.Due(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Equal(t, event("0", "arrived"), due[0].Data)
	for range 2 { // told again it is the same run
		require.NoError(t, b.topics.Started(t.Context(), due[0].ID, flow.TopicStart{Flow: "pack", Run: "r1"}))
	}
	require.NoError(t, b.topics.Started(t.Context(), due[1].ID, flow.TopicStart{Flow: "pack", Problem: &flow.Problem{Code: "params.invalid", Detail: "port is missing"}}))
	require.Equal(t, 2, b.expire())
	list, err := b.topics.List(t.Context(), flow.TopicFilter{})
	require.NoError(t, err)
	require.Equal(t, []any{flow.TopicDead, "it started none of pack: port is missing"}, []any{list[0].State, list[0].Why})
	require.Equal(t, []any{flow.TopicDelivered, "it started the run r1 of pack"}, []any{list[1].State, list[1].Why})
	require.Equal(t, []flow.TopicStart{{Flow: "pack", Run: "r1"}}, list[1].Started)
	entries, err := b.topics.Explain(t.Context(), "r1")
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// Many events and runs of few keys at a time: whoever waits in the end and whose event is
// there is to be woken, and no event is taken twice.
func TestNoEventIsOverlookedOrTakenTwice(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	const keys, each = 4, 15
	var all sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]string{}
	for k := range keys {
		for i := range each {
			nr := fmt.Sprint(k)
			all.Go(func() {
				_, err := b.topics.Post(b.Context(), "shipped.v1", fmt.Sprintf("%d-%d", k, i), event(nr, "arrived"), "test")
				require.NoError(b, err)
			})
			all.Go(func() {
				run := fmt.Sprintf("r%d-%d", k, i)
				got := b.take(wait(run, nr, "arrived", time.Hour))
				mu.Lock()
				defer mu.Unlock()
				if got.Event != nil {
					require.Empty(b, taken[got.ID], got.ID)
					taken[got.ID] = run
				}
			})
		}
	}
	all.Wait()
	due, err := b.topics.Due(t.Context(), 0, 1000)
	require.NoError(t, err)
	require.Len(t, due, keys*each)
	var ids []int64
	for _, d := range due {
		ids = append(ids, d.ID)
		for _, s := range d.Waits { // each is woken for each, and takes one
			require.Equal(t, "service/f/"+s.RunID, s.Workflow)
			nr := strings.TrimPrefix(strings.Split(s.RunID, "-")[0], "r")
			if got := b.take(wait(s.RunID, nr, "arrived", time.Hour)); got.Event != nil && taken[got.ID] != s.RunID {
				require.Empty(t, taken[got.ID], got.ID)
				taken[got.ID] = s.RunID
			}
		}
	}
	require.NoError(t, b.topics.Dispatched(t.Context(), ids))
	due, err = b.topics.Due(t.Context(), 0, 1000)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Len(t, taken, keys*each, "as many runs as events: each has one")
}

func TestAnEventThatIsOverIsOfferedAgainOrPutAside(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Nanosecond))
	for i, id := range []string{"dead", "alone", "aside"} {
		b.post(id, event(fmt.Sprint(i), "arrived"))
	}
	due, err := b.topics.Due(t.Context(), 0, 10)
	require.NoError(t, err)
	require.NoError(t, b.topics.Started(t.Context(), due[0].ID, flow.TopicStart{Flow: "bill", Run: "r1"}))
	require.NoError(t, b.topics.Started(t.Context(), due[0].ID, flow.TopicStart{Flow: "pack", Problem: &flow.Problem{Code: "params.invalid", Detail: "port is missing"}}))
	require.NoError(t, b.topics.Dispatched(t.Context(), []int64{due[0].ID, due[1].ID, due[2].ID}))
	found, err := b.topics.Troubles(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1, "a flow that could not be started is told before the event expires")
	require.Equal(t, []any{flow.TopicDead, int64(1), "dead"}, []any{found[0].State, found[0].Count, found[0].Sample.ID})
	_, err = b.topics.Expire(t.Context())
	require.NoError(t, err)
	found, err = b.topics.Troubles(t.Context())
	require.NoError(t, err)
	require.Equal(t, []any{2, flow.TopicExpired, int64(2)}, []any{len(found), found[1].State, found[1].Count})

	n, err := b.topics.Dismiss(t.Context(), "ann", "of a test", flow.TopicFilter{IDs: []string{"aside"}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	offered, err := b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{Topic: "shipped.v1", Since: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Len(t, offered, 2, "what was put aside is not")
	found, err = b.topics.Troubles(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
	again, err := b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{Topic: "shipped.v1"})
	require.NoError(t, err)
	require.Empty(t, again, "once")
	due, err = b.topics.Due(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.NoError(t, b.topics.Started(t.Context(), due[0].ID, flow.TopicStart{Flow: "pack", Run: "r2"}))
	list, err := b.topics.List(t.Context(), flow.TopicFilter{IDs: []string{"dead"}})
	require.NoError(t, err)
	require.Equal(t, []flow.TopicStart{{Flow: "bill", Run: "r1"}, {Flow: "pack", Run: "r2"}}, list[0].Started, "what it had started stays")
	require.Equal(t, []any{flow.TopicKept, 1, "ann"}, []any{list[0].State, list[0].Redriven, list[0].DecidedBy})
	entries, err := b.topics.Explain(t.Context(), "aside")
	require.NoError(t, err)
	require.Contains(t, entries[0].Detail["why"], "put aside by ann: of a test")
}

func TestWhoBeginsToAwaitAnEventThatIsOfferedAgainHasIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t, shipped(time.Hour))
	b.post("late", event("1", "arrived"))
	require.NoError(t, b.store.Tx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update topic_event set expires_at = now()`)
		return err
	}))
	require.Equal(t, 1, b.expire())
	require.Nil(t, b.take(wait("r1", "1", "arrived", time.Hour)).Event)
	_, err := b.topics.Redrive(t.Context(), "ann", flow.TopicFilter{IDs: []string{"late"}})
	require.NoError(t, err)
	due, err := b.topics.Due(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Equal(t, "r1", due[0].Waits[0].RunID)
	require.Equal(t, "late", b.take(wait("r1", "1", "arrived", time.Hour)).ID)
}
