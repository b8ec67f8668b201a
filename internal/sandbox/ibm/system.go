package ibm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/graph-gophers/graphql-go"
	gqlerrors "github.com/graph-gophers/graphql-go/errors"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

//go:embed schema.graphql
var source string

type (
	// System is the stand-in; it holds no rows of its own.
	System struct {
		authority *login.Authority
		store     storage.Store // of what is sent after its call
		schema    *graphql.Schema
		key       []byte // of the tokens of pages
		speed     float64
	}

	// request is the call under way. The executor hands nothing to a resolver but the
	// context, so it travels there.
	request struct {
		system *System
		tx     storage.Tx
		call   *exchange.Call
		failed error // of the sandbox itself: the call runs again, or fails as a whole
		files  map[string]*uploaded
	}

	requestKey struct{}
)

const (
	root       = "/content-services-graphql"
	xsrf       = "ECM-CS-XSRF-Token"
	repository = "OS1" // the one object store
)

// New returns the stand-in; authority tells who a caller is. Speed shortens the life
// of tokens.
func New(authority *login.Authority, store storage.Store, seed uint64, speed float64) *System {
	key := sha256.Sum256(fmt.Appendf(nil, "sandbox page key %d", seed))
	// One resolver at a time: they share a transaction.
	schema := graphql.MustParseSchema(source, &resolver{}, graphql.MaxParallelism(1), graphql.MaxDepth(15), graphql.MaxQueryLength(64<<10))
	return &System{authority: authority, store: store, schema: schema, key: key[:], speed: speed}
}

// Admit accepts Basic and Bearer; everything but the ping needs the same token of
// the client's own in a header and in a cookie.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if c.Path == root+"/ping" {
		return nil, nil
	}
	user, err := s.authority.Check(c.Header.Get("Authorization"), true)
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	sent := c.Header.Get(xsrf)
	cookie, err := (&http.Request{Header: c.Header}).Cookie(xsrf)
	if sent == "" || err != nil || cookie.Value != sent {
		refusal := s.Refuse(c, http.StatusForbidden)
		return &refusal, nil
	}
	return nil, nil
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	switch {
	case c.Path == root+"/ping":
		return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("Content Services GraphQL API is running.")}, nil
	case c.Path == root+"/graphql" && c.Method == http.MethodPost:
		return s.execute(ctx, tx, c)
	case c.Path == root+"/content" && c.Method == http.MethodGet:
		return s.content(ctx, tx, c)
	case c.Path == root+"/graphql" || c.Path == root+"/content":
		return s.Refuse(c, http.StatusMethodNotAllowed), nil
	}
	return s.Refuse(c, http.StatusNotFound), nil
}

// execute reads a query in JSON or bare, and answers it.
func (s *System) execute(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	r := &request{system: s, tx: tx, call: c, files: map[string]*uploaded{}}
	var q query
	kind, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	switch {
	case kind == "application/graphql":
		q.Query = string(c.Body)
	case kind == "application/json":
		if json.Unmarshal(c.Body, &q) != nil {
			return s.Refuse(c, http.StatusBadRequest), nil
		}
	case kind == "multipart/form-data":
		var err error
		q, err = r.form(ctx)
		if errors.Is(err, errForm) {
			return s.Refuse(c, http.StatusBadRequest), nil
		}
		if err != nil {
			return exchange.Answer{}, err
		}
	default:
		return s.Refuse(c, http.StatusUnsupportedMediaType), nil
	}
	answer := s.schema.Exec(context.WithValue(ctx, requestKey{}, r), q.Query, q.OperationName, q.Variables)
	if r.failed != nil {
		return exchange.Answer{}, r.failed
	}
	if err := r.clear(ctx); err != nil {
		return exchange.Answer{}, err
	}
	body := ordered.New()
	if len(answer.Errors) > 0 {
		body.Set("errors", told(answer.Errors))
	}
	if len(answer.Data) > 0 {
		body.Set("data", answer.Data)
	}
	return exchange.Answer{Status: http.StatusOK, Header: jsonHeader(), Body: body.Bytes()}, nil
}

// told writes errors as the API does: those that the query itself has say so.
func told(list []*gqlerrors.QueryError) []*ordered.Object {
	out := make([]*ordered.Object, len(list))
	for i, e := range list {
		o := ordered.New("message", e.Message)
		if len(e.Locations) > 0 {
			at := make([]*ordered.Object, len(e.Locations))
			for n, l := range e.Locations {
				at[n] = ordered.New("line", l.Line, "column", l.Column)
			}
			o.Set("locations", at)
		}
		if len(e.Path) > 0 {
			o.Set("path", e.Path)
		}
		extensions := e.Extensions
		if p := new(problem); extensions == nil && !errors.As(e.Err, &p) && e.ResolverError == nil {
			o = ordered.New("message", "Validation error: "+e.Message, "locations", e.Locations)
			extensions = map[string]any{"classification": "ValidationError"}
		}
		if extensions != nil {
			o.Set("extensions", extensions)
		}
		out[i] = o
	}
	return out
}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Cache-Control": {"no-store"}}
}

// under is the request a resolver works for.
func under(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// fail keeps a failure that is the sandbox's own, and gives what the caller is told
// of any.
func (r *request) fail(err error) error {
	if p := new(problem); errors.As(err, &p) {
		return p
	}
	r.failed = err
	return err
}

// content serves the bytes of a document's content element.
func (s *System) content(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	values, err := url.ParseQuery(c.RawQuery)
	if err != nil || values.Get("repositoryIdentifier") != repository || values.Get("elementSequenceNumber") != "0" {
		return s.Refuse(c, http.StatusNotFound), nil
	}
	row, err := storage.First(ctx, tx, documents, storage.Compare{Column: "Id", Op: storage.Eq, Value: strings.ToUpper(values.Get("documentId"))}, false)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading content: %w", err)
	}
	kind, _ := row["MimeType"].(string)
	name, _ := row[retrieval].(string)
	answer := exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {kind},
		"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": name})}}}
	if blob, _ := row[blobColumn].(string); blob != "" {
		size, _ := row["ContentSize"].(json.Number)
		if answer.Size, err = size.Int64(); err != nil {
			return exchange.Answer{}, fmt.Errorf("reading the size of a content: %w", err)
		}
		answer.Stream = func(ctx context.Context, to io.Writer) error {
			return chunks.Send(ctx, s.store, blob, 0, answer.Size, to)
		}
		return answer, nil
	}
	var ok bool
	if answer.Body, ok = row[content].([]byte); !ok {
		return s.Refuse(c, http.StatusNotFound), nil
	}
	return answer, nil
}

// Refuse words a failure that GraphQL did not raise: it comes from the server that
// the API runs on.
func (s *System) Refuse(_ *exchange.Call, status int) exchange.Answer {
	header := http.Header{"Content-Type": {"text/html; charset=UTF-8"}}
	if status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Basic realm="defaultRealm"`)
	}
	title := fmt.Sprintf("Error %d: %s", status, http.StatusText(status))
	return exchange.Answer{Status: status, Header: header, Body: []byte("<html><head><title>" + title + "</title></head><body>" + title + "</body></html>")}
}
