package oracle

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// part is one operation of a batch.
type part struct {
	ID        string          `json:"id"`
	Path      string          `json:"path"`
	Operation string          `json:"operation"`
	IfMatch   string          `json:"ifMatch"`
	Payload   json.RawMessage `json:"payload"`
}

var batchMethods = map[string]string{
	"get": http.MethodGet, "create": http.MethodPost, "upsert": http.MethodPost,
	"update": http.MethodPatch, "replace": http.MethodPatch, "delete": http.MethodDelete,
}

// batch runs the parts in order. The first that fails undoes all of them, and
// the answer then names that part alone.
func (s *System) batch(ctx context.Context, tx storage.Tx, c *exchange.Call, base string) (exchange.Answer, error) {
	var body struct {
		Parts []part `json:"parts"`
	}
	if err := json.Unmarshal(c.Body, &body); err != nil || len(body.Parts) == 0 {
		return exchange.Answer{}, invalid("", "/parts", "The batch request has no parts that can be read.")
	}
	done := make([]*ordered.Object, 0, len(body.Parts))
	for _, p := range body.Parts {
		method, ok := batchMethods[p.Operation]
		if !ok {
			return exchange.Answer{}, invalid("", "/parts/"+p.ID, "Invalid operation %s for the specified resource.", p.Operation)
		}
		path, query, _ := strings.Cut(p.Path, "?")
		sub := *c
		sub.Method, sub.RawQuery, sub.Body = method, query, p.Payload
		sub.Path = strings.TrimPrefix(base, c.Base) + "/" + strings.TrimPrefix(path, "/")
		sub.Header = http.Header{"Content-Type": {itemType}, "Accept": {"application/json"}}
		for _, name := range []string{"REST-Framework-Version", upsertMode} {
			if v := c.Header.Get(name); v != "" {
				sub.Header.Set(name, v)
			}
		}
		if p.Operation == "upsert" {
			sub.Header.Set(upsertMode, "true")
		}
		if p.IfMatch != "" {
			sub.Header.Set("If-Match", p.IfMatch)
		}
		answer, err := s.dispatch(ctx, tx, &sub)
		if err != nil {
			if answer, err = told(&sub, err); err != nil {
				return exchange.Answer{}, err
			}
		}
		shown := ordered.New("id", p.ID, "path", locationOf(answer, c.Base+sub.Path), "operation", p.Operation)
		if json.Valid(answer.Body) {
			shown.Set("payload", json.RawMessage(answer.Body))
		} else if len(answer.Body) > 0 {
			shown.Set("payload", string(answer.Body))
		}
		if answer.Status >= http.StatusBadRequest {
			return s.parts(answer.Status, []*ordered.Object{shown}), nil
		}
		done = append(done, shown)
	}
	return s.parts(http.StatusOK, done), nil
}

func (s *System) parts(status int, list []*ordered.Object) exchange.Answer {
	return exchange.Answer{Status: status, Header: http.Header{"Content-Type": {batchType}}, Body: ordered.New("parts", list).Bytes()}
}

func locationOf(a exchange.Answer, otherwise string) string {
	if at := a.Header.Get("Location"); at != "" {
		return at
	}
	return otherwise
}
