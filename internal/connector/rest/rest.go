package rest

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "rest"

const (
	defaultLimit = 100
	maxLimit     = 10_000
)

// options are those of a connection, or of one table of it.
var options = map[string][]string{ // with the values that are allowed; none: any text
	"auth_header": nil, "api_key": nil, "token_auth": nil, "probe": nil,
	"rows": nil, "row": nil, "paging": {"none", "next", "page", "offset", "cursor"}, "next": nil, "more": nil, "cursor": nil,
	"cursor_param": nil, "page_param": nil, "first_page": nil, "offset_param": nil, "limit_param": nil, "limit": nil, "select_param": nil,
	"read": {"GET", "POST"}, "answer": {"rows", "row"}, "reference_header": nil, "answers_for": nil,
	"write": {"PUT", "PATCH", "POST"}, "write_path": nil, "body": nil, "idempotency_header": nil,
}

// REST is one connection; safe for concurrent use.
type REST struct {
	transport *connector.Transport
	config    connector.Config
	deps      connector.Deps
}

var (
	_ connector.PageReader  = (*REST)(nil)
	_ connector.KeyReader   = (*REST)(nil)
	_ connector.Upserter    = (*REST)(nil)
	_ connector.Conditional = (*REST)(nil)
	_ connector.Prober      = (*REST)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*REST, error) {
	t, err := connector.NewTransport(c, d, connector.Vendor{System: System, Header: http.Header{"Accept": {"application/json"}}})
	if err != nil {
		return nil, err
	}
	for full, value := range c.Options {
		table, name, of := strings.Cut(full, ".")
		if !of {
			table, name = "", full
		}
		allowed, known := options[name]
		if _, declared := c.Tables[table]; !known || of && !declared {
			return nil, fault.Invalidf("connector.option", "connection %s has no option %q; there are %s, each also as TABLE.NAME", c.Name, full, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
		if allowed != nil && !slices.Contains(allowed, value) {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is one of %s", c.Name, full, strings.Join(allowed, ", "))
		}
		if (name == "limit" || name == "first_page") && !isNumber(value) {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a number from 0 to %d", c.Name, full, maxLimit)
		}
		if strings.HasSuffix(name, "_header") && !isToken(value) {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is the name of a header", c.Name, full)
		}
	}
	for table := range c.Tables {
		r := REST{config: c}
		if r.option(table, "paging", "none") != "none" && (r.option(table, "answer", "rows") == "row" || r.option(table, "read", http.MethodGet) == http.MethodPost) {
			return nil, fault.Invalidf("connector.option", "connection %s: table %s has pages, and is neither one row nor read by POST", c.Name, table)
		}
	}
	if (c.Options["auth_header"] == "") != (c.Options["api_key"] == "") {
		return nil, fault.Invalidf("connector.option", "connection %s: options auth_header and api_key belong together", c.Name)
	}
	return &REST{transport: t, config: c, deps: d}, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

func isNumber(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 0 && n <= maxLimit
}

func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// option is that of a table, else the connection's, else what is usual.
func (r *REST) option(table, name, usual string) string {
	return cmp.Or(r.config.Options[table+"."+name], r.config.Options[name], usual)
}

// Conditional reports whether sending a write of the table again does no harm: it
// names its row, or carries a key by which the system knows it.
func (r *REST) Conditional(table string, _ []string, _ bool) bool {
	return r.option(table, "write", http.MethodPut) != http.MethodPost || r.option(table, "idempotency_header", "") != ""
}

// Urgent implements connector.Expeditor.
func (r *REST) Urgent() any {
	u := *r
	u.transport = r.transport.Urgent()
	return &u
}

// Probe asks for what option probe names, else for one page of a table.
func (r *REST) Probe(ctx context.Context) error {
	target := r.config.Options["probe"]
	for _, name := range slices.Sorted(maps.Keys(r.config.Tables)) {
		if path := r.config.Tables[name].Path; target == "" && !strings.Contains(path, "{") && r.option(name, "write", "") != http.MethodPost && r.option(name, "read", "") != http.MethodPost {
			target = rooted(path)
		}
	}
	header, err := r.header()
	if err != nil {
		return err
	}
	_, err = r.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: rooted(target), Header: header, Collection: true}, nil)
	return err
}

// header carries the API key, if the connection signs in by one.
func (r *REST) header() (http.Header, error) {
	header := http.Header{}
	name := r.config.Options["auth_header"]
	if name == "" {
		return header, nil
	}
	value, err := r.deps.Value(r.config.Name, r.config.Options["api_key"])
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, fault.Invalidf("connector.option", "connection %s: the api_key is no value of a header", r.config.Name)
	}
	header.Set(name, value)
	return header, nil
}

func rooted(path string) string { return "/" + strings.TrimLeft(path, "/") }
