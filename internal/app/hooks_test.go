package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

// hookFlows are a flow with a signed source; secrets is the directory of its secrets.
func hookFlows(secrets string) fstest.MapFS {
	return fstest.MapFS{
		"connections.yaml": {Data: []byte(strings.ReplaceAll(`connections:
  shop:
    system: webhook
    url: https://shop.example.com
    auth: { kind: none }
    hook: { scheme: standard, secrets: ["${file:SECRETS/NEW}", "${file:SECRETS/OVERLAP}"], retired: ["${file:SECRETS/OLD}"] }
    options: { id: /id, record: /order, version: /version, rows: "" }
    tables:
      orders: { path: orders, columns: { id: string, order: string, status: int, version: int, mail: string } }
  mail:
    system: smtp
    url: smtp://mail.example.com
    auth: { kind: none }
    options: { from: service@example.com }
    tables: { message: { path: message, keys: [[id]], columns: { id: string, recipient: string, subject: string, text: string, html: string } } }
`, "SECRETS", secrets))},
		"orders.yaml": {Data: []byte(`flow: orders
pattern: event
summary: A customer is told of an order
on: [{ source: shop.orders, change: [create, update], select: [status], key: row.order }]
collapse: { quiet: 1h, max_wait: 2h }
send: { to: mail, template: order.html, recipient: row.mail, subject: "{{.Row.order}}" }
`)},
		"order.html": {Data: []byte("<p>{{.Row.order}}</p>\n")},
	}
}

func whsec(name string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(name+"-0123456789abcdef0123456789"))
}

// signed is a delivery as Standard Webhooks signs it.
func signed(path, secret, id string, at time.Time, body string) string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec(secret), "whsec_"))
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	return request("POST", path, body, "Authorization:", "Content-Type: application/json", "webhook-id: "+id, "webhook-timestamp: "+stamp,
		"webhook-signature: v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func newHooks(t *testing.T) *gateway {
	t.Helper()
	secrets := t.TempDir()
	for _, name := range []string{"NEW", "OVERLAP", "OLD"} {
		require.NoError(t, os.WriteFile(filepath.Join(secrets, name), []byte(whsec(name)), 0o600))
	}
	return newGatewayOf(t, straight, hookFlows(secrets))
}

const hookPath = "/v1/hooks/orders"

// kept counts what the inbox holds.
func (g *gateway) kept() (events, windows int) {
	g.Helper()
	require.NoError(g, g.db.QueryRow(g.Context(), `select (select count(*) from event), (select count(*) from change_window)`).Scan(&events, &windows))
	return events, windows
}

// The webhook cases of the catalogue. W18 to W20 belong to SharePoint, W22 to
// Dataverse (internal/connector/dataverse), W26 to a list of senders, which there is
// none of; the forms of a signature are told apart one by one in internal/connector/hook.
func TestEachBadDeliveryIsRefusedAndNothingIsKept(t *testing.T) {
	t.Parallel()
	g := newHooks(t)
	now := time.Now()
	const one = `{"id":"e1","order":"o1","status":1,"mail":"a@customer.example"}`
	strange := strings.Replace(signed(hookPath, "NEW", "m", now, one), `"status":1`, `"status":2`, 1)
	spaced := strings.Replace(signed(hookPath, "NEW", "m", now, one), one, strings.ReplaceAll(one, `,"`, `, "`), 1)
	spaced = strings.Replace(spaced, fmt.Sprintf("Content-Length: %d", len(one)), fmt.Sprintf("Content-Length: %d", len(strings.ReplaceAll(one, `,"`, `, "`))), 1)
	unsigned := request("POST", hookPath, one, "Authorization:", "Content-Type: application/json")
	for _, c := range []struct {
		id, sent string
		status   int
		code, do string
	}{
		{"W01", unsigned, 401, "hook.unsigned", ""},
		{"W01 with a key of ours", request("POST", hookPath, one, "Content-Type: application/json"), 401, "hook.unsigned", ""},
		{"W02", signed(hookPath, "STRANGER", "m", now, one), 401, "hook.signature", ""},
		{"W03", strange, 401, "hook.signature", ""},
		{"W04", signed(hookPath, "NEW", "m", now.Add(-301*time.Second), one), 401, "hook.too_old", ""},
		{"W05", signed(hookPath, "NEW", "m", now.Add(305*time.Second), one), 401, "hook.too_new", ""},
		{"W06", strings.Replace(signed(hookPath, "NEW", "m", now, one), "webhook-timestamp: 1", "webhook-timestamp: -1", 1), 400, "hook.timestamp", ""},
		{"W07", signed(hookPath, "NEW", "m.1", now, one), 400, "hook.id", ""},
		{"W08", strings.Replace(signed(hookPath, "NEW", "m", now, one), "v1,", "v0,", 1), 401, "hook.signature", ""},
		{"W09", spaced, 401, "hook.signature", "raw bytes"},
		{"W14", signed(hookPath, "OLD", "m", now, one), 401, "hook.secret_retired", ""},
		{"W15", signed("/v1/hooks/nobody", "NEW", "m", now, one), 404, "hook.not_found", ""},
		{"W17", "POST " + hookPath + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: 26214400\r\n\r\n", 413, "body.too_large", ""},
		{"W21", signed(hookPath, "NEW", "m", now, "["+strings.Repeat("{},", 1000)+"{}]"), 413, "hook.batch_too_large", ""},
		{"W23", signed(hookPath, "NEW", "m", now, `<!DOCTYPE x [<!ENTITY a "b">]><x/>`), 400, "xml.doctype", ""},
		{"broken JSON", signed(hookPath, "NEW", "m", now, `{"id":`), 400, "json.syntax", ""},
		{"another method", request("GET", hookPath, "", "Authorization:"), 405, "method.not_allowed", "POST"},
	} {
		refused := g.refusal(g.send(c.sent))
		require.Equal(t, c.code, refused.Code, "%s: %s", c.id, refused.Detail)
		require.Equal(t, c.status, refused.Status, c.id)
		require.Contains(t, refused.Detail, c.do, c.id)
		require.NotContains(t, refused.Detail, "customer.example", c.id)
	}
	events, windows := g.kept()
	require.Zero(t, events+windows, "nothing of a refused delivery is kept")
}

func TestWhatIsDeliveredTwiceIsTakenOnceAndAnswered202(t *testing.T) {
	t.Parallel()
	g := newHooks(t)
	deliver := func(id, body string) answer {
		g.Helper()
		return g.send(signed(hookPath, "OVERLAP", id, time.Now(), body)) // W14: the old secret in its overlap
	}
	first := deliver("m1", `{"id":"e1","order":"o1","status":1,"version":5,"mail":"a@customer.example"}`)
	require.Equal(t, http.StatusAccepted, first.status, "%s", first.body)
	again := deliver("m2", `{"id":"e1","order":"o1","status":1,"version":5,"mail":"a@customer.example"}`)
	require.Equal(t, http.StatusAccepted, again.status, "W10")
	require.Contains(t, again.body, `"duplicate":1`)

	var five sync.WaitGroup // W11
	for range 5 {
		five.Go(func() {
			a := deliver("m3", `{"id":"e2","order":"o2","status":1,"version":1,"mail":"b@customer.example"}`)
			if a.status != http.StatusAccepted {
				t.Errorf("%d: %s", a.status, a.body)
			}
		})
	}
	five.Wait()
	events, windows := g.kept()
	require.Equal(t, 2, events)
	require.Equal(t, 2, windows)

	conflict := g.refusal(deliver("m4", `{"id":"e1","order":"o1","status":7,"version":6}`)) // W12
	require.Equal(t, "hook.id_conflict", conflict.Code)
	require.Equal(t, http.StatusConflict, conflict.Status)

	stale := deliver("m5", `{"id":"e3","order":"o1","status":3,"version":4,"mail":"a@customer.example"}`) // W13
	require.Equal(t, http.StatusAccepted, stale.status)
	require.Contains(t, stale.body, `"stale":1`)

	mixed := deliver("m6", `[{"id":"e4","order":null,"status":1},{"id":"e5","order":"o5","status":1,"mail":"c@customer.example"}]`)
	require.Equal(t, http.StatusAccepted, mixed.status, "%s", mixed.body)
	_, windows = g.kept()
	require.Equal(t, 3, windows, "a poison event does not stall its neighbours")
}
