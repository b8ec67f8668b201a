package httpapi

import (
	"io"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// hooksPath begins the addresses that are open to whoever can prove who sent what:
// a delivery is signed, or bears a secret of its source, and no key of ours.
const hooksPath = "/v1/hooks/"

// hookRoute takes deliveries. It is on the way of thousands of events a second, so it
// reads the request itself; the document describes it like any other.
func (a *api) hookRoute(mux *http.ServeMux) {
	mux.HandleFunc("POST "+hooksPath+"{flow}", a.hook)
	schemas := a.huma.OpenAPI().Components.Schemas
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "deliver", Method: http.MethodPost, Path: hooksPath + "{flow}", Tags: []string{"Events"},
		Summary: "Deliver events to a flow",
		Description: "Webhooks of Dataverse, notifications of Microsoft Graph, CloudEvents 1.0 (binary, structured, batch of at most 1,000) and signed JSON. The sender is proved as the `hook` section of the " +
			"connection says; no key of this installation is needed. 202 is sent after the events are committed, and for a repeat as well.",
		Parameters: []*huma.Param{
			{Name: "flow", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "Name of an applied event flow"},
			{Name: "connection", In: "query", Schema: &huma.Schema{Type: huma.TypeString}, Description: "The source, for a flow with several that cannot be told apart"},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {}, "application/cloudevents+json": {}, "application/cloudevents-batch+json": {},
		}},
		Responses: map[string]*huma.Response{
			"202": {Description: "The events are kept", Content: map[string]*huma.MediaType{
				"application/json": {Schema: schemas.Schema(reflect.TypeFor[flow.Receipt](), true, "")},
			}},
			"default": {Description: "A problem. The code says which.", Content: map[string]*huma.MediaType{
				problemType: {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "")},
			}},
		},
		Security: []map[string][]string{},
	})
}

func (a *api) hook(w http.ResponseWriter, r *http.Request) {
	receipt, err := a.deliver(r)
	if err != nil {
		writeProblem(w, r, a.problem(r.Context(), "deliver", err))
		return
	}
	if receipt.Answer != "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, receipt.Answer) // the sender is gone
		return
	}
	writeJSON(w, http.StatusAccepted, receipt)
}

func (a *api) deliver(r *http.Request) (flow.Receipt, error) {
	if a.o.Hooks == nil {
		return flow.Receipt{}, fault.NotFoundf("hook.not_found", "there is no hook of this name")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return flow.Receipt{}, fault.New(fault.Bug, "bug", "the body was read by somebody else", err)
	}
	query := r.URL.Query()
	return a.o.Hooks.Receive(r.Context(), flow.Delivery{
		Flow: r.PathValue("flow"), Connection: query.Get("connection"), Header: r.Header, Query: query, Body: body, At: time.Now(), From: a.sender(r),
	})
}

// sender is the address of whoever sent a request: the peer, or where that is a proxy of
// this installation, the last address that its proxies did not add themselves.
func (a *api) sender(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && slices.ContainsFunc(a.o.Proxies, func(n netip.Prefix) bool { return n.Contains(at) }); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = next.Unmap()
	}
	return at
}

// proved reports whether a path is open to whoever proves who sent what.
func proved(path string) bool { return strings.HasPrefix(path, hooksPath) }
