package alert_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/alert"
	"patchbay/internal/flow"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// bundle is a board on a database of its own, with a channel that keeps what it is told.
type bundle struct {
	*testing.T
	store  *store.Store
	board  *alert.Board
	sender *alert.Sender

	mu   sync.Mutex
	told []alert.Message
	fail error
}

func newBundle(t *testing.T, rules flow.Alerting) *bundle {
	t.Helper()
	b := &bundle{T: t, store: storetest.New(t)}
	b.board = alert.New(b.store, 1)
	require.NoError(t, b.board.Apply(t.Context(), rules))
	b.sender = alert.NewSender(b.board, func(flow.Alerting) map[string]alert.Channel { return map[string]alert.Channel{"mail": b} })
	return b
}

func (b *bundle) Send(_ context.Context, m alert.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	b.told = append(b.told, m)
	return nil
}

func (b *bundle) found(list ...alert.Finding) {
	b.Helper()
	require.NoError(b, b.board.Found(b.Context(), alert.Events, list))
}

func (b *bundle) round() {
	b.Helper()
	require.NoError(b, b.sender.Round(b.Context()))
}

// pass makes what is known as old as if so much time had passed.
func (b *bundle) pass(d time.Duration) {
	b.Helper()
	require.NoError(b, b.store.Tx(b.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(b.Context(), `update alert set seen_at = seen_at - $1::interval`, d)
		if err == nil {
			_, err = tx.Exec(b.Context(), `update notice set sent_at = sent_at - $1::interval, due_at = due_at - $1::interval`, d)
		}
		return err
	}))
}

var unknown = alert.Finding{Flow: "cases", Code: "rejected:table", Text: "events are rejected", Sample: "c-1", Count: 3}

func TestACauseIsToldOnceWhileItLastsAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Alerting{})
	b.found(unknown)
	b.round()
	more := unknown
	more.Count = 9
	b.found(more)
	b.round()
	require.Len(t, b.told, 1)
	require.Contains(t, b.told[0].Text, "Sample: c-1")
	open, err := b.board.Open(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int64{9}, []int64{open[0].Count})
	b.found()
	b.round()
	require.Len(t, b.told, 1, "another process may see it still")
	b.pass(time.Minute)
	b.found()
	b.round()
	b.round()
	require.Len(t, b.told, 2)
	require.True(t, b.told[1].Over)
	require.NotEqual(t, b.told[0].ID, b.told[1].ID)
	b.found(unknown)
	b.round()
	require.Len(t, b.told, 3, "when it comes back it is another")
}

func TestWhatLastsIsToldAgainAtTheGapUnlessItIsToldOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Alerting{Repeat: 10 * time.Minute})
	once := unknown
	once.Code, once.Once = "once", true
	b.found(unknown, once)
	b.round()
	require.Len(t, b.told, 2)
	b.pass(11 * time.Minute)
	b.found(unknown, once)
	b.round()
	b.round()
	require.Len(t, b.told, 3)
	require.Equal(t, "rejected:table", b.told[2].Alert.Code)
}

func TestAMessageThatFailsIsSentAgainWithItsIDAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Alerting{})
	b.fail = errors.New("no")
	b.found(unknown)
	b.round()
	require.Empty(t, b.told)
	b.fail = nil
	b.round()
	require.Empty(t, b.told, "not at once")
	b.pass(time.Hour)
	b.round()
	require.Len(t, b.told, 1)
	require.Equal(t, "alert-1-1-mail", b.told[0].ID)
}

func TestOfSeveralSendersOneTells(t *testing.T) {
	t.Parallel()
	b := newBundle(t, flow.Alerting{})
	b.found(unknown)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { b.round() })
	}
	all.Wait()
	require.Len(t, b.told, 1)
}

func TestAWebhookIsSignedAsStandardWebhooksSay(t *testing.T) {
	t.Parallel()
	key := []byte("a key of sixteen bytes or more")
	var got http.Header
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	w := alert.Webhook{URL: server.URL, Secret: "whsec_" + base64.StdEncoding.EncodeToString(key), Client: server.Client()}
	require.NoError(t, w.Send(t.Context(), alert.Message{ID: "alert-1-1-webhook", Alert: flow.Alert{Code: "x"}}))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(got.Get("Webhook-Id") + "." + got.Get("Webhook-Timestamp") + "." + string(body)))
	require.Equal(t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), got.Get("Webhook-Signature"))
	require.Equal(t, "alert-1-1-webhook", got.Get("Webhook-Id"))
	require.Error(t, alert.Webhook{URL: server.URL, Secret: "whsec_short", Client: server.Client()}.Send(t.Context(), alert.Message{}))
}
