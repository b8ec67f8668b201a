package web_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestARunShowsWhatItAwaitsUntilWhenAndWhatCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Now().Add(-time.Hour)
	until := time.Date(2126, 12, 24, 18, 0, 0, 0, time.UTC)
	before, after := at.Add(-time.Minute), at.Add(time.Minute)
	run := reading(fresh("sailing", at))
	run.Tasks = []flow.TaskView{
		{Name: "departed", State: flow.TaskDone, BegunAt: at, EndedAt: &after, Note: "shipped.v1 of 4711",
			Await: &flow.AwaitView{Topic: "shipped.v1", Key: "4711", Until: until, Event: "early", Came: &before}},
		{Name: "arrived", State: flow.TaskRunning, BegunAt: after, Waiting: "shipped.v1 of 4711, until then",
			Await: &flow.AwaitView{Topic: "shipped.v1", Key: "4711", Until: until, Others: []flow.TopicEvent{
				{Topic: "shipped.v1", ID: "early", Key: "4711", State: flow.TopicTaken, Run: "sailing", ReceivedAt: before},
				{Topic: "shipped.v1", ID: "turned", Key: "4711", State: flow.TopicKept, ReceivedAt: after, ExpiresAt: until},
				{Topic: "shipped.v1", ID: "lost", Key: "4711", State: flow.TopicExpired, Why: "no run awaited it", ReceivedAt: before},
			}}},
	}
	w.put(run)
	_, _, body := w.page(t, "/runs/sailing")
	for _, want := range []string{
		"it had come before it was awaited", "awaited until 24 December 2126 18:00:00 UTC", "kept for a later step or another run, until 24 December 2126",
		"<code>turned</code>", "no run awaited it", "shipped.v1 of 4711, until then",
	} {
		require.Contains(t, body, want)
	}
	run.Status, run.ClosedAt, run.Tasks[1].Waiting = flow.Cancelled, &after, ""
	w.put(run)
	_, _, body = w.page(t, "/runs/sailing")
	require.Contains(t, body, "the run ended before it came")
}

func TestARunOfAnEventFlowShowsWhatBecameOfWhatItTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Now().Add(-time.Hour)
	run := reading(fresh("told", at))
	run.Told = []flow.TopicEvent{
		{Topic: "moved.v1", ID: "told/1", Key: "4711", State: flow.TopicExpired, Why: "no run awaited it before then", ReceivedAt: at},
		{Topic: "moved.v1", ID: "told/2", Key: "4712", State: flow.TopicKept, ReceivedAt: at, ExpiresAt: at, Started: []flow.TopicStart{{Flow: "follow", Run: "follower"}}},
	}
	w.put(run)
	_, _, body := w.page(t, "/runs/told")
	for _, want := range []string{"<code>told/1</code>", "no run awaited it before then", "it started the run follower of follow"} {
		require.Contains(t, body, want)
	}
}
