package sap

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// tokenPath is where an AS ABAP gives OAuth tokens.
const tokenPath = "/sap/bc/sec/oauth2/token"

// System is the stand-in; it holds no rows of its own.
type System struct {
	authority *login.Authority
	store     storage.Store // of what is sent after its call
	speed     float64
	key       []byte // seals sessions
}

// New returns the stand-in; authority tells who a caller is, speed shortens sessions.
func New(authority *login.Authority, store storage.Store, seed uint64, speed float64) *System {
	key := sha256.Sum256(fmt.Appendf(nil, "sandbox session key %d", seed))
	return &System{authority: authority, store: store, speed: speed, key: key[:]}
}

// Admit accepts Basic and Bearer for the one client there is; the token endpoint is
// open.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if c.Path == tokenPath {
		return nil, nil
	}
	query, err := url.ParseQuery(c.RawQuery)
	user, bad := s.authority.Check(c.Header.Get("Authorization"), true)
	if mandant := query.Get("sap-client"); bad != nil || err != nil || mandant != "" && mandant != client {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	return nil, nil
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	if c.Path == tokenPath {
		reply := s.authority.Serve(login.Request{Method: c.Method, Path: "/oauth2/v1/token", Base: c.Base, Header: c.Header, Body: c.Body})
		return exchange.Answer{Status: reply.Status, Body: reply.Body.Bytes(),
			Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}}, nil
	}
	sv, rest := find(c.Path)
	if sv == nil {
		return (&problem{status: http.StatusNotFound, code: "/IWFND/MED/170", text: "No service found for namespace '', name '" + lastOf(c.Path) + "', version '0001'"}).answer(c, nil), nil
	}
	if !c.User.Roles {
		return (&problem{status: http.StatusForbidden, code: "/IWFND/CM_CONSUMER/101", text: "No authorization to access service '" + sv.Name + "'"}).answer(c, sv), nil
	}
	reads := c.Method == http.MethodGet || c.Method == http.MethodHead
	if !reads && !s.holds(c) {
		return required(), nil
	}
	answer, err := s.dispatch(ctx, tx, c, sv, rest)
	if err != nil {
		if answer, err = told(c, sv, err); err != nil {
			return exchange.Answer{}, err
		}
	}
	if reads && strings.EqualFold(c.Header.Get(tokenHeader), "fetch") {
		if answer.Header == nil {
			answer.Header = http.Header{}
		}
		s.open(c, answer.Header)
	}
	return answer, nil
}

func lastOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return parts[min(4, len(parts)-1)]
}

// dispatch finds out what a path means and does what the method says.
func (s *System) dispatch(ctx context.Context, tx storage.Tx, c *exchange.Call, sv *service, rest string) (exchange.Answer, error) {
	method := c.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if override := c.Header.Get("X-Http-Method"); override != "" && method == http.MethodPost {
		method = strings.ToUpper(override)
	}
	switch {
	case rest == "" && method == http.MethodGet:
		return exchange.Answer{Status: http.StatusMovedPermanently, Header: http.Header{"Location": {c.Base + sv.Root + "/"}}}, nil
	case rest == "/" && method == http.MethodGet:
		return sv.document(), nil
	case rest == "/$metadata" && method == http.MethodGet:
		return sv.metadata(), nil
	case rest == "/$batch" && method == http.MethodPost:
		return s.batch(ctx, tx, c, sv)
	}
	if !sv.V4 && !wantsJSON(c) && !strings.HasSuffix(rest, "/$value") {
		return exchange.Answer{}, &problem{status: http.StatusNotAcceptable, code: codeOption, text: "This stand-in writes JSON only; ask for it."}
	}
	path, err := segments(rest)
	if err != nil {
		return exchange.Answer{}, err
	}
	w := &work{rendering: rendering{s: sv, tx: tx, base: c.Base + sv.Root, asText: strings.Contains(c.Header.Get("Accept"), "IEEE754Compatible=true")}, call: c, method: method}
	if sv.Name == attachmentService {
		return w.attachments(ctx, s, path)
	}
	return w.follow(ctx, path)
}

// work is one call of an entity set, or of what is below one.
type work struct {
	rendering
	call   *exchange.Call
	method string
}

// follow walks a path: Set, Set(key), Set(key)/navigation, each with /$count.
func (w *work) follow(ctx context.Context, path []segment) (exchange.Answer, error) {
	first := path[0]
	e := w.s.set(first.name)
	if e == nil {
		return exchange.Answer{}, notFound(first.name)
	}
	var within storage.Expr
	one := false
	if first.keyed {
		key, err := w.s.key(e, first.key)
		if err != nil {
			return exchange.Answer{}, err
		}
		within, one = e.Table.Key(key), true
	}
	for _, step := range path[1:] {
		n, ok := e.navigation(step.name)
		switch {
		case step.name == "$count" && !one && w.method == http.MethodGet:
			return w.count(ctx, e, within)
		case !ok || !one:
			return exchange.Answer{}, notFound(step.name)
		}
		row, err := w.row(ctx, e, within, false)
		if err != nil {
			return exchange.Answer{}, err
		}
		all := storage.And{}
		for i, own := range n.Own {
			all = append(all, storage.Compare{Column: n.Their[i], Op: storage.Eq, Value: row[own]})
		}
		e, one = w.s.set(n.To), !n.Many
		if step.keyed {
			key, err := w.s.key(e, step.key)
			if err != nil {
				return exchange.Answer{}, err
			}
			all, one = append(all, e.Table.Key(key)), true
		}
		within = all
	}
	return w.act(ctx, e, within, one)
}

func (w *work) act(ctx context.Context, e *entity, within storage.Expr, one bool) (exchange.Answer, error) {
	switch {
	case w.method == http.MethodGet && one:
		return w.single(ctx, e, within)
	case w.method == http.MethodGet:
		return w.list(ctx, e, within)
	case w.method == http.MethodPost && !one && within == nil && e.Creates:
		return w.create(ctx, e)
	case (w.method == http.MethodPatch || w.method == "MERGE" || w.method == http.MethodPut) && one && e.Updates:
		return w.update(ctx, e, within)
	case w.method == http.MethodDelete && one && e.Deletes:
		return w.remove(ctx, e, within)
	}
	return exchange.Answer{}, &problem{status: http.StatusMethodNotAllowed, code: "/IWBEP/CM_MGW_RT/021", text: "Method '" + w.method + "' not implemented in data provider class."}
}

func (w *work) row(ctx context.Context, e *entity, within storage.Expr, lock bool) (storage.Row, error) {
	row, err := storage.First(ctx, w.tx, e.Table, within, lock)
	if err != nil {
		return nil, fmt.Errorf("reading one row: %w", err)
	}
	if row == nil {
		return nil, notFound(e.Type)
	}
	return row, nil
}

func (w *work) single(ctx context.Context, e *entity, within storage.Expr) (exchange.Answer, error) {
	q, err := w.s.parseQuery(e, w.call.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	row, err := w.row(ctx, e, within, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	return w.shownRow(ctx, e, row, &q.view, http.StatusOK)
}

// shownRow is the answer that shows one row.
func (w *work) shownRow(ctx context.Context, e *entity, row storage.Row, v *view, status int) (exchange.Answer, error) {
	objects, err := w.rows(ctx, e, []storage.Row{row}, v)
	if err != nil {
		return exchange.Answer{}, err
	}
	body := objects[0]
	if w.s.V4 {
		body.First("@odata.context", "$metadata#"+e.Set+"/$entity")
	} else {
		body = ordered.New("d", body)
	}
	answer := w.s.ok(body)
	answer.Status = status
	if tag := w.s.tag(e, row); tag != "" {
		answer.Header.Set("ETag", tag)
	}
	if status == http.StatusCreated {
		answer.Header.Set("Location", w.base+"/"+w.s.address(e, row))
	}
	return answer, nil
}

func (w *work) count(ctx context.Context, e *entity, within storage.Expr) (exchange.Answer, error) {
	q, err := w.s.parseQuery(e, w.call.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	n, err := w.tx.Count(ctx, e.Table, both(within, q.where))
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("counting: %w", err)
	}
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain;charset=utf-8"}}, Body: []byte(strconv.Itoa(n))}, nil
}

func both(a, b storage.Expr) storage.Expr {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return storage.And{a, b}
}

// list answers a page. Sets that page by themselves end it with a link; so does every
// set for a caller whose pages a fault makes shorter.
func (w *work) list(ctx context.Context, e *entity, within storage.Expr) (exchange.Answer, error) {
	q, err := w.s.parseQuery(e, w.call.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	where := both(within, q.where)
	left := -1 // of $top
	if q.top >= 0 {
		left = max(q.top-q.from, 0)
	}
	limit := left
	if e.Page > 0 && (limit < 0 || limit > e.Page) {
		limit = e.Page
	}
	var rows []storage.Row
	if limit != 0 {
		ask := 0
		if limit > 0 {
			ask = limit + 1
		}
		if rows, err = w.tx.Find(ctx, e.Table, storage.Query{Where: where, Order: q.order, Limit: ask, Offset: q.skip + q.from}); err != nil {
			return exchange.Answer{}, fmt.Errorf("reading a page: %w", err)
		}
	}
	shown := len(rows)
	if limit >= 0 {
		shown = min(shown, limit)
	}
	if w.call.Short && shown > 1 {
		shown = (shown + 1) / 2
	}
	more := len(rows) > shown && (left < 0 || shown < left)
	if w.call.Repeats && shown > 0 {
		more = true
		q.from -= shown // the link leads here again
	}
	objects, err := w.rows(ctx, e, rows[:shown], &q.view)
	if err != nil {
		return exchange.Answer{}, err
	}
	total := -1
	if q.counts {
		if total, err = w.tx.Count(ctx, e.Table, where); err != nil {
			return exchange.Answer{}, fmt.Errorf("counting: %w", err)
		}
	}
	return w.s.ok(w.page(e, q, objects, total, more)), nil
}

func (w *work) page(e *entity, q *query, objects []*ordered.Object, total int, more bool) *ordered.Object {
	next := ""
	if more {
		values := url.Values{}
		for name, v := range q.raw {
			values[name] = v
		}
		values.Set("$skiptoken", strconv.Itoa(q.from+len(objects)))
		next = "?" + strings.ReplaceAll(strings.ReplaceAll(values.Encode(), "+", "%20"), "%24", "$")
	}
	path := strings.TrimPrefix(w.call.RawPath, w.s.Root+"/")
	if w.s.V4 {
		body := ordered.New("@odata.context", "$metadata#"+e.Set)
		if total >= 0 {
			body.Set("@odata.count", total)
		}
		body.Set("value", objects)
		if more {
			body.Set("@odata.nextLink", path+next)
		}
		return body
	}
	d := ordered.New()
	if total >= 0 {
		d.Set("__count", strconv.Itoa(total))
	}
	d.Set("results", objects)
	if more {
		d.Set("__next", w.base+"/"+path+next)
	}
	return ordered.New("d", d)
}

// unique tells a key that exists from other failures of the store.
func unique(err error, e *entity, field string) error {
	if errors.Is(err, storage.ErrUnique) {
		return business("R1/102", field, "%s with this key already exists", e.Label)
	}
	return fmt.Errorf("writing %s: %w", e.Set, err)
}
