package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Webhook posts alerts, signed by Standard Webhooks: webhook-id, webhook-timestamp and
// webhook-signature, whose HMAC-SHA256 is of "id.timestamp.body".
type Webhook struct {
	URL, Secret string // Secret may begin with whsec_
	Client      *http.Client
}

// Send posts a message; an answer of 2xx is its confirmation.
func (w Webhook) Send(ctx context.Context, m Message) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.Secret, "whsec_"))
	if err != nil || len(key) < 16 {
		return fault.New(fault.Invalid, "alert.secret", "the secret of the alert webhook is no whsec_ followed by base64 of 16 bytes or more", nil)
	}
	kind := "alert.raised"
	if m.Over {
		kind = "alert.resolved"
	}
	body, err := json.Marshal(struct {
		Type      string     `json:"type"`
		Timestamp time.Time  `json:"timestamp"`
		Data      flow.Alert `json:"data"`
	}{kind, m.Alert.Last.UTC(), m.Alert})
	if err != nil {
		return fault.New(fault.Bug, "alert.encode", "an alert cannot be encoded", err)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(m.ID + "." + at + "."))
	mac.Write(body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, "alert.url", "the URL of the alert webhook is none", nil)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", m.ID)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	res, err := w.Client.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "alert.unavailable", "the alert webhook does not answer", nil) // its error has the URL
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection is used again
	if res.StatusCode/100 != 2 {
		return fault.New(fault.Unavailable, "alert.refused", "the alert webhook answered "+strconv.Itoa(res.StatusCode), nil)
	}
	return nil
}
