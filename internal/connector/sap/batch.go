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
	replies, err := u.ask(ctx, changes, func(int) batch.Operation { return batch.Operation{Alone: true} })
	if err != nil {
		return nil, err
	}
	outcomes := make([]error, len(changes))
	for n, c := range changes {
		outcomes[n] = u.replied(c, replies[n])
	}
	return outcomes, nil
}

// together does changes of one document, all of them or none. A service without $batch
// does one after the other.
func (u *upsert) together(ctx context.Context, changes []change) error {
	if len(changes) > 1 && u.s.bulk > 1 {
		replies, err := u.ask(ctx, changes, func(n int) batch.Operation { return batch.Operation{Alone: n == 0, With: n > 0} })
		for n := 0; err == nil && n < len(replies); n++ {
			err = u.replied(changes[n], replies[n])
		}
		if err == nil || len(replies) > 0 || !refusedWhole(err) {
			return err
		}
	}
	for _, c := range changes {
		if err := u.single(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// ask sends changes as a $batch. A set that is refused has one answer for all of it.
func (u *upsert) ask(ctx context.Context, changes []change, set func(n int) batch.Operation) ([]batch.Reply, error) {
	operations := make([]batch.Operation, len(changes))
	for n, c := range changes {
		o := set(n)
		o.Method, o.Address, o.Header, o.Body = c.method, c.address+u.s.query(), c.header(u.at.v4), c.body
		operations[n] = o
	}
	var replies []batch.Reply
	err := u.s.write(ctx, u.at.root, connector.Request{
		Method: http.MethodPost, Target: u.at.root + "/$batch" + u.s.query(), Held: u.held, Body: batch.Compose(operations),
		Header: http.Header{"Content-Type": {batch.ContentType}, "Accept": {"multipart/mixed"}},
		Decode: func(h http.Header, body []byte) (err error) {
			if replies, err = batch.Parse(h.Get("Content-Type"), body); err != nil {
				return err
			}
			refused := len(replies) == 1 && operations[len(operations)-1].With && replies[0].Status >= http.StatusBadRequest
			if len(replies) != len(changes) && !refused {
				err = errors.New("a $batch is answered with another number of parts than it has")
			}
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}

func (u *upsert) replied(c change, r batch.Reply) error {
	if r.Status >= 200 && r.Status < 300 {
		var got map[string]any
		if c.keyed && json.Unmarshal(r.Body, &got) == nil {
			return u.created(c, got)
		}
		return nil
	}
	return u.s.later(u.s.transport.Refused(connector.Request{Write: true}, r.Status, r.Header, r.Body))
}
