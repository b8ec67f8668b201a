package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// ward keeps what it was asked for.
type ward struct{ asked []string }

func (w *ward) Troubles(_ context.Context, f flow.TroubleFilter) ([]flow.Trouble, error) {
	w.asked = append(w.asked, "list "+f.Flow)
	return nil, nil
}

func (w *ward) Redrive(_ context.Context, by string, f flow.TroubleFilter) (flow.Rejudged, error) {
	w.asked = append(w.asked, fmt.Sprint("redrive ", by, " ", f.Causes, f.Events))
	return flow.Rejudged{Events: 2, Outcomes: map[string]int{"waiting": 2}}, nil
}

func (w *ward) Dismiss(_ context.Context, by, why string, f flow.TroubleFilter) (int, error) {
	w.asked = append(w.asked, fmt.Sprint("dismiss ", by, " ", why, " ", f.Causes))
	return 3, nil
}

func TestEventsInTroubleAreListedRedrivenAndDismissedByWhoOperates(t *testing.T) {
	t.Parallel()
	w := &ward{}
	b := newBundle(t, serve, func(o *httpapi.Options) { o.Troubles = w })
	ops := []string{"Authorization", "Bearer ops"}
	require.Contains(t, b.do(http.MethodGet, "/v1/dead/events?flow=cases", "", ops...).body, `"causes":[]`)
	require.Contains(t, b.do(http.MethodPost, "/v1/dead/events/redrive", `{"causes":["a1"]}`, ops...).body, `"waiting":2`)
	require.Contains(t, b.do(http.MethodPost, "/v1/dead/events/dismiss", `{"causes":["a1"],"reason":"of a test"}`, ops...).body, `"dismissed":3`)
	require.Equal(t, []string{"list cases", "redrive key:ops [a1] []", "dismiss key:ops of a test [a1]"}, w.asked)
	for body, what := range map[string]string{`{}`: "/causes", `{"causes":["a"],"events":[1]}`: "/causes", `{"causes":["a"]}`: "/reason"} {
		r := b.do(http.MethodPost, "/v1/dead/events/dismiss", body, ops...)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, r.body)
		require.Contains(t, r.body, what)
	}
	require.Equal(t, http.StatusForbidden, b.do(http.MethodGet, "/v1/dead/events", "", "Authorization", "Bearer app").status)
}
