package dataverse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// stableID is a GUID that follows from what it stands for.
func stableID(of ...string) string {
	sum := sha256.Sum256([]byte("patchbay\x00" + strings.Join(of, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// authTypes are the platform's ways to prove a delivery, by our schemes.
var authTypes = map[string]int{"key": 4, "header": 5, "query": 6}

// endpoint is the webhook at url. The secret cannot be read back; a few digits
// of its digest say whether the platform has the right one.
func (v *Dataverse) endpoint(url string) (want, error) {
	kind, ok := authTypes[v.config.Hook.Scheme]
	if !ok {
		return want{}, fault.Invalidf("connector.hook", "connection %s: Dataverse proves its webhooks by hook scheme key, header or query", v.config.Name)
	}
	secret, err := v.guard.Secret()
	if err != nil {
		return want{}, err
	}
	value := secret
	if kind != authTypes["key"] {
		value = settings(v.config.Hook.Name, secret)
	}
	sum := sha256.Sum256([]byte(url + "\x00" + value))
	return want{
		set: endpointSet, primary: "serviceendpointid", id: stableID("endpoint", url),
		values: map[string]any{"name": "patchbay " + stableID("endpoint", url)[:8], "url": url, "contract": whole(contractWebhook), "messageformat": whole(formatJSON),
			"authtype": whole(kind), "description": "made by Patchbay; key " + hex.EncodeToString(sum[:4])},
		secret: map[string]any{"authvalue": value},
	}, nil
}

// settings is the form in which the platform takes a name and a value.
func settings(name, value string) string {
	escape := func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
		return b.String()
	}
	return `<settings><setting name="` + escape(name) + `" value="` + escape(value) + `"/></settings>`
}

func whole(n int) json.Number { return json.Number(strconv.Itoa(n)) }

// registry looks up what the platform calls messages and their filters.
type registry struct {
	v        *Dataverse
	messages map[string]string
}

func newRegistry(v *Dataverse) *registry { return &registry{v: v, messages: map[string]string{}} }

// step is the registration of one type of change of one table, and its image.
func (r *registry) step(ctx context.Context, t connector.Table, s connector.Subscription, change string, endpoint want) (step, image want, err error) {
	kind, ok := steps[change]
	if !ok {
		return want{}, want{}, fault.Invalidf("connector.change", "a change is create, update or delete, not %q", change)
	}
	message, err := r.message(ctx, kind.message)
	if err != nil {
		return want{}, want{}, err
	}
	filter, err := r.one(ctx, "sdkmessagefilters", "sdkmessagefilterid", "_sdkmessageid_value eq "+message+" and primaryobjecttypecode eq '"+t.Name+"'")
	if err != nil {
		return want{}, want{}, err
	}
	if filter == "" {
		return want{}, want{}, fault.New(fault.Rejected, "dataverse.not_observable", "Dataverse tells nobody of "+change+" of the table "+t.Name, nil)
	}
	id := stableID("step", endpoint.id, t.Name, change)
	step = want{
		set: stepSet, primary: "sdkmessageprocessingstepid", id: id,
		values: map[string]any{"name": "patchbay: " + kind.message + " of " + t.Name, "stage": whole(stageAfter), "mode": whole(modeAsync), "rank": whole(1)},
		once: map[string]any{"supporteddeployment": 0, "asyncautodelete": true,
			"eventhandler_serviceendpoint@odata.bind": "/" + endpointSet + "(" + endpoint.id + ")",
			"sdkmessageid@odata.bind":                 "/sdkmessages(" + message + ")", "sdkmessagefilterid@odata.bind": "/sdkmessagefilters(" + filter + ")"},
	}
	if change == "update" {
		step.values["filteringattributes"] = logicalNames(s.Select)
	}
	image = want{
		set: imageSet, primary: "sdkmessageprocessingstepimageid", id: stableID("image", id),
		values: map[string]any{"name": imageAlias, "entityalias": imageAlias, "imagetype": whole(kind.image), "messagepropertyname": kind.property, "attributes": imageColumns(s.Columns)},
		once:   map[string]any{"sdkmessageprocessingstepid@odata.bind": "/" + stepSet + "(" + id + ")"},
	}
	return step, image, nil
}

func (r *registry) message(ctx context.Context, name string) (string, error) {
	if id := r.messages[name]; id != "" {
		return id, nil
	}
	id, err := r.one(ctx, "sdkmessages", "sdkmessageid", "name eq '"+name+"'")
	if err == nil && id == "" {
		err = r.v.transport.Malformed("there is no message " + name)
	}
	r.messages[name] = id
	return id, err
}

// one is the id of the row that satisfies a filter, or empty.
func (r *registry) one(ctx context.Context, set, primary, filter string) (string, error) {
	got, err := r.v.list(ctx, r.v.root+set+"?$select="+primary+"&$filter="+connector.EscapeQuery(filter), paged(maxPage))
	if err != nil || len(got.rows) == 0 {
		return "", err
	}
	id, _ := got.rows[0][primary].(string)
	if !isGUID(id) {
		return "", r.v.transport.Malformed("a row of " + set + " has no id")
	}
	return strings.ToLower(id), nil
}

// imageColumns are the columns of an image, and the version that orders its
// events; none are all.
func imageColumns(columns []string) string {
	if len(columns) == 0 {
		return ""
	}
	return logicalNames(append(slices.Clone(columns), "versionnumber"))
}

// logicalNames are columns as the SDK calls them, in order: a lookup without what
// the Web API puts around it.
func logicalNames(columns []string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		if inner, ok := strings.CutPrefix(c, "_"); ok {
			if inner, ok = strings.CutSuffix(inner, "_value"); ok {
				c = inner
			}
		}
		names[i] = c
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}
