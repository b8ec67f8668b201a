package httpapi

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Call gives a route the request behind its typed input. It is exported for
// huma, which finds it by reflection.
type Call struct{ r *http.Request }

// Resolve is called by huma before the route.
func (c *Call) Resolve(ctx huma.Context) []error {
	c.r, _ = humago.Unwrap(ctx)
	return nil
}

func (c *Call) principal() flow.Principal { return PrincipalFrom(c.r.Context()) }

// api is what the routes share.
type api struct {
	*Server
	huma    huma.API
	streams chan struct{} // a place for each live stream
	away    outage        // of the store, as those who wait for a run meet it
}

// register builds the routes once; the second value names the paths that are
// open to everybody.
func (s *Server) register() (http.Handler, map[string]bool) {
	mux := http.NewServeMux()
	json := map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	a := &api{Server: s, streams: make(chan struct{}, streams)}
	a.huma = humago.New(mux, huma.Config{
		OpenAPI: document(s.o.Version), Formats: json, DefaultFormat: "application/json",
		Transformers: []huma.Transformer{ownProblems},
	})
	a.runRoutes()
	a.progressRoutes()
	a.eventRoute()
	a.changesRoute()
	a.flowRoutes()
	a.connectorRoute()
	a.explainRoute()
	a.doctorRoute()
	a.deadRoutes()
	a.troubleRoutes()
	a.repairRoutes()
	a.topicRoutes()
	a.pictureRoutes()
	a.referralRoutes()
	a.capsuleRoutes()
	a.regionRoutes()
	a.stopRoutes()
	a.paidRoutes()
	a.shadowRoutes()
	a.scheduleRoutes()
	a.hookRoute(mux)

	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /readyz", ready(s.o.Readiness))
	mux.HandleFunc("GET /metrics", a.metrics)
	docs := newDocs(a.huma.OpenAPI())
	mux.HandleFunc("GET /openapi.json", docs.spec)
	mux.HandleFunc("GET /docs", docs.page)

	open := map[string]bool{"/healthz": true, "/readyz": true, "/openapi.json": true, "/docs": true}
	return &split{mux: mux, console: s.o.Console}, open
}

// split sends what belongs to the API to the mux and the rest to the console,
// and turns the mux's own refusals into problems.
type split struct {
	mux     *http.ServeMux
	console http.Handler
}

func (s *split) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	switch {
	case pattern != "":
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			w.Header().Set("Cache-Control", "no-store")
		}
		s.mux.ServeHTTP(w, r)
	case refusedMethod(handler, r, w.Header()):
		writeProblem(w, r, fault.New(fault.Invalid, "method.not_allowed",
			"this path answers to "+w.Header().Get("Allow")+" only", nil))
	case s.console == nil || strings.HasPrefix(r.URL.Path, "/v1/"):
		writeProblem(w, r, fault.NotFoundf("path.unknown", "nothing is at this path; /docs lists what is"))
	default:
		s.console.ServeHTTP(w, r)
	}
}

// refusedMethod asks the mux's own answer to an unmatched request whether the
// path exists under other methods, and copies their names into allow.
func refusedMethod(h http.Handler, r *http.Request, allow http.Header) bool {
	probe := &discard{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status != http.StatusMethodNotAllowed {
		return false
	}
	allow.Set("Allow", probe.header.Get("Allow"))
	return true
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// route registers one operation: its errors become problems here and nowhere
// else.
func route[I, O any](a *api, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	problem := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem. The code says which; a 429 or 503 carries Retry-After.",
		Content:     map[string]*huma.MediaType{problemType: {Schema: problem}},
	}
	op.Security = []map[string][]string{{"key": {}}}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// problem turns a route's error into its answer. This is where an error is
// handled, so this is where one of ours is logged, with its cause.
func (a *api) problem(ctx context.Context, operation string, err error) *Problem {
	id := requestID(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return problemOf(fault.New(fault.Invalid, "request.interrupted", "the client ended the request", nil), id)
	}
	p := problemOf(err, id)
	if p.Status >= http.StatusInternalServerError {
		a.log.Error("a request failed", zap.String("operation", operation), zap.String("request_id", id),
			zap.String("code", p.Code), zap.Error(err))
	}
	return p
}
