package connector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"patchbay/internal/failpoint"
	"patchbay/internal/fault"
)

type (
	// Transport carries the requests of one connection: it signs in, keeps the
	// limits, bounds time and size, never follows a redirect and turns everything
	// that is no success into a fault. It is safe for concurrent use; whoever
	// built it has nothing to close but the client, if it gave one.
	Transport struct {
		config  Config
		vendor  Vendor
		client  *http.Client
		lookup  func(string) (string, error)
		now     func() time.Time
		timeout time.Duration
		max     int64
		limits  *limits
		tokens  *tokens
		urgent  bool
	}

	// Vendor is what the transport has to know of a system.
	Vendor struct {
		System string      // first part of the fault codes
		Header http.Header // goes with every request
		// Verdict reads an error answer; nil means that the status says it all.
		Verdict func(status int, h http.Header, body []byte) Verdict
		// Refusal finds an error in an answer that came with a status of success, for
		// systems that answer everything so, and says which status it stands for; 0 is
		// none. Nil means that a success is one. It sees what goes into into.
		Refusal func(answer map[string]any) (status int)
		// SignIn adds to the headers of a request for a token what the vendor wants besides
		// the client. Nil: nothing.
		SignIn func(h http.Header) error
		// Elsewhere allows an address of another host for requests that are Elsewhere; nil: none.
		Elsewhere func(to *url.URL) bool
	}

	// Request is one call of the system.
	Request struct {
		Method string
		// Target is the path and query below the connection's URL, beginning with
		// "/", or an absolute URL of the same host that the system itself gave.
		Target string
		Header http.Header // besides the vendor's
		Body   []byte
		// Content is a body that is too large to hold, in the place of Body. Its sending may
		// take as long as it moves. A Content that has not the size it says is not sent whole.
		Content *Content
		// Elsewhere says that the target is an absolute URL which the system gave for this, of
		// another host perhaps: no credentials and none of the vendor's headers go there.
		Elsewhere bool
		// Redirect says that a redirect is an answer: the caller goes where Location says.
		Redirect bool
		// Write says that the request changes something, so that an answer lost
		// is a doubt and not a reason to send it again.
		Write bool
		// Held is asked right before a write leaves, at each sending; its error is why
		// it is not sent. Nil: it always may.
		Held func() error
		// Collection says that the target exists in every working connection, so
		// that a 404 means a wrong configuration and not a missing row.
		Collection bool
		// Messages is how many messages to people it sends.
		Messages int
		// Decode reads the body of a success that is not one JSON object, or that is not
		// read into a map. Its error is the fault of an answer that cannot be used; one
		// of package strictjson tells where. Nil: the body is what into says.
		Decode func(h http.Header, body []byte) error

		body *io.ReadCloser // where the body of a success goes that is not read here
	}

	// Answer is what came back: a success, or with an error beside it a refusal.
	// Status is 0 where nothing did.
	Answer struct {
		Status int
		Header http.Header
	}
)

// NewTransport checks the configuration and makes the transport of a connection.
func NewTransport(c Config, d Deps, v Vendor) (*Transport, error) {
	switch c.Auth.Kind {
	case "", "none", "basic", "oauth2":
	default:
		return nil, fault.Invalidf("connector.auth", "connection %s: auth kind %q is unknown; known are none, basic, oauth2", c.Name, c.Auth.Kind)
	}
	if c.Auth.Kind == "oauth2" && (c.Auth.TokenURL == "" || c.Auth.ClientID == "" || c.Auth.ClientSecret == "") {
		return nil, fault.Invalidf("connector.auth", "connection %s: oauth2 needs token_url, client_id and client_secret", c.Name)
	}
	if c.URL == "" {
		return nil, fault.Invalidf("connector.url", "connection %s has no url", c.Name)
	}
	client := d.Client
	if client == nil {
		client = NewClient()
	}
	stays := *client
	stays.Timeout, stays.Jar = 0, nil
	stays.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t := &Transport{config: c, vendor: v, client: &stays, lookup: d.Resolve, now: d.Now, timeout: c.Limits.Timeout, max: c.Limits.MaxBytes}
	if t.now == nil {
		t.now = time.Now
	}
	if t.timeout <= 0 {
		t.timeout = defaultTimeout
	}
	if t.max <= 0 {
		t.max = defaultMaxBytes
	}
	t.limits = newLimits(c, t.now)
	t.limits.quota = d.Quota
	t.limits.share(c.Name, d)
	t.tokens = &tokens{t: t}
	return t, nil
}

// Urgent gives the transport for requests that somebody waits for: they may use what
// of the provider's quotas is reserved for them. All else is shared.
func (t *Transport) Urgent() *Transport {
	u := *t
	u.urgent = true
	return &u
}

// Do sends the request and puts the JSON object of a success into into, which may
// be nil. An error is a *fault.Fault, or the context's own error when the caller
// gave up before anything that changes something was sent. A token that the
// system refuses is renewed once.
//
// Faults of the transport's own, with nothing sent and a time to come again:
// "connector.busy" (all requests allowed are under way), "connector.rate",
// "connector.silent" (the system asked for it), "connector.resting" (the system
// answers nothing) and those of the provider's Quota.
func (t *Transport) Do(ctx context.Context, r Request, into *map[string]any) (answer Answer, err error) {
	p, err := t.limits.enter(ctx, &r)
	if err != nil {
		return Answer{}, err
	}
	said := unknown // also when something below panics
	var f *fault.Fault
	defer func() { t.limits.leave(p, &r, said, f) }()
	inner, cancel := t.bound(ctx, &r)
	defer cancel()
	answer, token, err := t.paid(ctx, inner, &p, r, into)
	if token != "" && answer.Status == http.StatusUnauthorized {
		t.tokens.drop(token)
		answer, _, err = t.paid(ctx, inner, &p, r, into)
	}
	said, f = t.judge(ctx, p, answer, err)
	return answer, err
}

// bound limits a request in time: as a whole, or each part of a Content.
func (t *Transport) bound(ctx context.Context, r *Request) (context.Context, context.CancelFunc) {
	if r.Content == nil {
		return context.WithTimeout(ctx, t.timeout)
	}
	inner, w := watched(ctx, t.timeout)
	content := *r.Content
	content.moved = w.moved
	r.Content = &content
	return inner, w.stop
}

// judge says what the end of a request tells about the connection.
func (t *Transport) judge(ctx context.Context, p pass, a Answer, err error) (outcome, *fault.Fault) {
	f := fault.Of(err)
	gone := f != nil && (f.Class == fault.Unavailable || f.Class == fault.InDoubt) && f.After == 0
	switch {
	case f == nil:
		return succeeded, nil
	case isWithheld(err), isUnpaid(err):
		return unknown, f
	case a.Status >= 500 && gone:
		return failed, f
	case a.Status != 0, f.Code == signInRefused, f.Code == signInThrottled:
		return answered, f
	case !gone:
		return unknown, f
	case ctx.Err() == nil:
		return failed, f
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && t.now().Sub(p.since) >= min(hung, t.timeout/2):
		// The caller's own end, long after an answer was due.
		return failed, fault.New(fault.Unavailable, "vendor.timeout", t.config.Name+" did not answer in time", nil)
	}
	return unknown, f
}

// paid sends the request once, when the provider's quota allows it.
func (t *Transport) paid(outer, inner context.Context, p *pass, r Request, into *map[string]any) (answer Answer, token string, err error) {
	end, err := t.limits.pay(outer, Use{Messages: r.Messages, Urgent: t.urgent})
	if err != nil {
		return Answer{}, "", err
	}
	sent := true // also when something below panics
	defer func() { end(sent) }()
	p.since = t.now() // waiting for ourselves is no missing answer
	answer, token, err = t.try(outer, inner, r, into)
	if f := fault.Of(err); err != nil && (isWithheld(err) || f.Code == signInRefused || f.Code == signInThrottled) {
		sent = false
	}
	return answer, token, err
}

// try sends the request once. outer is the caller's context; inner also ends
// when the time for one request is over.
func (t *Transport) try(outer, inner context.Context, r Request, into *map[string]any) (Answer, string, error) {
	var sent atomic.Bool
	if r.Write {
		inner = httptrace.WithClientTrace(inner, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	}
	body := &outgoing{content: r.Body, held: r.Held, large: r.Content, ctx: inner}
	request, err := t.request(inner, r, body)
	if err != nil {
		return Answer{}, "", err
	}
	token := ""
	if !r.Elsewhere {
		token, err = t.authorize(inner, request)
	}
	if err != nil {
		if inner.Err() != nil {
			err = t.broken(outer, inner, r, false, err)
		}
		return Answer{}, "", err
	}
	at := failpoint.At(t.vendor.System, "write")
	if r.Write {
		at.Before()
	}
	if err := ask(r.Held); err != nil {
		return Answer{}, "", err
	}
	response, err := t.client.Do(request)
	if err != nil {
		if why := body.refused(); why != nil {
			return Answer{}, "", why
		}
		return Answer{}, "", t.broken(outer, inner, r, sent.Load(), err)
	}
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	success := response.StatusCode >= 200 && response.StatusCode < 300
	if r.body != nil && success && !isHTML(response.Header, nil) {
		*r.body = response.Body
		return answer, token, nil
	}
	defer response.Body.Close()
	read, err := readBody(response, t.max)
	if r.Write && at.Lost() {
		return Answer{}, "", t.broken(outer, inner, r, true, errors.New("the answer was lost on its way"))
	}
	if r.Write {
		at.After()
	}
	if r.Redirect && response.StatusCode >= 300 && response.StatusCode < 400 && response.Header.Get("Location") != "" {
		return answer, token, nil
	}
	if !success {
		// What could be read of an error's body only refines the class.
		return answer, token, t.refused(request, r, answer, read)
	}
	switch {
	case errors.Is(err, errTooLarge) && r.Write:
		return answer, token, t.unreadable(r, "vendor.too_large", "the answer of "+t.config.Name+" is larger than the connection allows", err)
	case errors.Is(err, errTooLarge):
		return answer, token, fault.New(fault.Rejected, "vendor.too_large", "the answer of "+t.config.Name+" is larger than the connection allows; ask for fewer rows or columns", err)
	case err != nil && inner.Err() != nil:
		return Answer{}, token, t.broken(outer, inner, r, true, err)
	case err != nil:
		return Answer{}, token, t.unreadable(r, "vendor.truncated", "the answer of "+t.config.Name+" was cut off", bare(err))
	case isHTML(response.Header, read):
		return answer, token, t.loginPage()
	case r.Decode != nil:
		err = r.Decode(response.Header, read)
	case into != nil:
		*into, err = decode(read)
	}
	if err != nil {
		return answer, token, t.undecodable(r, read, err)
	}
	if t.vendor.Refusal != nil && into != nil {
		if status := t.vendor.Refusal(*into); status != 0 {
			answer.Status = status // a token refused inside is refused
			return answer, token, t.classify(r, status, response.Header, read)
		}
	}
	return answer, token, nil
}

func (t *Transport) request(ctx context.Context, r Request, body *outgoing) (*http.Request, error) {
	resolve := t.address
	if r.Elsewhere {
		resolve = t.elsewhere
	}
	address, err := resolve(r.Target)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, address, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connector.url", "connection "+t.config.Name+": the address of a request does not parse", nil)
	}
	if size := body.size(); size > 0 {
		request.Body, request.ContentLength = body.body(), size
		request.GetBody = func() (io.ReadCloser, error) { return body.body(), nil }
	}
	if !r.Elsewhere {
		for name, values := range t.vendor.Header {
			request.Header[name] = values
		}
	}
	for name, values := range r.Header {
		request.Header[name] = values
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "patchbay")
	}
	return request, nil
}

// address makes a target absolute. An address that the system gave is used as it
// is, and only on the connection's own host: credentials go nowhere else.
func (t *Transport) address(target string) (string, error) {
	base, err := t.resolve(t.config.URL)
	if err != nil {
		return "", err
	}
	base = strings.TrimRight(base, "/")
	if !strings.HasPrefix(base, "https://") && !strings.HasPrefix(base, "http://") {
		return "", fault.Invalidf("connector.url", "connection %s: url does not begin with https://", t.config.Name)
	}
	if strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//") {
		return base + target, nil
	}
	own, err := url.Parse(base)
	if err != nil || own.Host == "" {
		return "", fault.Invalidf("connector.url", "connection %s: url is no URL", t.config.Name)
	}
	given, err := url.Parse(target)
	if err != nil || given.Scheme != own.Scheme || !strings.EqualFold(given.Host, own.Host) || given.User != nil {
		return "", t.blocked("a link")
	}
	return target, nil
}

// Own checks that an absolute address is one of the connection's own host; else it is
// the fault of a link that is never followed.
func (t *Transport) Own(link string) error {
	_, err := t.address(link)
	return err
}

func (t *Transport) resolve(text string) (string, error) {
	return Deps{Resolve: t.lookup}.Value(t.config.Name, text)
}

// refused turns an answer that is no success into its fault.
func (t *Transport) refused(sent *http.Request, r Request, a Answer, body []byte) error {
	if a.Status >= 300 && a.Status < 400 && a.Header.Get("Location") != "" {
		to, err := sent.URL.Parse(a.Header.Get("Location"))
		if err == nil && leadsToLogin(to) {
			return t.loginPage()
		}
		return t.blocked("a redirect")
	}
	return t.classify(r, a.Status, a.Header, body)
}

// broken turns a failure without an answer into a fault. After the first byte of
// a write nobody knows what became of it, whatever ended the wait.
func (t *Transport) broken(outer, inner context.Context, r Request, sent bool, err error) error {
	name := t.config.Name
	switch {
	case r.Write && sent:
		return fault.New(fault.InDoubt, "vendor.no_answer", "a write was sent to "+name+" and its answer did not come; it may have been applied", unlink(err))
	case outer.Err() != nil:
		return outer.Err()
	case inner.Err() != nil:
		return fault.New(fault.Unavailable, "vendor.timeout", name+" did not answer in time", unlink(err))
	}
	return fault.New(fault.Unavailable, "vendor.unreachable", "nobody answers where "+name+" should be, or the connection broke", bare(err))
}

func (t *Transport) loginPage() *fault.Fault {
	return fault.New(fault.Unauthorized, "vendor.login_page", "connection "+t.config.Name+" was shown a login page instead of data: its credentials are not accepted", nil)
}

func (t *Transport) blocked(what string) *fault.Fault {
	return fault.New(fault.Rejected, "egress.blocked", t.config.Name+" sent "+what+" to another place, which is never followed", nil)
}

// leadsToLogin recognises the sign-in pages of identity providers.
func leadsToLogin(to *url.URL) bool {
	where := strings.ToLower(to.Host + to.Path)
	for _, mark := range []string{"login", "signin", "sign-in", "logon", "/oam", "/sso", "saml", "oauth2", "/adfs", "authorize", "idcs"} {
		if strings.Contains(where, mark) {
			return true
		}
	}
	return false
}

// bare drops the layer of an error that prints the whole address.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// unlink keeps the text of a cause and hides what it is: a doubt or a timeout of
// ours must not look like the caller's own context error.
func unlink(err error) error { return errors.New(bare(err).Error()) }
