package maersk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// subscription is one at the system. The secret is never shown; a few digits of its
// digest in the callback's query say whether the system has the right one.
type subscription struct{ id, callback string }

// mark is the parameter of a callback with the digest of its secret.
const mark = "key"

// Subscribe has the events of all shipments of the customer told at an address. One that
// is there as it should be is left alone, one that vanished is made anew: calling it
// again renews. Booking notifications are signed up for outside of the API.
func (m *Maersk) Subscribe(ctx context.Context, address string, to []connector.Subscription) error {
	wanted := false
	for _, s := range to {
		t, err := m.config.Table(s.Table)
		if err != nil {
			return err
		}
		wanted = wanted || t.Path != kindBookings
	}
	if !wanted {
		return m.Unsubscribe(ctx, address)
	}
	callback, secret, err := m.callback(address)
	if err != nil {
		return err
	}
	there, err := m.subscribed(ctx, address)
	if err != nil {
		return err
	}
	body := map[string]any{"callbackUrl": callback, "secret": secret, "eventType": []string{"SHIPMENT", "TRANSPORT", "EQUIPMENT"}}
	path := m.config.Options["subscriptions_path"]
	if len(there) == 0 {
		return m.register(ctx, http.MethodPost, path, body)
	}
	for _, s := range there[1:] { // one is enough
		if err := m.end(ctx, s); err != nil {
			return err
		}
	}
	if there[0].callback == callback {
		return nil
	}
	delete(body, "secret")
	if err := m.register(ctx, http.MethodPut, path+"/"+there[0].id+"/secret", map[string]any{"secret": secret}); err != nil {
		return err
	}
	return m.register(ctx, http.MethodPut, path+"/"+there[0].id, body)
}

// Unsubscribe ends what Subscribe made for an address.
func (m *Maersk) Unsubscribe(ctx context.Context, address string) error {
	there, err := m.subscribed(ctx, address)
	if err != nil {
		return err
	}
	for _, s := range there {
		if err := m.end(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// callback is the address with what tells its secret from another, and the secret in
// base64, as the system wants it.
func (m *Maersk) callback(address string) (callback, secret string, err error) {
	if m.config.Hook.Scheme != "hmac" {
		return "", "", fault.Invalidf("connector.hook", "connection %s: callbacks of DCSA are proved by hook scheme hmac", m.config.Name)
	}
	if secret, err = m.guard.Secret(); err != nil {
		return "", "", err
	}
	if m.config.Options["signature_key"] != "base64" {
		secret = base64.StdEncoding.EncodeToString([]byte(secret))
	}
	if key, err := base64.StdEncoding.DecodeString(secret); err != nil || len(key) < 32 || len(key) > 64 {
		return "", "", fault.Invalidf("connector.hook", "connection %s: the secret of its hook is not 32 to 64 bytes in base64; make one with: openssl rand -base64 32", m.config.Name)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", "", fault.Invalidf("connector.hook", "connection %s: the address for its deliveries is no URL", m.config.Name)
	}
	sum := sha256.Sum256([]byte(secret))
	u.RawQuery = url.Values{"connection": {m.config.Name}, mark: {hex.EncodeToString(sum[:4])}}.Encode()
	return u.String(), secret, nil
}

// subscribed are the subscriptions for an address, whatever their query.
func (m *Maersk) subscribed(ctx context.Context, address string) ([]subscription, error) {
	base, _, _ := strings.Cut(address, "?")
	var found []subscription
	target, token := m.config.Options["subscriptions_path"], ""
	for {
		var body any
		answer, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: target, Collection: true, Decode: func(_ http.Header, text []byte) (err error) {
			body, err = strictjson.Decode(text, "")
			return err
		}})
		if err != nil {
			return nil, err
		}
		list, ok := body.([]any)
		if !ok {
			return nil, m.transport.Malformed("there is no list of subscriptions")
		}
		for _, s := range objects(list) {
			id, _ := s["subscriptionID"].(string)
			callback, _ := s["callbackUrl"].(string)
			if at, _, _ := strings.Cut(callback, "?"); at == base && isReference(id) {
				found = append(found, subscription{id, callback})
			}
		}
		next := strings.TrimSpace(answer.Header.Get("Next-Page"))
		if next == "" {
			return found, nil
		}
		if token, err = m.transport.Advance(token, next); err != nil {
			return nil, err
		}
		if target = next; !strings.Contains(next, "/") {
			target = m.config.Options["subscriptions_path"] + "?cursor=" + connector.EscapeQuery(next)
		}
	}
}

func (m *Maersk) register(ctx context.Context, method, target string, body map[string]any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.Bug, "maersk.subscription", "a subscription cannot be written as JSON", err)
	}
	_, err = m.do(ctx, connector.Request{Method: method, Target: target, Body: text, Write: true})
	return err
}

// end removes a subscription; that it is gone already is as good.
func (m *Maersk) end(ctx context.Context, s subscription) error {
	_, err := m.do(ctx, connector.Request{Method: http.MethodDelete, Target: m.config.Options["subscriptions_path"] + "/" + s.id, Write: true})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
