package sap

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "sap"

const (
	defaultRoot = "/sap/opu/odata/sap/"
	defaultPage = 1000
	maxPage     = 10_000
	defaultBulk = 50
	maxBulk     = 500

	olderType = "application/json"
	// newerType asks for decimals as text also where OData V4 would give numbers, which
	// not every server keeps exact.
	newerType = "application/json;IEEE754Compatible=true"
)

// jsonType is the media type of a version.
func jsonType(v4 bool) []string {
	if v4 {
		return []string{newerType}
	}
	return []string{olderType}
}

// SAP is one connection; safe for concurrent use.
type SAP struct {
	transport *connector.Transport
	config    connector.Config
	root      string // of services whose path does not begin with a slash
	common    string // sap-client and sap-language, as a query
	page      int
	bulk      int
	bySkip    bool
	creates   []string // tables
	// references are, by table, the columns in which documents bear what their writer
	// knows them by.
	references map[string]string
	services   *services
	sessions   *sessions
}

var (
	_ connector.PageReader  = (*SAP)(nil)
	_ connector.Extractor   = (*SAP)(nil)
	_ connector.KeyReader   = (*SAP)(nil)
	_ connector.Upserter    = (*SAP)(nil)
	_ connector.Conditional = (*SAP)(nil)
	_ connector.Describer   = (*SAP)(nil)
	_ connector.Prober      = (*SAP)(nil)
	_ connector.Expeditor   = (*SAP)(nil)

	_ connector.DocumentReader  = (*SAP)(nil)
	_ connector.DocumentWriter  = (*SAP)(nil)
	_ connector.DocumentRemover = (*SAP)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*SAP, error) {
	t, err := connector.NewTransport(c, d, connector.Vendor{
		System:  System,
		Header:  http.Header{"Accept": {olderType}},
		Verdict: verdict,
	})
	if err != nil {
		return nil, err
	}
	s := &SAP{transport: t, config: c, root: c.Options["root"], page: defaultPage, bulk: defaultBulk,
		services: newServices(), sessions: newSessions()}
	if s.root == "" {
		s.root = defaultRoot
	}
	s.root = "/" + strings.Trim(s.root, "/") + "/"
	var common []string
	for _, o := range [][2]string{{"client", "sap-client"}, {"language", "sap-language"}} {
		if v := c.Options[o[0]]; v != "" {
			common = append(common, o[1]+"="+connector.EscapeQuery(v))
		}
	}
	s.common = strings.Join(common, "&")
	for name := range strings.SplitSeq(c.Options["create"], ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.creates = append(s.creates, name)
		}
	}
	if s.references, err = c.References(); err != nil {
		return nil, err
	}
	switch c.Options["paging"] {
	case "", "key":
	case "skip":
		s.bySkip = true
	default:
		return nil, fault.Invalidf("connector.option", "connection %s: option paging is key or skip", c.Name)
	}
	for name, o := range map[string]struct {
		into *int
		most int
	}{"page": {&s.page, maxPage}, "bulk": {&s.bulk, maxBulk}} {
		text := c.Options[name]
		if text == "" {
			continue
		}
		if *o.into, err = strconv.Atoi(text); err != nil || *o.into < 1 || *o.into > o.most {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a number from 1 to %d", c.Name, name, o.most)
		}
	}
	return s, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Conditional is true of what is decided by the version of a row, or by a key that the
// writer gives. A document that SAP numbers is found again by its reference alone.
func (s *SAP) Conditional(table string, key []string, existing bool) bool {
	return existing || !s.byReference(table, key)
}

// byReference reports whether a key is the column by which a document of the table is
// looked up before it is created.
func (s *SAP) byReference(table string, key []string) bool {
	return len(key) == 1 && s.references[table] == key[0]
}

// Urgent implements connector.Expeditor.
func (s *SAP) Urgent() any {
	u := *s
	u.transport = s.transport.Urgent()
	return &u
}

// Probe asks the first service of the connection for its own description, which
// needs valid credentials and touches no data.
func (s *SAP) Probe(ctx context.Context) error {
	roots := s.roots()
	if len(roots) == 0 {
		return fault.Invalidf("connector.table", "connection %s has no table", s.config.Name)
	}
	var said map[string]any
	if _, err := s.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: roots[0] + "/" + s.query(), Collection: true}, &said); err != nil {
		return err
	}
	if said["d"] == nil && said["value"] == nil {
		return s.transport.Malformed("it is no service document")
	}
	return nil
}

// roots are the services of the connection's tables, in order.
func (s *SAP) roots() []string {
	var list []string
	for name := range s.config.Tables {
		t, err := s.config.Table(name)
		if err != nil {
			continue
		}
		if root, _, ok := s.place(t); ok && !slices.Contains(list, root) {
			list = append(list, root)
		}
	}
	slices.Sort(list)
	return list
}

// place splits the path of a table into the root of its service, without a slash at
// its end, and its entity set.
func (s *SAP) place(t connector.Table) (root, set string, ok bool) {
	path := t.Path
	if !strings.HasPrefix(path, "/") {
		path = s.root + path
	}
	cut := strings.LastIndexByte(path, '/')
	root, set = path[:cut], path[cut+1:]
	return root, set, len(root) > 1 && (connector.Table{Name: t.Name}).Check(set) == nil && !strings.ContainsAny(path, "?#% ") && !strings.Contains(path, "//") && !strings.Contains(path, "..")
}

// query joins the parts of a query that are not empty with what every request bears.
func (s *SAP) query(parts ...string) string {
	var b strings.Builder
	for _, p := range append(parts, s.common) {
		if p == "" {
			continue
		}
		if b.Len() == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(p)
	}
	return b.String()
}
