package flowfile

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Connections are the systems of one directory.
type Connections struct {
	File string
	List []flow.Connection // in the order of the file

	Peers  []flow.Peer // of the section regions, in the order of the file
	Alerts flow.Alerting

	at map[string]at
}

// At is where a connection is declared; 1, 1 for an unknown one.
func (c *Connections) At(name string) (line, col int) {
	p := c.at[name]
	return max(p.line, 1), max(p.col, 1)
}

// ParseConnections reads connections.yaml. Every problem is reported. What could
// be read is returned even so, so that flows can be checked against it.
func ParseConnections(f File) (*Connections, []Diagnostic) {
	out := &Connections{File: f.Name, at: map[string]at{}}
	r, root := open(f)
	if root == nil {
		return out, r.diags
	}
	var doc connectionsDoc
	r.read(root, field{into: &doc})
	for _, e := range doc.connections.entries {
		out.List = append(out.List, r.connection(e))
		out.at[e.key] = e.keyAt
	}
	for _, e := range doc.regions.entries {
		out.Peers = append(out.Peers, flow.Peer{Region: e.key, Egress: e.value.egress.value})
	}
	out.Alerts = r.alerts(&doc.alerts, out.List)
	Sort(r.diags)
	return out, r.diags
}

func (r *reader) connection(e entry[connectionDoc]) flow.Connection {
	d := e.value
	c := flow.Connection{
		Name: e.key, System: d.system.value, Region: d.region.value, URL: d.url.value,
		Auth: flow.Auth{
			Kind: d.auth.kind.value, TokenURL: d.auth.tokenURL.value, ClientID: d.auth.clientID.value, ClientSecret: d.auth.clientSecret.value,
			Scope: d.auth.scope.value, Username: d.auth.username.value, Password: d.auth.password.value, Expires: d.auth.expires.value,
		},
		Limits: flow.ConnectionLimits{
			PerSecond: d.limits.perSecond.value, Burst: int(d.limits.burst.value), Concurrent: int(d.limits.concurrent.value),
			Timeout: d.limits.timeout.value, MaxBytes: d.limits.maxBytes.value,
		},
		SettleAfter: d.settle.value,
		Tables:      map[string]flow.Table{},
	}
	if name := c.Region; name != "" && !regionNames.pattern.MatchString(name) {
		r.add(d.region.at, CodeID, fmt.Sprintf("%q is no name of a region", clip(name)), "use "+regionNames.what)
	}
	r.auth(&d.auth, e.key)
	r.scheme(d)
	c.Hook = r.hook(&d.hook, e.key)
	c.Quotas = r.quotas(d.quotas.items, e.key)
	c.Budget = r.budget(&d.budget)
	if t := d.limits.timeout; t.ok && (t.value <= 0 || t.value > maxTimeout) {
		r.add(t.at, CodeTimeout, fmt.Sprintf("the timeout of %s is zero or longer than 24h", e.key), "write a duration such as 10s")
	}
	if s := d.settle; s.ok && s.value > maxTimeout {
		r.add(s.at, CodeTimeout, fmt.Sprintf("settle_after of %s is longer than 24h", e.key), "write a duration such as 5m")
	}
	for _, o := range d.options.entries {
		if c.Options == nil {
			c.Options = map[string]string{}
		}
		c.Options[o.key] = o.value.value
	}
	for _, t := range d.tables.entries {
		c.Tables[t.key] = r.table(t)
		r.priced(&c, t)
	}
	switch {
	case c.System == mailSystem && !d.tables.given():
		c.Tables[messageTable] = messages()
	case c.System != "" && !d.tables.given():
		r.add(d.at, CodeRequired, fmt.Sprintf("connections.%s.tables is missing", e.key), "add tables: with what flows use of the system")
	}
	return c
}

// scheme checks that a database or a mail server is reached as one, and nothing
// else is.
func (r *reader) scheme(d *connectionDoc) {
	url := d.url.value
	if !strings.Contains(url, "://") || strings.HasPrefix(url, "${") {
		return
	}
	own := schemes[d.system.value]
	if len(own) == 0 {
		own = []string{"https://", "http://"}
	}
	if slices.ContainsFunc(own, func(s string) bool { return strings.HasPrefix(url, s) }) {
		return
	}
	fix := map[string]string{mailboxSystem: "write imaps://HOST:993, or imap://HOST:143", "postgres": "write postgres://HOST:PORT/DATABASE", "smtp": "write smtp://HOST:587, or smtps://HOST:465"}[d.system.value]
	if fix == "" {
		fix = "write https://HOST"
	}
	r.add(d.url.at, CodeURL, "url is not one of the system "+d.system.value, fix)
}

// auth checks that each kind has what it needs.
func (r *reader) auth(d *authDoc, connection string) {
	need := func(name string, p at, given bool) {
		if !given && !p.given() {
			r.add(d.at, CodeRequired, fmt.Sprintf("the connection %s signs in by %s, and auth.%s is missing", connection, d.kind.value, name), "add "+name)
		}
	}
	switch d.kind.value {
	case "oauth2":
		need("token_url", d.tokenURL.at, d.tokenURL.value != "")
		need("client_id", d.clientID.at, d.clientID.value != "")
		need("client_secret", d.clientSecret.at, d.clientSecret.value != "")
	case "basic":
		need("username", d.username.at, d.username.value != "")
		need("password", d.password.at, d.password.value != "")
	}
}

func (r *reader) table(e entry[tableDoc]) flow.Table {
	d := e.value
	t := flow.Table{Name: e.key, Path: d.path.value}
	t.Columns = columnTypes(d.columns)
	for _, key := range d.keys.items {
		var columns []string
		for _, c := range key.items {
			if c.value == "" {
				continue
			}
			r.knownColumn(c.at, c.value, "keys", t)
			columns = append(columns, c.value)
		}
		if len(columns) > 0 {
			t.Keys = append(t.Keys, columns)
		}
	}
	for _, w := range d.where.entries {
		r.knownColumn(w.keyAt, w.key, "where", t)
		if t.Where == nil {
			t.Where = map[string]string{}
		}
		t.Where[w.key] = w.value.value
	}
	for _, x := range d.refers.entries {
		r.knownColumn(x.keyAt, x.key, "refers", t)
		if t.Refers == nil {
			t.Refers = map[string]string{}
		}
		t.Refers[x.key] = x.value.value
	}
	t.Restricted = r.columnsOf(d.restricted, "restricted", t)
	t.Prose = r.columnsOf(d.prose, "prose", t)
	for _, child := range d.children.entries {
		if t.Children == nil {
			t.Children = map[string]map[string]flow.Type{}
		}
		t.Children[child.key] = columnTypes(*child.value)
	}
	for _, x := range d.expand.entries {
		if t.Expand == nil {
			t.Expand = map[string]string{}
		}
		t.Expand[x.key] = x.value.value
	}
	return t
}

func (r *reader) columnsOf(columns list[column, *column], in string, t flow.Table) []string {
	var out []string
	for _, c := range columns.items {
		if c.value != "" {
			r.knownColumn(c.at, c.value, in, t)
			out = append(out, c.value)
		}
	}
	return out
}

func (r *reader) knownColumn(p at, name, in string, t flow.Table) {
	if _, ok := t.Columns[name]; ok || len(t.Columns) == 0 {
		return
	}
	known := make([]string, 0, len(t.Columns))
	for column := range t.Columns {
		known = append(known, column)
	}
	fix := "add it to columns"
	if near := fault.Closest(name, known); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	r.add(p, CodeUnknownColumn, fmt.Sprintf("%s: the table %s has no column %q", in, t.Name, clip(name)), fix)
}

func columnTypes(d dict[word, *word]) map[string]flow.Type {
	if len(d.entries) == 0 {
		return nil
	}
	out := make(map[string]flow.Type, len(d.entries))
	for _, e := range d.entries {
		if slices.Contains(columnKinds, e.value.value) {
			out[e.key] = flow.Type(e.value.value)
		} else {
			out[e.key] = flow.Any // what it says has been reported; the column exists
		}
	}
	return out
}
