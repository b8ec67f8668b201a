package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type connectorInput struct{ Call }

type connectorOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Disposition  string `header:"Content-Disposition"`
	Body         []byte
}

// connectorRoute serves the definition of a custom connector. It needs a
// principal like every other route: it names every applied flow and what may be
// asked of it, as GET /v1/flows does.
func (a *api) connectorRoute() {
	route(a, huma.Operation{
		OperationID: "connector", Method: http.MethodGet, Path: "/connector.json", Tags: []string{"flows"},
		Summary: "Definition of a Power Platform custom connector",
		Description: "OpenAPI 2.0, made for the flows applied now and for the host it is asked under: one operation that starts " +
			"each flow, and those that follow, read and cancel a run.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The definition", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
		},
	}, func(ctx context.Context, in *connectorInput) (*connectorOutput, error) {
		applied, err := a.o.Flows.Flows(ctx)
		if err != nil {
			return nil, err
		}
		body, err := json.MarshalIndent(connector(applied, in.r, a.o.Version), "", "  ")
		if err != nil {
			return nil, fault.New(fault.Bug, "bug", "the definition cannot be encoded", err)
		}
		return &connectorOutput{
			ContentType: "application/json", CacheControl: "no-store",
			Disposition: `attachment; filename="patchbay.swagger.json"`, Body: body,
		}, nil
	})
}

// connector describes the applied flows as the host sees them under which r
// came, which has passed the gate.
func connector(applied []flow.Applied, r *http.Request, version string) swagger {
	doc := swagger{
		Swagger: "2.0",
		Info: swaggerInfo{
			Title: "Patchbay", Version: cmp.Or(version, "dev"),
			Description: "Start the flows of this Patchbay, show their progress and their rows, and cancel them.",
		},
		Host: r.Host, BasePath: "/", Schemes: []string{scheme(r)},
		Consumes: []string{"application/json"}, Produces: []string{"application/json"},
		Paths: runPaths(), Definitions: definitions(),
		Security: []map[string][]string{{"key": {}}},
		Schemas: map[string]swaggerSecurity{"key": {
			Type: "apiKey", In: "header", Name: "Authorization",
			Description: "The word Bearer, a space, and a key of this installation",
		}},
	}
	ids := startIDs(applied)
	for i, f := range applied {
		if f.Plan.Sync != nil {
			continue // nobody starts it
		}
		doc.Paths["/v1/flows/"+url.PathEscape(f.Plan.Flow)+"/runs"] = swaggerPath{Post: startOperation(ids[i], f.Plan)}
	}
	return doc
}

// scheme is https, which the Power Platform asks for, except on this machine. A
// server behind a proxy cannot see how the proxy was reached, and does not
// believe a header that says so.
func scheme(r *http.Request) string {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	if r.TLS == nil && (strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()) {
		return "http"
	}
	return "https"
}

// startIDs name the operations that start the flows: product-specs is
// StartProductSpecs, and so in Power Fx. Two flows whose names differ only in
// hyphens both get a suffix of their own: an app must never start another flow
// than it was written for because a third one was applied or removed.
func startIDs(applied []flow.Applied) []string {
	ids := make([]string, len(applied))
	uses := map[string]int{}
	for i, f := range applied {
		var id strings.Builder
		id.WriteString("Start")
		for word := range strings.SplitSeq(f.Plan.Flow, "-") {
			if word != "" {
				id.WriteString(strings.ToUpper(word[:1]) + word[1:])
			}
		}
		ids[i] = id.String()
		uses[strings.ToLower(ids[i])]++
	}
	for i, id := range ids {
		if uses[strings.ToLower(id)] > 1 {
			sum := sha256.Sum256([]byte(applied[i].Plan.Flow))
			ids[i] += hex.EncodeToString(sum[:4])
		}
	}
	return ids
}

func startOperation(id string, plan *flow.Plan) *swaggerOperation {
	description := sentence(plan.Summary)
	if plan.Why != "" {
		description += " " + sentence(plan.Why)
	}
	description += fmt.Sprintf(" It is answered within %s.", plan.Limits.Timeout)
	if columns := columnsOf(plan); columns != "" {
		description += " Columns of a row: " + columns + "."
	}
	op := &swaggerOperation{
		ID: id, Summary: "Start " + plan.Flow, Description: description, Visibility: "important",
		Responses: responses("Run", map[string]string{
			"200": "The run with its answer, a failure included",
			"201": "The run, accepted and not answered yet; wait was none",
			"202": "The run, accepted and not answered yet; Location answers 202 until there is an answer, then 200",
		}),
	}
	if len(plan.Params) > 0 {
		body := body(plan.Params)
		op.Parameters = append(op.Parameters, swaggerParameter{
			Name: "parameters", In: "body", Required: len(body.Required) > 0, Schema: body,
		})
	}
	op.Parameters = append(op.Parameters,
		swaggerParameter{
			Name: "Idempotency-Key", In: "header", Type: "string", MaxLength: maxKey, Summary: "Idempotency Key", Visibility: "advanced",
			Description: "A text of your own for this press, for example GUID(). The same key is the same run, however often it is sent.",
		},
		swaggerParameter{
			Name: "wait", In: "query", Type: "string", Enum: []string{waitNone}, Summary: "Wait", Visibility: "advanced",
			Description: "Choose none in a Power App that shows progress: the run comes back at once. Leave it empty in Power Automate.",
		})
	return op
}

func columnsOf(plan *flow.Plan) string {
	names := make([]string, len(plan.Map))
	for i, c := range plan.Map {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// body describes the parameters of a flow in the order of its file.
func body(params []flow.Param) *swaggerSchema {
	out := &swaggerSchema{Type: "object"}
	for _, p := range params {
		s := &swaggerSchema{
			Summary: cmp.Or(p.Title, p.Name), Description: described(p),
			Visibility: "advanced", Default: p.Default, Example: p.Example,
		}
		if p.Default == nil && !p.Optional {
			s.Visibility = "important"
			out.Required = append(out.Required, p.Name)
		}
		switch p.Type {
		case flow.Int:
			s.Type, s.Format, s.Minimum, s.Maximum = "integer", "int64", p.Min, p.Max
		case flow.Decimal:
			s.Type = "number"
		case flow.Bool:
			s.Type = "boolean"
		case flow.Date:
			s.Type, s.Format = "string", "date"
		case flow.Timestamp:
			s.Type, s.Format = "string", "date-time"
		case flow.Any, flow.Document: // no type: any JSON
		default:
			s.Type, s.Enum, s.MinLength, s.MaxLength = "string", p.Enum, p.Min, p.Max
			if portable(p.Pattern) {
				s.Pattern = p.Pattern
			}
		}
		out.Properties = append(out.Properties, property{p.Name, s})
	}
	return out
}

// described is the hint beside a field: what it is, and how it looks.
func described(p flow.Param) string {
	text := sentence(cmp.Or(p.Help, p.Title, p.Name))
	if p.Example != nil {
		text += fmt.Sprintf(" For example %v.", p.Example)
	}
	if p.Pattern != "" && !portable(p.Pattern) {
		text += " It has to match " + p.Pattern + " (RE2)."
	}
	return text
}

func sentence(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// portable reports whether a pattern of RE2 means the same to an importer, which
// reads the dialect of JavaScript. The server checks every pattern anyway.
func portable(pattern string) bool {
	for _, own := range []string{`(?`, `[[:`, `\A`, `\z`, `\Q`, `\E`, `\p`, `\P`, `\x{`, `\a`, `\C`} {
		if strings.Contains(strings.ReplaceAll(pattern, "(?:", "("), own) {
			return false
		}
	}
	return pattern != ""
}
