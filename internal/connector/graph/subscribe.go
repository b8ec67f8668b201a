package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// subscription is one that Graph has.
type subscription struct {
	id, resource string
	expires      time.Time
}

// Subscribe has Graph tell url of each library. A subscription of which less than half
// is left is renewed, one that is missing is made: calling it now and then keeps them.
func (g *Graph) Subscribe(ctx context.Context, to string, of []connector.Subscription) error {
	if g.config.Hook.Scheme != clientState {
		return fault.Invalidf("connector.hook", "connection %s: Graph proves its notifications by hook scheme %s", g.config.Name, clientState)
	}
	there, err := g.subscriptions(ctx, to)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, s := range of {
		_, drive, err := g.drive(ctx, s.Table)
		if err != nil {
			return err
		}
		resource := plain(strings.TrimPrefix(drive, root) + "/root")
		if wanted[folded(resource)] {
			continue
		}
		wanted[folded(resource)] = true
		i := slices.IndexFunc(there, func(s subscription) bool { return folded(s.resource) == folded(resource) })
		switch {
		case i < 0:
			err = g.subscribe(ctx, to, resource)
		case there[i].expires.Sub(g.now()) < g.lasts()/2:
			err = g.renew(ctx, there[i].id)
			if fault.Is(err, fault.NotFound) { // it ended meanwhile
				err = g.subscribe(ctx, to, resource)
			}
		}
		if err != nil {
			return err
		}
	}
	kept := map[string]bool{}
	for _, s := range there {
		resource := folded(s.resource)
		if wanted[resource] && !kept[resource] {
			kept[resource] = true
			continue
		}
		if err := g.unsubscribe(ctx, s.id); err != nil {
			return err
		}
	}
	return nil
}

// Renew lengthens every subscription to a library of the connection of which less than
// half is left. One that is gone already is made anew by Subscribe; until then its
// changes are found by delta.
func (g *Graph) Renew(ctx context.Context) error {
	there, err := g.subscriptions(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range there {
		if s.expires.Sub(g.now()) >= g.lasts()/2 {
			continue
		}
		if err := g.renew(ctx, s.id); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// Unsubscribe ends what Subscribe made for a URL.
func (g *Graph) Unsubscribe(ctx context.Context, to string) error {
	there, err := g.subscriptions(ctx, to)
	for _, s := range there {
		if err == nil {
			err = g.unsubscribe(ctx, s.id)
		}
	}
	return err
}

func (g *Graph) lasts() time.Duration { return time.Duration(float64(g.life) / g.speed) }

func plain(resource string) string {
	if decoded, err := url.PathUnescape(resource); err == nil {
		resource = decoded
	}
	return strings.Trim(resource, "/")
}

// folded is a resource as it is compared: Graph gives it back in letters of its own.
func folded(resource string) string { return strings.ToLower(plain(resource)) }

// subscriptions are those of the application that tell a URL, or all to a library.
func (g *Graph) subscriptions(ctx context.Context, to string) ([]subscription, error) {
	var list []subscription
	target, token := root+"subscriptions", ""
	for {
		got, err := g.get(ctx, target, nil)
		if err != nil {
			return nil, err
		}
		items, err := g.list(got)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if text(item["id"]) != "" && (text(item["notificationUrl"]) == to || to == "" && strings.HasPrefix(plain(text(item["resource"])), "drives/")) {
				list = append(list, subscription{text(item["id"]), text(item["resource"]), moment(item["expirationDateTime"])})
			}
		}
		if token, err = g.transport.Advance(token, text(got[nextLink])); err != nil || token == "" {
			return list, err
		}
		target = text(got[nextLink])
	}
}

// subscribe makes a subscription. Graph asks the URL for a word while the call lasts.
func (g *Graph) subscribe(ctx context.Context, to, resource string) error {
	state, err := g.guard.Secret()
	if err != nil {
		return err
	}
	if len(state) > 128 {
		return fault.Invalidf("connector.hook", "connection %s: the secret of its hook is longer than the 128 characters that Graph takes", g.config.Name)
	}
	return g.write(ctx, http.MethodPost, "subscriptions", map[string]any{
		"changeType": "updated", "notificationUrl": to, "lifecycleNotificationUrl": to, "resource": resource,
		"expirationDateTime": g.until(), "clientState": state})
}

// renew lengthens a subscription, which also answers that Graph wants it authorized anew.
func (g *Graph) renew(ctx context.Context, id string) error {
	return g.write(ctx, http.MethodPatch, "subscriptions/"+url.PathEscape(id), map[string]any{"expirationDateTime": g.until()})
}

func (g *Graph) until() string {
	return g.now().Add(g.lasts()).UTC().Format("2006-01-02T15:04:05.0000000Z")
}

func (g *Graph) unsubscribe(ctx context.Context, id string) error {
	err := g.write(ctx, http.MethodDelete, "subscriptions/"+url.PathEscape(id), nil)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (g *Graph) write(ctx context.Context, method, target string, body map[string]any) error {
	var content []byte
	h := http.Header{}
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return fault.New(fault.Bug, "graph.subscription", "a subscription cannot be encoded", err)
		}
		h.Set("Content-Type", "application/json")
	}
	_, err := g.transport.Do(ctx, connector.Request{Method: method, Target: root + target, Header: h, Body: content, Write: true}, nil)
	return err
}
