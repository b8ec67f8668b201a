package ibm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "ibm"

const (
	defaultPath  = "/content-services-graphql"
	defaultTitle = "DocumentTitle"
	defaultPage  = 200
	maxPage      = 1000
	xsrf         = "ECM-CS-XSRF-Token"
)

// options are those of a connection, with the values that are allowed; none: any text.
var options = map[string][]string{
	"repository": nil, "path": nil, "name_property": nil, "dates": nil, "token_auth": nil,
	"versions": {"current", "all"}, "xsrf": {"on", "off"},
}

// IBM is one connection to one object store; safe for concurrent use.
type IBM struct {
	transport  *connector.Transport
	config     connector.Config
	endpoint   string
	repository string
	title      string   // what the search language calls the field name
	dates      []string // class properties that hold a point in time
	all        bool     // versions, not only the current ones
}

var (
	_ connector.PageReader = (*IBM)(nil)
	_ connector.KeyReader  = (*IBM)(nil)
	_ connector.Describer  = (*IBM)(nil)
	_ connector.Prober     = (*IBM)(nil)
	_ connector.Expeditor  = (*IBM)(nil)

	_ connector.DocumentReader  = (*IBM)(nil)
	_ connector.DocumentWriter  = (*IBM)(nil)
	_ connector.DocumentRemover = (*IBM)(nil)
)

// New makes the connector of one connection. Options: repository, the symbolic name
// or ID of the object store; path of the API (default /content-services-graphql);
// versions, "current" or "all"; name_property, the property behind the field name
// (default DocumentTitle); dates, the class properties of type date that reads
// compare with, separated by commas; xsrf "off" where the server's check is disabled;
// token_auth "header" for a token endpoint that wants the client in a Basic header.
//
// Table.Path is the symbolic name of a class; its subclasses belong to it. A column
// is a field of the type Document (dateLastModified) or a property by its symbolic
// name (CustomerNumber).
func New(c connector.Config, d connector.Deps) (*IBM, error) {
	for name, value := range c.Options {
		allowed, known := options[name]
		if !known || allowed != nil && !slices.Contains(allowed, value) {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is unknown or has a value that is none of %s", c.Name, name, strings.Join(allowed, ", "))
		}
	}
	if c.Options["repository"] == "" {
		return nil, fault.Invalidf("connector.option", "connection %s: option repository names the object store", c.Name)
	}
	header := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}}
	if c.Options["xsrf"] != "off" {
		// The server keeps nothing of it: it wants one value in both places.
		value := token()
		header[http.CanonicalHeaderKey(xsrf)] = []string{value}
		header["Cookie"] = []string{xsrf + "=" + value}
	}
	t, err := connector.NewTransport(c, d, connector.Vendor{System: System, Header: header, Verdict: verdict, Refusal: refusal})
	if err != nil {
		return nil, err
	}
	i := &IBM{
		transport: t, config: c, endpoint: cmp.Or(c.Options["path"], defaultPath) + "/graphql",
		repository: c.Options["repository"], title: cmp.Or(c.Options["name_property"], defaultTitle), all: c.Options["versions"] == "all",
	}
	for name := range strings.SplitSeq(c.Options["dates"], ",") {
		i.dates = append(i.dates, strings.TrimSpace(name))
	}
	return i, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// token is a random UUID.
func token() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Urgent implements connector.Expeditor.
func (i *IBM) Urgent() any {
	u := *i
	u.transport = i.transport.Urgent()
	return &u
}

// Probe asks the API who it is and which user it sees in the object store.
func (i *IBM) Probe(ctx context.Context) error {
	data, err := i.ask(ctx, `query($repository:String){_apiInfo(repositoryIdentifier:$repository){productVersion cpeInfo{repositoryName}}}`,
		map[string]any{"repository": i.repository})
	if err != nil {
		return err
	}
	if info, ok := data["_apiInfo"].(map[string]any); !ok || info["cpeInfo"] == nil {
		return i.transport.Malformed("it does not say which object store it serves")
	}
	return nil
}

// ask sends one query and gives its data, of which none is missing for an error.
func (i *IBM) ask(ctx context.Context, query string, variables map[string]any) (map[string]any, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, fault.New(fault.Invalid, "connector.value", "connection "+i.config.Name+" was asked for a value that JSON cannot carry", nil)
	}
	var answer map[string]any
	if _, err := i.transport.Do(ctx, connector.Request{Method: http.MethodPost, Target: i.endpoint, Body: body, Collection: true}, &answer); err != nil {
		return nil, err
	}
	data, ok := answer["data"].(map[string]any)
	if !ok {
		return nil, i.transport.Malformed("there is neither data nor an error")
	}
	return data, nil
}
