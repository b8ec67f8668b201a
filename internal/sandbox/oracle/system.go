package oracle

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

type (
	// System is the stand-in; it holds no rows of its own.
	System struct {
		authority *login.Authority
		store     storage.Store // of what is sent after its call
	}

	// place is what a path means: rows of res, one row when id is set.
	place struct {
		res    *resource
		id     string
		parent *located
		href   string // of the collection
		rest   string // "enclosure/…", "describe" or empty
	}
)

const (
	root         = "/fscmRestApi/resources/"
	itemType     = "application/vnd.oracle.adf.resourceitem+json"
	listType     = "application/vnd.oracle.adf.resourcecollection+json"
	describeType = "application/vnd.oracle.adf.description+json"
	batchType    = "application/vnd.oracle.adf.batch+json"
	upsertMode   = "Upsert-Mode"
)

// New returns the stand-in; authority tells who a caller is.
func New(authority *login.Authority, store storage.Store) *System { return &System{authority, store} }

// Admit accepts Basic and Bearer; the token endpoint is open.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if strings.HasPrefix(c.Path, "/oauth2/") {
		return nil, nil
	}
	user, err := s.authority.Check(c.Header.Get("Authorization"), true)
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	return nil, nil
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	if strings.HasPrefix(c.Path, "/oauth2/") {
		reply := s.authority.Serve(login.Request{Method: c.Method, Path: c.Path, Base: c.Base, Header: c.Header, Body: c.Body})
		return exchange.Answer{Status: reply.Status, Body: reply.Body.Bytes(),
			Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}}, nil
	}
	answer, err := s.dispatch(ctx, tx, c)
	if err != nil {
		return told(c, err)
	}
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	answer.Header.Set("REST-Framework-Version", strconv.Itoa(frameworkVersion(c.Header)))
	if strings.Contains(strings.ReplaceAll(c.Header.Get("Accept"), " ", ""), "resourceitem+json;q=0") && answer.Status < 300 {
		answer.Body = nil // the documented way to do without the echo of a write
	}
	return answer, nil
}

func (s *System) dispatch(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	if _, err := readVersion(c.Header); err != nil {
		return exchange.Answer{}, err
	}
	if !acceptsJSON(c.Header) {
		return exchange.Answer{}, &problem{status: http.StatusNotAcceptable, detail: "The requested media type is not supported."}
	}
	query, err := url.ParseQuery(c.RawQuery)
	if err != nil {
		if query, err = looseQuery(c.RawQuery); err != nil {
			return exchange.Answer{}, invalid("", "", "The query of the URL cannot be read.")
		}
	}
	version, rest, ok := strings.Cut(strings.TrimPrefix(c.Path, root), "/")
	if !strings.HasPrefix(c.Path, root) || version != "11.13.18.05" && version != "latest" {
		return exchange.Answer{}, notFound()
	}
	base := c.Base + root + version
	method := c.Method
	if override := c.Header.Get("X-HTTP-Method-Override"); override != "" && method == http.MethodPost {
		method = strings.ToUpper(override)
	}
	rest = strings.Trim(rest, "/")
	switch {
	case method == http.MethodPost && strings.HasPrefix(c.Header.Get("Content-Type"), batchType):
		return s.batch(ctx, tx, c, base)
	case rest == "" || !ok:
		return exchange.Answer{}, notFound()
	case rest == "describe":
		return s.describe(base, resources), nil
	}
	p, err := s.locate(ctx, tx, c, base, rest)
	if err != nil {
		return exchange.Answer{}, err
	}
	return s.act(ctx, tx, c, p, method, query)
}

// looseQuery accepts a semicolon inside a value, which q and finder need and
// net/url refuses.
func looseQuery(raw string) (url.Values, error) {
	values := url.Values{}
	for _, pair := range strings.Split(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, fmt.Errorf("reading the query: %w", err)
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("reading the query: %w", err)
		}
		values.Add(n, v)
	}
	return values, nil
}

// locate walks a path down from the top; every row on the way must exist.
func (s *System) locate(ctx context.Context, tx storage.Tx, c *exchange.Call, base, rest string) (place, error) {
	parts := strings.Split(rest, "/")
	p := place{href: base + "/" + parts[0]}
	for _, r := range resources {
		if r.Name == parts[0] {
			p.res = r
		}
	}
	if p.res == nil {
		return place{}, notFound()
	}
	parts = parts[1:]
	for len(parts) > 0 {
		if parts[0] == "describe" && len(parts) == 1 {
			p.rest = "describe"
			return p, nil
		}
		p.id = parts[0]
		switch parts = parts[1:]; {
		case len(parts) == 0:
			return p, nil
		case parts[0] == "child" && len(parts) >= 2:
			child := p.res.child(parts[1])
			row, err := s.row(ctx, tx, c, p, false)
			if err != nil {
				return place{}, err
			}
			if child == nil {
				return place{}, notFound()
			}
			href := p.href + "/" + p.id
			p = place{res: child, parent: &located{row, href}, href: href + "/child/" + child.Name}
			parts = parts[2:]
		case parts[0] == "enclosure" || parts[0] == "describe":
			p.rest = strings.Join(parts, "/")
			return p, nil
		default:
			return place{}, notFound()
		}
	}
	return p, nil
}

// row reads the row a place names; a user without roles sees none.
func (s *System) row(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, lock bool) (storage.Row, error) {
	key, ok := keyOfID(p.res, p.id)
	if !ok || !c.User.Roles {
		return nil, notFound()
	}
	where := storage.And{p.res.Table.Key(key)}
	if p.parent != nil {
		where = append(where, below(p.res, []located{*p.parent}))
	}
	row, err := storage.First(ctx, tx, p.res.Table, where, lock)
	if err != nil {
		return nil, fmt.Errorf("reading one row: %w", err)
	}
	if row == nil {
		return nil, notFound()
	}
	return row, nil
}

func (s *System) act(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, method string, query url.Values) (exchange.Answer, error) {
	reads := method == http.MethodGet || method == http.MethodHead
	switch {
	case strings.HasSuffix(p.rest, "describe") && reads:
		return s.describe(p.href, []*resource{p.res}), nil
	case strings.HasPrefix(p.rest, "enclosure/"):
		return s.enclosure(ctx, tx, c, p, method)
	case p.id == "" && reads:
		return s.list(ctx, tx, c, p, query)
	case p.id != "" && reads:
		return s.one(ctx, tx, c, p, query)
	case p.res.ReadOnly:
		return exchange.Answer{}, &problem{status: http.StatusBadRequest, detail: "Invalid operation " + verb(method) + " for the specified resource."}
	case p.id == "" && method == http.MethodPost:
		return s.create(ctx, tx, c, p, query)
	case p.id != "" && method == http.MethodPatch:
		return s.update(ctx, tx, c, p, query)
	case p.id != "" && method == http.MethodDelete:
		return s.remove(ctx, tx, c, p)
	default:
		return exchange.Answer{}, &problem{status: http.StatusMethodNotAllowed, detail: "Invalid operation " + verb(method) + " for the specified resource."}
	}
}

func verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPatch:
		return "update"
	case http.MethodDelete:
		return "delete"
	default:
		return strings.ToLower(method)
	}
}

func (s *System) list(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, query url.Values) (exchange.Answer, error) {
	v, err := readView(p.res, c.Header, query)
	if err != nil {
		return exchange.Answer{}, err
	}
	pg, err := readPage(p.res, v.version, query)
	if err != nil {
		return exchange.Answer{}, err
	}
	if p.parent != nil {
		pg.where = storage.And{pg.where, below(p.res, []located{*p.parent})}
	}
	if !c.User.Roles {
		pg.where = storage.Or{}
	}
	rows, err := tx.Find(ctx, p.res.Table, storage.Query{Where: pg.where, Order: pg.order, Limit: pg.limit + 1, Offset: pg.offset, Omit: heavy(p.res)})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading a page: %w", err)
	}
	total := -1
	if pg.total {
		if total, err = tx.Count(ctx, p.res.Table, pg.where); err != nil {
			return exchange.Answer{}, fmt.Errorf("counting: %w", err)
		}
	}
	more, n := len(rows) > pg.limit, min(len(rows), pg.limit)
	if c.Short && n > 0 {
		// Fewer rows than the limit, and a hasMore that may not be true: a reader
		// that counts what it got, and stops at an empty page, still sees every row once.
		more, n = true, (n+1)/2
	}
	shown := make([]located, n)
	for i := range shown {
		shown[i] = located{rows[i], p.href + "/" + idOf(p.res, rows[i])}
	}
	objects, err := s.render(ctx, tx, p.res, shown, v, "")
	if err != nil {
		return exchange.Answer{}, err
	}
	body := v.collection(p.res, objects, pg, more, total, p.href)
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {listType}}, Body: body.Bytes()}, nil
}

func (s *System) one(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, query url.Values) (exchange.Answer, error) {
	row, err := s.row(ctx, tx, c, p, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	if match := c.Header.Get("If-None-Match"); match != "" && tagMatches(match, row) {
		return exchange.Answer{Status: http.StatusNotModified, Header: http.Header{"Etag": {tagOf(row)}}}, nil
	}
	return s.item(ctx, tx, c, p, row, http.StatusOK, query)
}

// item is the answer that shows one row.
func (s *System) item(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, row storage.Row, status int, query url.Values) (exchange.Answer, error) {
	v, err := readView(p.res, c.Header, query)
	if err != nil {
		return exchange.Answer{}, err
	}
	href := p.href + "/" + idOf(p.res, row)
	objects, err := s.render(ctx, tx, p.res, []located{{row, href}}, v, "")
	if err != nil {
		return exchange.Answer{}, err
	}
	header := http.Header{"Content-Type": {itemType}, "Etag": {tagOf(row)}}
	if status == http.StatusCreated {
		header.Set("Location", href)
	}
	return exchange.Answer{Status: status, Header: header, Body: objects[0].Bytes()}, nil
}

func tagOf(row storage.Row) string { return `"` + indicator(row) + `"` }

// tagMatches compares with a list of tags, quoted or as the change indicator
// gives them.
func tagMatches(list string, row storage.Row) bool {
	for _, tag := range strings.Split(list, ",") {
		tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		if tag == "*" || tag == indicator(row) {
			return true
		}
	}
	return false
}

func (s *System) enclosure(ctx context.Context, tx storage.Tx, c *exchange.Call, p place, method string) (exchange.Answer, error) {
	if p.res.Enclosure == "" || p.rest != "enclosure/"+p.res.Enclosure || method != http.MethodGet {
		return exchange.Answer{}, notFound()
	}
	row, err := s.row(ctx, tx, c, p, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	kind, _ := row["UploadedFileContentType"].(string)
	if kind == "" {
		kind = "application/octet-stream"
	}
	if blob, _ := row[blobColumn].(string); blob != "" {
		size, _ := row["UploadedFileLength"].(int64)
		return exchange.Answer{Status: http.StatusOK, Size: size, Header: http.Header{"Content-Type": {kind}}, Stream: func(ctx context.Context, to io.Writer) error {
			return chunks.Send(ctx, s.store, blob, 0, size, to)
		}}, nil
	}
	bytes, ok := row[p.res.Enclosure].([]byte)
	if !ok {
		return exchange.Answer{}, notFound()
	}
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: bytes}, nil
}

// describe is the catalogue of resources with their attributes and children.
func (s *System) describe(href string, list []*resource) exchange.Answer {
	all := ordered.New()
	for _, r := range list {
		all.Set(r.Name, description(r, href))
	}
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {describeType}},
		Body: ordered.New("Resources", all).Bytes()}
}
