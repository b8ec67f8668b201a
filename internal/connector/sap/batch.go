package sap

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"patchbay/internal/connector"
	"patchbay/internal/connector/batch"
)

// batch writes several rows in one request and gives the outcome of each.
func (u *upsert) batch(ctx context.Context, changes []change) ([]error, error) {
	operations := make([]batch.Operation, len(changes))
	for n, c := range changes {
		operations[n] = batch.Operation{Method: c.method, Address: c.address + u.s.query(), Header: c.header(u.at.v4), Body: c.body, Alone: true}
	}
	var replies []batch.Reply
	err := u.s.write(ctx, u.at.root, connector.Request{
		Method: http.MethodPost, Target: u.at.root + "/$batch" + u.s.query(), Held: u.held, Body: batch.Compose(operations),
		Header: http.Header{"Content-Type": {batch.ContentType}, "Accept": {"multipart/mixed"}},
		Decode: func(h http.Header, body []byte) (err error) {
			if replies, err = batch.Parse(h.Get("Content-Type"), body); err == nil && len(replies) != len(changes) {
				err = errors.New("a $batch is answered with another number of parts than it has")
			}
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]error, len(changes))
	for n, c := range changes {
		outcomes[n] = u.replied(c, replies[n])
	}
	return outcomes, nil
}

func (u *upsert) replied(c change, r batch.Reply) error {
	if r.Status >= 200 && r.Status < 300 {
		var got map[string]any
		if c.method == http.MethodPost && json.Unmarshal(r.Body, &got) == nil {
			return u.created(c, got)
		}
		return nil
	}
	return u.s.later(u.s.transport.Refused(connector.Request{Write: true}, r.Status, r.Header, r.Body))
}
