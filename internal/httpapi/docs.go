package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/flow"
)

var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.css
	docsStyle string

	docsTemplate = template.Must(template.New("docs").Parse(docsPage))
)

// document is the frame of the OpenAPI document; the routes fill it.
func document(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Patchbay", Version: cmp.Or(version, "dev"),
			Description: "Start flows, follow their runs, cancel them, and ask what happened to a business key. " +
				"Every answer outside 2xx is a problem with a stable code.",
		},
		Tags: []*huma.Tag{
			{Name: "runs", Description: "Start, follow and cancel"},
			{Name: "flows", Description: "What can be started"},
			{Name: "operation", Description: "Whether it works"},
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"key": {Type: "http", Scheme: "bearer", Description: "A key of this installation"},
			},
		},
	}
}

// schemaName tells the problem of a run, which is data, from the problem that is
// an answer.
func schemaName(t reflect.Type, hint string) string {
	if t == reflect.TypeFor[flow.Problem]() || t == reflect.TypeFor[*flow.Problem]() {
		return "RunProblem"
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// docs are the two faces of the OpenAPI document, rendered once: for programs
// and for people. The page needs no script and no other host.
type docs struct {
	json, html []byte
	policy     string
}

func newDocs(o *huma.OpenAPI) *docs {
	spec, err := json.Marshal(o)
	if err != nil {
		panic("httpapi: an OpenAPI document that cannot be encoded: " + err.Error())
	}
	var page bytes.Buffer
	if err := docsTemplate.Execute(&page, struct {
		Info       *huma.Info
		Operations []*huma.Operation
		Style      template.CSS
	}{o.Info, operations(o), template.CSS(docsStyle)}); err != nil {
		panic("httpapi: the docs page: " + err.Error())
	}
	sum := sha256.Sum256([]byte(docsStyle))
	return &docs{json: spec, html: page.Bytes(), policy: "default-src 'none'; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"}
}

// operations lists what the document describes, by path and method.
func operations(o *huma.OpenAPI) []*huma.Operation {
	var all []*huma.Operation
	for _, path := range slices.Sorted(maps.Keys(o.Paths)) {
		item := o.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				all = append(all, op)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *huma.Operation) int { return strings.Compare(a.Tags[0], b.Tags[0]) })
	return all
}

func (d *docs) spec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(d.json) // the client may have gone; nobody else to tell
}

func (d *docs) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", d.policy)
	_, _ = w.Write(d.html) // the client may have gone; nobody else to tell
}
