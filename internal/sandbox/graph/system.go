package graph

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

type (
	// System is the stand-in; what it holds is how much each application has used.
	System struct {
		authority *login.Authority
		store     storage.Store // for bytes that are sent after their transaction
		key       []byte        // of addresses and tokens
		speed     float64
		lean      bool
		hosts     []string // that notifications may go to, besides this machine
		wake      chan struct{}

		mu   sync.Mutex
		used map[string]*usage
	}

	// request is one call, taken apart.
	request struct {
		*System

		tx    storage.Tx
		c     *exchange.Call
		query url.Values
	}
)

// New returns the stand-in. Speed shortens lifetimes and the minute of the budget; lean
// has no budget.
func New(authority *login.Authority, store storage.Store, seed uint64, speed float64, lean bool, hosts []string) *System {
	key := sha256.Sum256(fmt.Appendf(nil, "sandbox graph key %d", seed))
	return &System{authority: authority, store: store, key: key[:], speed: speed, lean: lean, hosts: hosts, wake: make(chan struct{}, 1), used: map[string]*usage{}}
}

const (
	api      = "/v1.0/"
	download = "/_layouts/15/download.aspx"
	uploads  = "/_api/v2.0/uploadSessions/"
)

// Admit wants a token for Graph, and none where the address itself is the key.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if !strings.HasPrefix(c.Path, api) {
		if c.Header.Get("Authorization") != "" {
			refusal := s.Refuse(c, http.StatusUnauthorized)
			return &refusal, nil
		}
		return nil, nil
	}
	user, err := s.authority.Check(c.Header.Get("Authorization"), false)
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	units := 2
	if c.Method == http.MethodGet && !strings.HasSuffix(c.Path, "/children") && !strings.HasSuffix(c.Path, "/root/delta") {
		units = 1
	}
	_, refusal := s.budget(c, units)
	return refusal, nil
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	query, err := url.ParseQuery(c.RawQuery)
	if err != nil {
		return badRequest(c, "The query cannot be read."), nil
	}
	r := &request{System: s, tx: tx, c: c, query: query}
	rest, ok := strings.CutPrefix(c.RawPath, api)
	switch {
	case c.Path == download && c.Method == http.MethodGet:
		return r.download(ctx)
	case strings.HasPrefix(c.Path, uploads):
		return r.part(ctx, strings.TrimPrefix(c.Path, uploads))
	case !ok:
		return notFound(c), nil
	}
	switch first, below, _ := strings.Cut(rest, "/"); first {
	case "sites":
		return r.site(below)
	case "drives":
		return r.drive(ctx, below)
	case "subscriptions":
		return r.subscription(ctx, below)
	}
	return notFound(c), nil
}

// site serves sites/…: one site and its libraries.
func (r *request) site(path string) (exchange.Answer, error) {
	path, err := url.PathUnescape(path)
	if err != nil || r.c.Method != http.MethodGet {
		return badRequest(r.c, "The site cannot be read so."), nil
	}
	rest := ""
	switch {
	case path == "root":
	case strings.HasPrefix(path, siteID):
		rest = strings.TrimPrefix(path, siteID)
	case strings.HasPrefix(path, host+":/sites/ops"):
		rest = strings.TrimPrefix(strings.TrimPrefix(path, host+":/sites/ops"), ":")
	default:
		return notFound(r.c), nil
	}
	switch rest {
	case "":
		return r.pick(ordered.New("@odata.context", r.c.Base+api+"$metadata#sites/$entity", "createdDateTime", firstDay, "description", "Operations", "id", siteID,
			"lastModifiedDateTime", firstDay, "name", "ops", "webUrl", "https://"+host+"/sites/ops", "displayName", "Ops")), nil
	case "/drive":
		return r.pick(r.library(libraries[0].id, libraries[0].name)), nil
	case "/drives":
		list := make([]*ordered.Object, len(libraries))
		for i, l := range libraries {
			list[i] = r.library(l.id, l.name)
		}
		return answer(http.StatusOK, ordered.New("@odata.context", r.c.Base+api+"$metadata#drives", "value", list)), nil
	}
	return notFound(r.c), nil
}

func (r *request) library(id, name string) *ordered.Object {
	return ordered.New("id", id, "name", name, "driveType", "documentLibrary", "webUrl", "https://"+host+"/sites/ops/"+url.PathEscape(name),
		"createdDateTime", firstDay, "owner", ordered.New("group", ordered.New("displayName", "Ops")))
}

// pick leaves of an object what $select names.
func (r *request) pick(o *ordered.Object) exchange.Answer {
	return answer(http.StatusOK, r.chosen(o))
}

func (r *request) chosen(o *ordered.Object) *ordered.Object {
	asked := r.query.Get("$select")
	if asked == "" {
		asked = r.query.Get("select")
	}
	if asked == "" {
		return o
	}
	names := strings.Split(asked, ",")
	return o.Only(func(name string) bool {
		for _, n := range names {
			if n == name {
				return true
			}
		}
		return strings.HasPrefix(name, "@odata.")
	})
}

// drive serves drives/ID/…
func (r *request) drive(ctx context.Context, path string) (exchange.Answer, error) {
	escaped, rest, _ := strings.Cut(path, "/")
	id, err := url.PathUnescape(escaped)
	if err != nil {
		return badRequest(r.c, "The path cannot be read."), nil
	}
	library, err := byID(ctx, r.tx, drives, id, r.writes())
	if err != nil {
		return exchange.Answer{}, err
	}
	if library == nil {
		return notFound(r.c), nil
	}
	if rest == "" {
		return r.pick(r.library(id, textOf(library, "name"))), nil
	}
	if token, ok := deltaOf(rest); ok && r.c.Method == http.MethodGet {
		return r.delta(ctx, library, token)
	}
	a, problem, err := r.address(ctx, id, rest)
	if err != nil || problem != nil {
		return orEmpty(problem), err
	}
	switch action := r.c.Method + " " + a.action; action {
	case "GET ":
		if a.item == nil {
			return notFound(r.c), nil
		}
		o, err := r.render(ctx, a.item, true)
		if err != nil {
			return exchange.Answer{}, err
		}
		return r.pick(o), nil
	case "GET children":
		return r.children(ctx, a)
	case "GET content":
		return r.content(a), nil
	case "PUT content":
		return r.put(ctx, library, a)
	case "POST createUploadSession":
		return r.begin(ctx, library, a)
	case "POST children":
		return r.makeFolder(ctx, library, a)
	case "PATCH ":
		return r.rename(ctx, library, a)
	case "DELETE ":
		return r.remove(ctx, library, a)
	}
	return refuse(r.c, http.StatusMethodNotAllowed, "notAllowed", "", "The action is not allowed."), nil
}

func orEmpty(a *exchange.Answer) exchange.Answer {
	if a == nil {
		return exchange.Answer{}
	}
	return *a
}

func (r *request) writes() bool { return r.c.Method != http.MethodGet && r.c.Method != http.MethodHead }

// address is what a path below a drive leads to: an item that may not be there yet, its
// place, and what is asked of it.
type address struct {
	item, parent storage.Row
	name, action string
}

func (r *request) address(ctx context.Context, drive, path string) (address, *exchange.Answer, error) {
	var at storage.Row
	var err error
	rest, isRoot := strings.CutPrefix(path, "root")
	if isRoot {
		at, err = byID(ctx, r.tx, items, rootOf(drive), false)
	} else {
		below, isItem := strings.CutPrefix(path, "items/")
		end := strings.IndexAny(below, ":/")
		if end < 0 {
			end = len(below)
		}
		id, bad := url.PathUnescape(below[:end])
		if rest = below[end:]; !isItem || bad != nil {
			refusal := badRequest(r.c, "The path cannot be read.")
			return address{}, &refusal, nil
		}
		at, err = byID(ctx, r.tx, items, id, false)
	}
	if err != nil {
		return address{}, nil, err
	}
	if at == nil || at["deleted"] == true || textOf(at, "drive") != drive {
		refusal := notFound(r.c)
		return address{}, &refusal, nil
	}
	a := address{item: at}
	if !strings.HasPrefix(rest, ":") {
		a.action = strings.TrimPrefix(rest, "/")
		return a, nil, nil
	}
	relative, action, _ := strings.Cut(rest[1:], ":")
	a.action = strings.TrimPrefix(action, "/")
	for raw := range strings.SplitSeq(strings.Trim(relative, "/"), "/") {
		name, bad := url.PathUnescape(raw)
		if bad != nil || name == "" || strings.ContainsAny(name, "\"*:<>?/\\|") {
			refusal := refuse(r.c, http.StatusBadRequest, "invalidRequest", "invalidPath", "The path has a name that is none.")
			return address{}, &refusal, nil
		}
		if a.item == nil {
			refusal := notFound(r.c)
			return address{}, &refusal, nil // a folder on the way is missing
		}
		a.parent, a.name = a.item, name
		if a.item, err = r.childOf(ctx, a.parent, name); err != nil {
			return address{}, nil, err
		}
	}
	return a, nil, nil
}

func (r *request) childOf(ctx context.Context, parent storage.Row, name string) (storage.Row, error) {
	row, err := storage.First(ctx, r.tx, items, storage.And{storage.Compare{Column: "drive", Op: storage.Eq, Value: textOf(parent, "drive")},
		storage.Compare{Column: "parent", Op: storage.Eq, Value: textOf(parent, "id")}, storage.Compare{Column: "name", Op: storage.Eq, Value: name}}, false)
	if err != nil {
		return nil, fmt.Errorf("reading a folder: %w", err)
	}
	return row, nil
}

// sealed is a value that only this system can make.
func (s *System) sealed(value any) string {
	body, _ := json.Marshal(value) // of plain values
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	return base64.RawURLEncoding.EncodeToString(append(mac.Sum(nil)[:16], body...))
}

func (s *System) unseal(text string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < 16 {
		return false
	}
	mac := hmac.New(sha256.New, s.key)
	mac.Write(raw[16:])
	return hmac.Equal(mac.Sum(nil)[:16], raw[:16]) && json.Unmarshal(raw[16:], into) == nil
}
