package graph

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "graph"

const (
	root        = "/v1.0/"
	unit        = 320 << 10 // every part but the last is a multiple of it
	defaultPart = 10 * unit
	maxPart     = 59 << 20
	// small is up to which size a file is sent in one request.
	small       = 4 << 20
	defaultLife = 48 * time.Hour
	maxLife     = 42_300 * time.Minute
	defaultPage = 200
	maxPage     = 1000
)

// options are those of a connection.
var options = []string{"part", "content_hosts", "subscription", "token_auth"}

// ownHosts are where SharePoint keeps the bytes of files, in all of its clouds.
var ownHosts = []string{".sharepoint.com", ".sharepoint.us", ".sharepoint.cn", ".sharepoint-mil.us", ".svc.ms"}

// Graph is one connection; safe for concurrent use.
type Graph struct {
	transport *connector.Transport
	config    connector.Config
	guard     *hook.Guard
	part      int
	life      time.Duration
	speed     float64
	now       func() time.Time
	drives    *drives
}

// drives is what is known of the libraries behind the tables.
type drives struct {
	mu sync.Mutex
	of map[string]string // by path of the table
}

var (
	_ connector.PageReader     = (*Graph)(nil)
	_ connector.KeyReader      = (*Graph)(nil)
	_ connector.Identifier     = (*Graph)(nil)
	_ connector.ChangeReader   = (*Graph)(nil)
	_ connector.DocumentReader = (*Graph)(nil)
	_ connector.DocumentWriter = (*Graph)(nil)
	_ connector.Conditional    = (*Graph)(nil)
	_ connector.Receiver       = (*Graph)(nil)
	_ connector.Hinter         = (*Graph)(nil)
	_ connector.Subscriber     = (*Graph)(nil)
	_ connector.Renewer        = (*Graph)(nil)
	_ connector.Describer      = (*Graph)(nil)
	_ connector.Prober         = (*Graph)(nil)
	_ connector.Expeditor      = (*Graph)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Graph, error) {
	for name := range c.Options {
		if !slices.Contains(options, name) {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is unknown; known are %s", c.Name, name, strings.Join(options, ", "))
		}
	}
	hosts := slices.Clone(ownHosts)
	for host := range strings.SplitSeq(c.Options["content_hosts"], ",") {
		if host = strings.ToLower(strings.TrimSpace(host)); host != "" {
			hosts = append(hosts, host)
		}
	}
	t, err := connector.NewTransport(c, d, connector.Vendor{
		System: System,
		// Traffic that says whose it is goes first when there is too much.
		Header:  http.Header{"Accept": {"application/json"}, "User-Agent": {"NONISV|Patchbay|Patchbay/1.0"}},
		Verdict: verdict,
		Elsewhere: func(to *url.URL) bool {
			return slices.ContainsFunc(hosts, func(h string) bool {
				own := strings.ToLower(to.Hostname())
				return own == h || strings.HasPrefix(h, ".") && strings.HasSuffix(own, h)
			})
		},
	})
	if err != nil {
		return nil, err
	}
	g := &Graph{transport: t, config: c, part: defaultPart, life: defaultLife, speed: max(c.Speed, 1), now: d.Now, drives: &drives{of: map[string]string{}}}
	if g.now == nil {
		g.now = time.Now
	}
	if g.guard, err = hook.New(c, d); err != nil {
		return nil, err
	}
	if part := c.Options["part"]; part != "" {
		if g.part, err = strconv.Atoi(part); err != nil || g.part < unit || g.part > maxPart || g.part%unit != 0 {
			return nil, fault.Invalidf("connector.option", "connection %s: option part is a multiple of %d from %d to %d", c.Name, unit, unit, maxPart/unit*unit)
		}
	}
	if life := c.Options["subscription"]; life != "" {
		if g.life, err = time.ParseDuration(life); err != nil || g.life < time.Hour || g.life > maxLife {
			return nil, fault.Invalidf("connector.option", "connection %s: option subscription is a duration from 1h to %s", c.Name, maxLife)
		}
	}
	for name, table := range c.Tables {
		if _, _, err := parts(table.Path); err != nil {
			return nil, fault.Invalidf("connector.path", "connection %s: path of table %s is drives/ID, sites/HOST:/PATH or sites/HOST:/PATH:/drives/NAME", c.Name, name)
		}
	}
	return g, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Conditional is true: a file has one place, and a repetition puts the same there.
func (*Graph) Conditional(string, []string, bool) bool { return true }

// Identify implements connector.Identifier.
func (*Graph) Identify(string) string { return "id" }

// Urgent implements connector.Expeditor.
func (g *Graph) Urgent() any {
	u := *g
	u.transport = g.transport.Urgent()
	return &u
}

// Probe finds the library of each table, and the root of the tenant where there is none.
func (g *Graph) Probe(ctx context.Context) error {
	if len(g.config.Tables) == 0 {
		_, err := g.get(ctx, root+"sites/root?$select=id", nil)
		return err
	}
	for name, table := range g.config.Tables {
		table.Name = name
		if _, err := g.find(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

func (g *Graph) get(ctx context.Context, target string, h http.Header) (map[string]any, error) {
	var got map[string]any
	_, err := g.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h}, &got)
	return got, err
}

// parts are the site and the library of a table's path; of a drive by its ID the
// site is empty.
func parts(path string) (site, library string, err error) {
	path = strings.Trim(path, "/")
	if id, ok := strings.CutPrefix(path, "drives/"); ok && id != "" && !strings.Contains(id, "/") {
		return "", id, nil
	}
	site, library, _ = strings.Cut(path, ":/drives/")
	if rest, ok := strings.CutPrefix(site, "sites/"); !ok || rest == "" || strings.ContainsAny(path, "?#%\\") {
		return "", "", errPath
	}
	return site, library, nil
}

var errPath = fault.Invalidf("connector.path", "the path of a library is none")

// drive is the address of a table's library below the host.
func (g *Graph) drive(ctx context.Context, table string) (connector.Table, string, error) {
	t, err := g.config.Table(table)
	if err != nil {
		return t, "", err
	}
	address, err := g.find(ctx, t)
	return t, address, err
}

func (g *Graph) find(ctx context.Context, t connector.Table) (string, error) {
	g.drives.mu.Lock()
	known := g.drives.of[t.Path]
	g.drives.mu.Unlock()
	if known != "" {
		return known, nil
	}
	site, library, err := parts(t.Path)
	if err != nil {
		return "", err
	}
	id := library
	if site != "" {
		if id, err = g.lookUp(ctx, t, site, library); err != nil {
			return "", err
		}
	}
	address := root + "drives/" + url.PathEscape(id)
	g.drives.mu.Lock()
	defer g.drives.mu.Unlock()
	g.drives.of[t.Path] = address
	return address, nil
}

// lookUp finds the ID of a site's library, the default one where it has no name.
func (g *Graph) lookUp(ctx context.Context, t connector.Table, site, library string) (string, error) {
	found, err := g.get(ctx, root+escapePath(site)+"?$select=id", nil)
	if err != nil {
		return "", err
	}
	id := text(found["id"])
	if id == "" {
		return "", g.transport.Malformed("a site has no id")
	}
	at := root + "sites/" + url.PathEscape(id)
	if library == "" {
		found, err := g.get(ctx, at+"/drive?$select=id", nil)
		if err == nil && text(found["id"]) == "" {
			err = g.transport.Malformed("a library has no id")
		}
		return text(found["id"]), err
	}
	target := at + "/drives?$select=id,name"
	for token := ""; ; {
		found, err := g.get(ctx, target, nil)
		if err != nil {
			return "", err
		}
		list, err := g.list(found)
		if err != nil {
			return "", err
		}
		for _, one := range list {
			if strings.EqualFold(text(one["name"]), library) && text(one["id"]) != "" {
				return text(one["id"]), nil
			}
		}
		if token, err = g.transport.Advance(token, text(found[nextLink])); err != nil {
			return "", err
		}
		if token == "" {
			return "", fault.New(fault.Rejected, "graph.no_library", "the site of table "+t.Name+" has no library of the name that its path says", nil)
		}
		target = text(found[nextLink])
	}
}

// list is the list of an answer.
func (g *Graph) list(answer map[string]any) ([]map[string]any, error) {
	items, ok := answer["value"].([]any)
	if !ok {
		return nil, g.transport.Malformed("there is no list")
	}
	list := make([]map[string]any, len(items))
	for i, item := range items {
		if list[i], ok = item.(map[string]any); !ok {
			return nil, g.transport.Malformed("an entry of a list is no object")
		}
	}
	if next, there := answer[nextLink]; there && text(next) == "" {
		return nil, g.transport.Malformed("the link to the next page is no text")
	}
	return list, nil
}

const nextLink = "@odata.nextLink"

func text(v any) string {
	s, _ := v.(string)
	return s
}

// escapePath escapes each segment of a path, and leaves what tells segments apart.
func escapePath(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), "%3A", ":")
	}
	return strings.Join(segments, "/")
}
