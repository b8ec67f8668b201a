package maersk

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/storage"
)

// mostBundled is how many events one callback carries at most.
const mostBundled = 100

// subscriptions answers what is below /v2/event-subscriptions.
func (w *work) subscriptions(ctx context.Context, rest []string) (exchange.Answer, error) {
	id := rest[0]
	if id == "" {
		switch w.c.Method {
		case http.MethodGet:
			return w.allSubscriptions(ctx)
		case http.MethodPost:
			return w.subscribe(ctx, storage.Row{"id": newID(), "owner": w.owner, "kind": "events", "created_at": w.now, "bundle": int64(mostBundled)}, true)
		}
		return w.s.refusal(w.c, http.StatusMethodNotAllowed, "", "GET or POST"), nil
	}
	row, err := storage.First(ctx, w.tx, subscriptions, storage.And{is("id", id), is("owner", w.owner), is("kind", "events")}, w.c.Method != http.MethodGet)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading a subscription: %w", err)
	}
	switch {
	case row == nil:
		return w.s.refusal(w.c, http.StatusNotFound, "", "The subscription does not exist"), nil
	case len(rest) == 2 && rest[1] == "secret" && w.c.Method == http.MethodPut:
		return w.newSecret(ctx, row)
	case len(rest) > 1:
		return w.s.refusal(w.c, http.StatusNotFound, "", "There is no such resource"), nil
	case w.c.Method == http.MethodGet:
		return exchange.Answer{Status: http.StatusOK, Header: jsonHeader(), Body: []byte(text(subscription(row)))}, nil
	case w.c.Method == http.MethodPut:
		return w.subscribe(ctx, row, false)
	case w.c.Method == http.MethodDelete:
		if _, err := w.tx.Delete(ctx, subscriptions, is("id", id)); err != nil {
			return exchange.Answer{}, fmt.Errorf("ending a subscription: %w", err)
		}
		return exchange.Answer{Status: http.StatusNoContent, Header: http.Header{"API-Version": {"2.2.0"}}}, nil
	}
	return w.s.refusal(w.c, http.StatusMethodNotAllowed, "", "GET, PUT or DELETE"), nil
}

func (w *work) allSubscriptions(ctx context.Context) (exchange.Answer, error) {
	rows, err := w.tx.Find(ctx, subscriptions, storage.Query{Where: storage.And{is("owner", w.owner), is("kind", "events")}, Order: []storage.Order{{Column: "created_at"}}})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading subscriptions: %w", err)
	}
	all := make([]document, len(rows))
	for i, row := range rows {
		all[i] = subscription(row)
	}
	return exchange.Answer{Status: http.StatusOK, Header: jsonHeader(), Body: []byte(text(all))}, nil
}

// subscription is one as answers show it: never its secret.
func subscription(row storage.Row) document {
	d := document{}
	_ = decode([]byte(textOf(row, "filters")), &d) // it was encoded here
	d["subscriptionID"], d["callbackUrl"] = row["id"], row["url"]
	return d
}

func (w *work) subscribe(ctx context.Context, row storage.Row, fresh bool) (exchange.Answer, error) {
	var d document
	if err := decode(w.c.Body, &d); err != nil || d == nil {
		return w.s.refusal(w.c, http.StatusBadRequest, "", "The body is no JSON object"), nil
	}
	callback, _ := d["callbackUrl"].(string)
	secret, _ := d["secret"].(string)
	if to, err := url.Parse(callback); err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return w.s.refusal(w.c, http.StatusBadRequest, "", "callbackUrl is mandatory, a URL"), nil
	}
	if problem := badSecret(secret); (fresh || secret != "") && problem != "" {
		return w.s.refusal(w.c, http.StatusBadRequest, "", problem), nil
	}
	if secret != "" {
		row["secret"] = secret
	}
	for _, name := range []string{"callbackUrl", "secret", "subscriptionID"} {
		delete(d, name)
	}
	for name, value := range d {
		_, isList := value.([]any)
		_, isText := value.(string)
		if filters[name] == "" || !isList && !isText {
			return w.s.refusal(w.c, http.StatusBadRequest, "", "There is no filter "+name+", or it is neither a text nor a list"), nil
		}
	}
	row["url"], row["filters"] = callback, text(d)
	answer := exchange.Answer{Status: http.StatusOK, Header: jsonHeader(), Body: []byte(text(subscription(row)))}
	var err error
	if fresh {
		answer.Status = http.StatusCreated
		err = w.tx.Insert(ctx, subscriptions, row)
	} else {
		err = w.tx.Update(ctx, subscriptions, row)
	}
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("keeping a subscription: %w", err)
	}
	return answer, nil
}

func badSecret(secret string) string {
	if key, err := base64.StdEncoding.DecodeString(secret); err != nil || len(key) < 32 || len(key) > 64 {
		return "secret is mandatory: 32 to 64 bytes in base64"
	}
	return ""
}

func (w *work) newSecret(ctx context.Context, row storage.Row) (exchange.Answer, error) {
	var d struct {
		Secret string `json:"secret"`
	}
	if err := decode(w.c.Body, &d); err != nil || badSecret(d.Secret) != "" {
		return w.s.refusal(w.c, http.StatusBadRequest, "", badSecret("")), nil
	}
	if err := w.tx.Update(ctx, subscriptions, storage.Row{"id": row["id"], "secret": d.Secret}); err != nil {
		return exchange.Answer{}, fmt.Errorf("keeping a secret: %w", err)
	}
	return exchange.Answer{Status: http.StatusNoContent, Header: http.Header{"API-Version": {"2.2.0"}}}, nil
}

// wants reports whether an event passes the filters of a subscription: all of them, each
// by one of its values.
func wants(s, event storage.Row) bool {
	d := document{}
	_ = decode([]byte(textOf(s, "filters")), &d) // it was encoded here
	for name, value := range d {
		var values []string
		switch v := value.(type) {
		case string:
			values = strings.Split(v, ",")
		case []any:
			for _, one := range v {
				values = append(values, fmt.Sprint(one))
			}
		}
		if len(values) > 0 && !slices.Contains(values, textOf(event, filters[name])) {
			return false
		}
	}
	return true
}
