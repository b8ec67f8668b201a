package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// clock keeps what it was asked for.
type clock struct{ asked []string }

func (c *clock) Rhythms(context.Context) ([]flow.Rhythm, error) {
	return []flow.Rhythm{{Flow: "picture", Words: "every 1h; overlap skip"}}, nil
}

func (c *clock) Rhythm(_ context.Context, name string) (flow.Rhythm, error) {
	if name != "picture" {
		return flow.Rhythm{}, fault.NotFoundf("schedule.not_found", "the flow %s has no schedule in force", name)
	}
	return flow.Rhythm{Flow: name}, nil
}

func (c *clock) Slots(_ context.Context, name string, from, to time.Time, limit int) ([]flow.Slot, error) {
	c.asked = append(c.asked, fmt.Sprint("slots ", name, " ", to.Sub(from).Round(time.Minute), " ", limit))
	return []flow.Slot{{Flow: name, Outcome: flow.SlotOverlap}}, nil
}

func (c *clock) Hold(ctx context.Context, name, by, reason string) (flow.Rhythm, error) {
	c.asked = append(c.asked, fmt.Sprint("hold ", name, " ", by, " ", reason))
	return c.Rhythm(ctx, name)
}

func (c *clock) Resume(ctx context.Context, name, by string) (flow.Rhythm, error) {
	c.asked = append(c.asked, fmt.Sprint("resume ", name, " ", by))
	return c.Rhythm(ctx, name)
}

func (c *clock) Backfill(_ context.Context, b flow.Backfill) (flow.Backfilled, error) {
	c.asked = append(c.asked, fmt.Sprint("backfill ", b.Flow, " ", b.From.Format(time.DateOnly), " ", b.By, " ", b.Besides, " ", b.Plan))
	return flow.Backfilled{Flow: b.Flow}, nil
}

func TestSchedulesAreShownHeldResumedAndBackfilledByWhoOperates(t *testing.T) {
	t.Parallel()
	c := &clock{}
	b := newBundle(t, serve, func(o *httpapi.Options) { o.Schedules, o.Keeper = c, c })
	ops := []string{"Authorization", "Bearer ops"}
	require.Contains(t, b.do(http.MethodGet, "/v1/schedules", "", ops...).body, `"words":"every 1h; overlap skip"`)
	require.Contains(t, b.do(http.MethodGet, "/v1/flows/picture/schedule", "", ops...).body, `"flow":"picture"`)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/v1/flows/other/schedule", "", ops...).status)
	require.Contains(t, b.do(http.MethodGet, "/v1/flows/picture/slots?limit=7", "", ops...).body, `"outcome":"skipped: overlap"`)
	require.Equal(t, http.StatusNotFound, b.do(http.MethodGet, "/v1/flows/other/slots", "", ops...).status)
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/flows/picture/hold", `{"reason":"a migration"}`, ops...).status)
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/v1/flows/picture/resume", "", ops...).status)
	require.Contains(t, b.do(http.MethodPost, "/v1/flows/picture/backfill", `{"from":"2026-11-30T10:00:00Z","also":["paused"],"plan":true}`, ops...).body, `"slots":[]`)
	require.Equal(t, []string{"slots picture 24h0m0s 7", "hold picture key:ops a migration", "resume picture key:ops", "backfill picture 2026-11-30 key:ops [paused] true"}, c.asked)
	for body, path := range map[string]string{`{"from":"soon"}`: "/from", `{"from":"1h","to":"x"}`: "/to", `{"from":"1h","also":["ran"]}`: "/also"} {
		r := b.do(http.MethodPost, "/v1/flows/picture/backfill", body, ops...)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, r.body)
		require.Contains(t, r.body, path)
	}
	require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPost, "/v1/flows/picture/hold", `{"reason":" "}`, ops...).status)
	for _, call := range [][2]string{{http.MethodGet, "/v1/schedules"}, {http.MethodGet, "/v1/flows/picture/slots"}, {http.MethodPost, "/v1/flows/picture/resume"}} {
		require.Equal(t, http.StatusForbidden, b.do(call[0], call[1], "", "Authorization", "Bearer app").status, call)
	}
}
