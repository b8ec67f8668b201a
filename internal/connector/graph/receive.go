package graph

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// clientState is the hook's scheme: the secret stands in each notification.
const clientState = "client-state"

const (
	validation = "validationToken"
	// maxToken is how long the word may be that Graph wants back.
	maxToken = 256
)

// Recognises goes by the word that Graph wants back and by what its notifications hold.
func (*Graph) Recognises(d connector.Delivery) bool {
	if url.Values(d.Query).Has(validation) {
		return true
	}
	said, err := hook.JSON(d, d.Body)
	body, _ := said.(map[string]any)
	list, _ := body["value"].([]any)
	if err != nil || len(list) == 0 {
		return false
	}
	one, _ := list[0].(map[string]any)
	return text(one["subscriptionId"]) != ""
}

// Receive gives no events: a notification says that there are some, and delta which.
func (g *Graph) Receive(ctx context.Context, d connector.Delivery) ([]connector.Event, error) {
	_, err := g.Hint(ctx, d)
	return nil, err
}

// Hint implements connector.Hinter. Every notification of a delivery has to prove itself.
func (g *Graph) Hint(_ context.Context, d connector.Delivery) (connector.Hint, error) {
	if _, err := g.guard.Prove(d); err != nil {
		return connector.Hint{}, err
	}
	if q := url.Values(d.Query); q.Has(validation) {
		word := q.Get(validation)
		if word == "" || len(word) > maxToken || strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r > '~' }) {
			return connector.Hint{}, fault.Invalidf("hook.validation", "the validationToken is empty, longer than %d characters, or holds what is no printable one", maxToken)
		}
		return connector.Hint{Answer: word}, nil
	}
	body, err := hook.JSON(d, d.Body)
	if err != nil {
		return connector.Hint{}, err
	}
	said, _ := body.(map[string]any)
	list, ok := said["value"].([]any)
	if !ok {
		return connector.Hint{}, hook.Malformed("value is due, a list of notifications")
	}
	if err := hook.CheckCount(len(list)); err != nil {
		return connector.Hint{}, err
	}
	var hint connector.Hint
	for _, one := range list {
		n, ok := one.(map[string]any)
		if !ok {
			return connector.Hint{}, hook.Malformed("a notification is no object")
		}
		if err := g.guard.Shown(text(n["clientState"])); err != nil {
			return connector.Hint{}, fault.New(fault.Of(err).Class, stateCode(err), "the clientState of a notification is not the one of this hook; it comes from a subscription that somebody else made", err)
		}
		if text(n["lifecycleEvent"]) != "" {
			hint.Renew = true // and read: what was missed is found
		}
		hint.Tables = append(hint.Tables, g.tablesOf(text(n["resource"]))...)
	}
	slices.Sort(hint.Tables)
	hint.Tables = slices.Compact(hint.Tables)
	return hint, nil
}

func stateCode(err error) string {
	if f := fault.Of(err); f.Class != fault.Unauthorized {
		return f.Code
	}
	return "hook.client_state"
}

// tablesOf are the tables of a library. One that was not looked up by this process yet
// may be any of them, and so may the resource of a lifecycle notification.
func (g *Graph) tablesOf(resource string) []string {
	g.drives.mu.Lock()
	defer g.drives.mu.Unlock()
	var hit, all []string
	known := true
	for name, t := range g.config.Tables {
		all = append(all, name)
		drive := g.drives.of[t.Path]
		known = known && drive != ""
		if drive != "" && folded(strings.TrimPrefix(drive, root)+"/root") == folded(resource) {
			hit = append(hit, name)
		}
	}
	if len(hit) > 0 || known && resource != "" {
		return hit
	}
	return all
}
