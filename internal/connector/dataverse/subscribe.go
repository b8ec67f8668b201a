package dataverse

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// The sets of the platform's own tables.
const (
	endpointSet = "serviceendpoints"
	stepSet     = "sdkmessageprocessingsteps"
	imageSet    = "sdkmessageprocessingstepimages"
)

// Values of those tables, as documented; an asynchronous step runs after the commit.
const (
	contractWebhook = 8
	formatJSON      = 2
	stageAfter      = 40
	modeAsync       = 1
	imageBefore     = 0
	imageAfter      = 1
	imageBoth       = 2
	imageAlias      = "patchbay"
)

// steps are the messages of the platform by type of change, and the image that each has.
var steps = map[string]struct {
	message, property string
	image             int
}{
	"create": {"Create", "Id", imageAfter},
	"update": {"Update", "Target", imageBoth},
	"delete": {"Delete", "Target", imageBefore},
}

// want is a row of the platform that is to be there. Its id follows from what it
// is for, so that making it again after an answer was lost makes no second one.
type want struct {
	set, primary, id string
	values           map[string]any // compared with what is there
	once             map[string]any // sent only when it is made: what never changes, and cannot be read back
	secret           map[string]any // sent when it is made and whenever a value differs
}

// Subscribe registers a webhook at url, a step for each table and type of change,
// and the images of each. Steps at this url that are not wanted go.
func (v *Dataverse) Subscribe(ctx context.Context, url string, to []connector.Subscription) error {
	endpoint, err := v.endpoint(url)
	if err != nil {
		return err
	}
	if err := v.settle(ctx, endpoint); err != nil {
		return err
	}
	wanted := map[string]bool{}
	found := newRegistry(v)
	for _, s := range to {
		t, err := v.config.Table(s.Table)
		if err != nil {
			return err
		}
		for _, change := range s.Changes {
			step, image, err := found.step(ctx, t, s, change, endpoint)
			if err != nil {
				return err
			}
			wanted[step.id] = true
			if err := v.settle(ctx, step); err != nil {
				return err
			}
			if err := v.settle(ctx, image); err != nil {
				return err
			}
		}
	}
	return v.prune(ctx, endpoint, wanted)
}

// Unsubscribe removes what Subscribe made for url.
func (v *Dataverse) Unsubscribe(ctx context.Context, url string) error {
	id := stableID("endpoint", url)
	if err := v.prune(ctx, want{id: id}, nil); err != nil {
		return err
	}
	return v.drop(ctx, endpointSet, id)
}

// prune removes the steps of an endpoint that are not wanted; their images go
// with them.
func (v *Dataverse) prune(ctx context.Context, endpoint want, wanted map[string]bool) error {
	target := v.root + stepSet + "?$select=sdkmessageprocessingstepid&$filter=" + connector.EscapeQuery("_eventhandler_value eq "+endpoint.id)
	var stale []string
	for token := ""; target != ""; {
		got, err := v.list(ctx, target, paged(maxPage))
		if err != nil {
			return err
		}
		for _, item := range got.rows {
			if id, _ := item["sdkmessageprocessingstepid"].(string); isGUID(id) && !wanted[strings.ToLower(id)] {
				stale = append(stale, strings.ToLower(id))
			}
		}
		if token, err = v.transport.Advance(token, got.next); err != nil {
			return err
		}
		target = got.next
	}
	for _, id := range stale {
		if err := v.drop(ctx, stepSet, id); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes a row; that it is gone already is as good.
func (v *Dataverse) drop(ctx context.Context, set, id string) error {
	_, err := v.transport.Do(ctx, connector.Request{Method: http.MethodDelete, Target: v.root + set + "(" + id + ")", Header: writing(), Write: true}, nil)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// settle makes a row what it is wanted to be, and sends nothing where it is.
func (v *Dataverse) settle(ctx context.Context, w want) error {
	columns := []string{w.primary}
	for column := range w.values {
		columns = append(columns, column)
	}
	slices.Sort(columns)
	found, err := v.readOne(ctx, connector.Table{}, w.set+"("+w.id+")", columns)
	if err != nil {
		return err
	}
	body := map[string]any{}
	for column, value := range w.values {
		if found == nil || text(found[column]) != text(value) {
			body[column] = value
		}
	}
	method, target := http.MethodPatch, v.root+w.set+"("+w.id+")"
	switch {
	case found != nil && len(body) == 0:
		return nil
	case found == nil:
		method, target = http.MethodPost, v.root+w.set
		body[w.primary] = w.id
		for column, value := range w.once {
			body[column] = value
		}
	}
	for column, value := range w.secret {
		body[column] = value
	}
	return v.send(ctx, method, target, body)
}

func (v *Dataverse) send(ctx context.Context, method, target string, body map[string]any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.Bug, "dataverse.registration", "a registration cannot be written as JSON", err)
	}
	h := writing()
	if method == http.MethodPatch {
		h["If-Match"] = []string{"*"} // never an upsert: what vanished is made anew next time
	}
	_, err = v.transport.Do(ctx, connector.Request{Method: method, Target: target, Header: h, Body: content, Write: true}, nil)
	return err
}
