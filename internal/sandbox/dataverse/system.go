package dataverse

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

type (
	// System is the stand-in for one environment.
	System struct {
		env       *Environment
		authority *login.Authority
		limits    *limits // nil in the lean sandbox
		versions  *versions
		hooks     *hooks
		speed     float64
	}

	// request is one operation: a call, or a part of a batch.
	request struct {
		*exchange.Call
		prefer   preferences
		service  string
		segments []string
		// references are the rows that earlier parts of a change set made.
		references map[string]string
		shared     string // correlation id, once one is made
	}
)

// servicePath begins every address of the Web API.
var servicePath = regexp.MustCompile(`^/api/data/v9\.[0-2]`)

// New returns the stand-in of an environment, which drew its latest version number
// before. Lean leaves the limits out. Webhooks go to this machine and to hosts.
func New(env *Environment, authority *login.Authority, speed float64, lean bool, drawn int64, hosts []string) *System {
	s := &System{env: env, authority: authority, versions: newVersions(drawn), hooks: newHooks(hosts), speed: speed}
	if !lean {
		s.limits = newLimits(speed)
	}
	return s
}

// Admit asks for a bearer token, membership and room under the limits.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	user, err := s.user(c.Header.Get("Authorization"))
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	if !user.Member {
		refusal := s.Refuse(c, http.StatusForbidden)
		return &refusal, nil
	}
	if s.limits == nil {
		return nil, s.writing(c)
	}
	if b, after := s.limits.enter(user.ClientID); b != none {
		refusal := tooMany(b).answer(c)
		refusal.Header.Set("Retry-After", seconds(after))
		return &refusal, nil
	}
	started, written := time.Now(), s.writing(c)
	return nil, func() {
		s.limits.leave(user.ClientID, time.Since(started))
		if written != nil {
			written()
		}
	}
}

// user is who calls. A regional organisation knows its own users only.
func (s *System) user(header string) (*login.User, error) {
	if s.env.regional {
		return s.authority.CheckAt(header, s.env.Name)
	}
	return s.authority.Check(header, false)
}

// writing announces a call that may write; what it returns, when not nil, is called
// once the effect is committed or given up.
func (s *System) writing(c *exchange.Call) func() {
	if c.Method == http.MethodGet || c.Method == http.MethodHead {
		return nil
	}
	done := s.versions.begin()
	registers := strings.Contains(c.Path, "sdkmessage") || strings.Contains(c.Path, "serviceendpoint") || strings.HasSuffix(c.Path, "/$batch")
	return func() {
		done()
		if registers {
			s.hooks.forget()
		}
		s.hooks.stir()
	}
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	answer, err := s.serve(ctx, tx, c, nil)
	if err != nil {
		return exchange.Answer{}, err
	}
	if s.limits != nil {
		for name, v := range s.limits.remaining(c.User.ClientID) {
			answer.Header[name] = v
		}
	}
	return answer, nil
}

// serve answers a call or a part of a batch; a refusal is an answer, not an
// error.
func (s *System) serve(ctx context.Context, tx storage.Tx, c *exchange.Call, references map[string]string) (exchange.Answer, error) {
	r := &request{Call: c, prefer: readPreferences(c.Header), references: references}
	version := servicePath.FindString(c.Path)
	var answer exchange.Answer
	var err error
	switch rest := strings.TrimPrefix(c.Path, version); {
	case version == "":
		err = noSegment(strings.TrimPrefix(c.Path, "/"))
	case dangerous(rest) != "":
		return exchange.Answer{Status: http.StatusBadRequest, Header: http.Header{"Content-Type": {"text/html"}, "Odata-Version": {"4.0"}},
			Body: []byte("A potentially dangerous Request.Path value was detected from the client (" + dangerous(rest) + ").")}, nil
	default:
		r.service = c.Base + version
		r.segments = segments(strings.Trim(rest, "/"))
		answer, err = s.dispatch(ctx, tx, r)
	}
	if err != nil {
		if answer, err = told(c, err); err != nil {
			return exchange.Answer{}, err
		}
	}
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	answer.Header.Set("OData-Version", "4.0")
	answer.Header.Set("X-Ms-Service-Request-Id", newGUID())
	if len(r.prefer.applied) > 0 && answer.Status < 300 {
		answer.Header.Set("Preference-Applied", strings.Join(r.prefer.applied, ", "))
	}
	return answer, nil
}

// dangerous is the first character of a path that the web server in front of
// Dataverse refuses; alternate keys with such a value cannot be addressed.
func dangerous(path string) string {
	if i := strings.IndexAny(path, `<>*%&:\?+`); i >= 0 {
		return path[i : i+1]
	}
	if i := strings.IndexByte(path, '('); i >= 0 {
		if end := strings.LastIndexByte(path, ')'); end > i && strings.ContainsRune(quotedIn(path[i:end]), '/') {
			return "/"
		}
	}
	return ""
}

// quotedIn is what stands inside the quotes of s.
func quotedIn(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			b.WriteString(part)
		}
	}
	return b.String()
}

func (s *System) dispatch(ctx context.Context, tx storage.Tx, r *request) (exchange.Answer, error) {
	first := r.segments[0]
	switch {
	case first == "$batch":
		return s.batch(ctx, tx, r)
	case first == "":
		return s.serviceDocument(r), nil
	case first == "$metadata":
		return s.metadata(), nil
	case first == "WhoAmI" || first == "WhoAmI()":
		return s.whoAmI(r)
	case first == "RetrieveVersion" || first == "RetrieveVersion()":
		return reply(http.StatusOK, ordered.New("@odata.context", r.service+"/$metadata#Microsoft.Dynamics.CRM.RetrieveVersionResponse", "Version", "9.2.25104.00182")), nil
	case strings.HasPrefix(first, "EntityDefinitions"):
		return s.definitions(ctx, tx, r)
	case first == "Merge":
		return s.merge(ctx, tx, r)
	case first == "CloseIncident":
		return s.closeIncident(ctx, tx, r)
	}
	set, key, keyed := splitKey(first)
	t := s.env.bySet[set]
	if t == nil {
		return exchange.Answer{}, noSegment(set)
	}
	if !keyed {
		return s.onSet(ctx, tx, r, t)
	}
	at, err := t.parseAddress(key)
	if err != nil {
		return exchange.Answer{}, err
	}
	if len(r.segments) > 1 {
		return s.below(ctx, tx, r, t, at)
	}
	switch r.Method {
	case http.MethodGet:
		return s.retrieve(ctx, tx, r, t, at)
	case http.MethodPatch:
		return s.upsert(ctx, tx, r, t, at)
	case http.MethodDelete:
		return s.remove(ctx, tx, r, t, at)
	default:
		return exchange.Answer{}, wrongVerb(r)
	}
}

func wrongVerb(r *request) *problem {
	return refuse(http.StatusMethodNotAllowed, "0x8006088a", "The requested resource does not support http method '%s'.", r.Method)
}

func reply(status int, body *ordered.Object) exchange.Answer {
	return exchange.Answer{Status: status, Header: http.Header{"Content-Type": {jsonType}}, Body: body.Bytes()}
}

func (s *System) onSet(ctx context.Context, tx storage.Tx, r *request, t *Table) (exchange.Answer, error) {
	if len(r.segments) == 1 {
		switch r.Method {
		case http.MethodGet:
			return s.list(ctx, tx, r, t, nil)
		case http.MethodPost:
			return s.create(ctx, tx, r, t)
		default:
			return exchange.Answer{}, wrongVerb(r)
		}
	}
	action, bound := strings.CutPrefix(r.segments[1], "Microsoft.Dynamics.CRM.")
	switch {
	case r.segments[1] == "$count" && r.Method == http.MethodGet:
		return s.countOnly(ctx, tx, r, t, nil)
	case bound && r.Method == http.MethodPost:
		return s.bulk(ctx, tx, r, t, action)
	case bound:
		return exchange.Answer{}, &problem{status: http.StatusNotFound, message: "No HTTP resource was found that matches the request URI '" + r.Base + r.Path + "'."}
	default:
		return exchange.Answer{}, noSegment(r.segments[1])
	}
}

func (s *System) renderer(tx storage.Tx, r *request) *renderer {
	return &renderer{System: s, tx: tx, service: r.service, annotations: r.prefer.annotations, asked: r.prefer.asked}
}

// list answers a page of a set, or of a collection below a row.
func (s *System) list(ctx context.Context, tx storage.Tx, r *request, t *Table, within storage.Expr) (exchange.Answer, error) {
	values, err := readQuery(r.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	if within == nil && tracked(r, values) {
		answer, err := s.changes(ctx, tx, r, t, values)
		if err == nil && r.prefer.track {
			r.prefer.applied = append(r.prefer.applied, "odata.track-changes")
		}
		return answer, err
	}
	o, err := s.readOptions(t, values, r.At)
	if err != nil {
		return exchange.Answer{}, err
	}
	all := storage.And{within, o.where}
	size := maxPage
	if r.prefer.pageSize > 0 {
		size = r.prefer.pageSize // and $top is ignored, as documented
	} else if o.top > 0 {
		size = min(o.top, maxPage)
	}
	page, skip := max(o.cursor.page, 1), 0
	q := storage.Query{Where: all, Order: o.order, Limit: size + 1}
	if o.cursor.last != "" {
		q.Where = append(all, storage.Compare{Column: t.Primary, Op: storage.Gt, Value: o.cursor.last})
	} else if page > 1 {
		skip = (page - 1) * size
	}
	q.Offset = skip
	rows, err := tx.Find(ctx, t.rows, q)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading a page: %w", err)
	}
	more := len(rows) > size && (o.top == 0 || r.prefer.pageSize > 0)
	rows = rows[:min(len(rows), size)]
	rd := s.renderer(tx, r)
	objects, err := rd.rows(ctx, t, rows, o)
	if err != nil {
		return exchange.Answer{}, err
	}
	body := ordered.New("@odata.context", rd.contextOf(t, o, ""))
	total := -1
	if o.count {
		if total, err = tx.Count(ctx, t.rows, all); err != nil {
			return exchange.Answer{}, fmt.Errorf("counting: %w", err)
		}
		body.Set("@odata.count", min(total, maxCount))
	}
	if r.prefer.annotations {
		body.Set("@Microsoft.Dynamics.CRM.totalrecordcount", min(total, maxCount)).
			Set("@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded", total > maxCount)
	}
	body.Set("value", objects)
	if more {
		first, _ := rows[0][t.Primary].(string)
		last, _ := rows[len(rows)-1][t.Primary].(string)
		body.Set("@odata.nextLink", nextLink(r.Call, t, page, first, last, len(o.order) > 0))
	}
	return reply(http.StatusOK, body), nil
}

// countOnly answers …/$count: a number behind a byte order mark.
func (s *System) countOnly(ctx context.Context, tx storage.Tx, r *request, t *Table, within storage.Expr) (exchange.Answer, error) {
	values, err := readQuery(r.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	o, err := s.readOptions(t, values, r.At)
	if err != nil {
		return exchange.Answer{}, err
	}
	var n int
	if within == nil && values.Has("$deltatoken") {
		n, err = s.countChanges(ctx, tx, r, t, values)
	} else {
		n, err = tx.Count(ctx, t.rows, storage.And{within, o.where})
	}
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("counting: %w", err)
	}
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("\ufeff" + strconv.Itoa(min(n, maxCount)))}, nil
}

// row reads the row of an address; nil when there is none.
func row(ctx context.Context, tx storage.Tx, t *Table, at address, lock bool) (storage.Row, error) {
	found, err := storage.First(ctx, tx, t.rows, at.where(), lock)
	if err != nil {
		return nil, fmt.Errorf("reading a row: %w", err)
	}
	return found, nil
}

func (s *System) retrieve(ctx context.Context, tx storage.Tx, r *request, t *Table, at address) (exchange.Answer, error) {
	found, err := row(ctx, tx, t, at, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	if found == nil {
		return exchange.Answer{}, at.missing(t)
	}
	values, err := readQuery(r.RawQuery)
	if err != nil {
		return exchange.Answer{}, err
	}
	// "null" is what clients send to get past caches; it is no tag.
	match := r.Header.Get("If-None-Match")
	if match != "" && match != "null" && match == etag(found) && !values.Has("$expand") && !r.prefer.annotations {
		return exchange.Answer{Status: http.StatusNotModified, Header: http.Header{"Etag": {etag(found)}}}, nil
	}
	return s.show(ctx, tx, r, t, found, http.StatusOK, values)
}

// show is the answer that holds one row.
func (s *System) show(ctx context.Context, tx storage.Tx, r *request, t *Table, found storage.Row, status int, values url.Values) (exchange.Answer, error) {
	o, err := s.readOptions(t, values, r.At)
	if err != nil {
		return exchange.Answer{}, err
	}
	rd := s.renderer(tx, r)
	objects, err := rd.rows(ctx, t, []storage.Row{found}, o)
	if err != nil {
		return exchange.Answer{}, err
	}
	body := objects[0].First("@odata.context", rd.contextOf(t, o, "/$entity"))
	answer := reply(status, body)
	answer.Header.Set("ETag", etag(found))
	return answer, nil
}
