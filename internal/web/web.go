package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

var (
	//go:embed templates static
	files embed.FS

	pages  = parse("home", "flows", "flow", "runs", "run", "dead", "letter", "explain", "events", "rows", "plans", "reviews", "review", "schedules", "regions", "conflicts", "map", "stops", "repairs", "error")
	assets = load("app.css", "app.js", "letters.js", "icon.svg")
)

// policy allows this server's own files and nothing else, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// asset is a static file under an address that changes with its content.
type asset struct {
	body  []byte
	media string
	path  string
}

type (
	console struct {
		Options
		mux *http.ServeMux
	}

	// frame is what every page stands in.
	frame struct {
		Title, Nav           string
		Environment, Version string
		Regions              []Region
		Theme                string // "light", "dark" or "" for the system's
		Operates             bool   // may search keys
		Buried               bool   // there is a page of dead letters that the viewer may see
		Dead                 string // how many there are, "" for none
		Key                  string // what was searched for
		Scheduled, Advised   bool   // there are pages of schedules and of action plans
		Judges               bool   // a flow leaves decisions to people whom the viewer is one of
		Drawn                bool   // there is a map that the viewer may see
		Shares               bool   // a flow is a synchronization
		CSS, JS, Letters     string
		Icon                 string
		Page                 any
	}
)

// New builds the console. It starts nothing.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	c := &console{Options: o, mux: http.NewServeMux()}
	c.handle("GET /{$}", c.home)
	c.handle("GET /flows", c.flows)
	c.handle("GET /flows/{flow}", c.flow)
	c.handle("GET /flows/{flow}/sample", c.sample)
	c.handle("GET /runs", c.runs)
	c.handle("GET /runs/live", c.runsLive)
	c.handle("GET /runs/{id}", c.run)
	c.handle("GET /runs/{id}/live", c.live)
	c.handle("GET /dead", c.dead)
	c.handle("GET /dead/live", c.deadLive)
	c.handle("GET /dead/events", c.deadEvents)
	c.handle("GET /dead/{id}", c.letter)
	c.handle("GET /repairs", c.repairs)
	c.handle("GET /stops", c.stops)
	c.handle("GET /explain", c.explain)
	c.handle("GET /flows/{flow}/rows", c.rowsOf)
	c.handle("GET /plans", c.plans)
	c.handle("GET /reviews", c.queue)
	c.handle("GET /reviews/{run}", c.review)
	c.handle("GET /schedules", c.schedules)
	c.handle("GET /regions", c.regions)
	c.handle("GET /regions/{flow}", c.region)
	c.handle("GET /regions/{flow}/conflicts", c.conflicts)
	c.handle("GET /map", c.landscape)
	c.handle("GET /assets/{name}", c.asset)
	c.handle("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, assets["icon.svg"].path, http.StatusFound)
		return nil
	})
	c.handle("GET /", func(http.ResponseWriter, *http.Request) error { return c.none() })
	return c
}

func (c *console) none() error {
	return fault.NotFoundf("page.unknown", "There is no page at this address.")
}

// ServeHTTP serves one page under the policy of all.
func (c *console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console is read with GET; /docs has what can be changed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	c.mux.ServeHTTP(w, r)
}

// handle registers a page; an error becomes a page that says what and how to go on.
func (c *console) handle(pattern string, page func(http.ResponseWriter, *http.Request) error) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		err := page(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		f := fault.Of(err)
		status := http.StatusInternalServerError
		title := "Patchbay made a mistake"
		switch f.Class {
		case fault.NotFound:
			status, title = http.StatusNotFound, "Not found"
		case fault.Unavailable, fault.Throttled:
			status, title = http.StatusServiceUnavailable, "Not available right now"
			w.Header().Set("Retry-After", "2")
		case fault.Unauthorized:
			status, title = http.StatusForbidden, "Not yours to see"
		case fault.Invalid:
			status, title = http.StatusBadRequest, "The address is not right"
		case fault.Rejected, fault.Conflict, fault.InDoubt, fault.Bug: // no page asks for what could end so
		}
		c.render(w, r, status, "error", frame{Title: title, Page: struct {
			Title, Text, Code string
			Retry             bool
		}{title, sentence(f.Text), f.Code, f.Retryable()}})
	})
}

// render executes a page whole before the first byte is sent.
func (c *console) render(w http.ResponseWriter, r *http.Request, status int, page string, f frame) {
	f.Environment, f.Version, f.Operates = c.Environment, c.Version, c.operates(r)
	f.Regions = c.Regions
	f.Buried, f.Dead = c.buried(r)
	f.CSS, f.JS, f.Icon = assets["app.css"].path, assets["app.js"].path, assets["icon.svg"].path
	f.Scheduled, f.Advised = c.Schedules != nil && f.Operates, c.Plans != nil && f.Operates
	f.Judges = f.Nav == "reviews" || c.judges(r)
	f.Drawn = c.Landscape != nil && f.Operates
	f.Shares = f.Nav == "regions" || c.shared(r)
	if f.Nav == "regions" || f.Nav == "dead" || f.Nav == "plans" || f.Nav == "reviews" || page == "rows" || page == "stops" {
		f.Letters = assets["letters.js"].path
	}
	if theme, err := r.Cookie("theme"); err == nil && (theme.Value == "light" || theme.Value == "dark") {
		f.Theme = theme.Value
	}
	c.write(w, status, page, "layout", f)
}

func (c *console) write(w http.ResponseWriter, status int, page, name string, data any) {
	var b bytes.Buffer
	if err := pages[page].ExecuteTemplate(&b, name, data); err != nil {
		panic(fmt.Errorf("the template of page %s: %w", page, err)) // ours; the gate answers 500 and logs it
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store") // rows are not for a disk
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may have gone; nobody else to tell
}

func (c *console) asset(w http.ResponseWriter, r *http.Request) error {
	for _, a := range assets {
		if a.path == r.URL.Path {
			w.Header().Set("Content-Type", a.media)
			w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
			_, _ = w.Write(a.body) // as above
			return nil
		}
	}
	return fault.NotFoundf("page.unknown", "There is no file at this address.")
}

// visible reads a run that the viewer may see; somebody else's does not exist.
func (c *console) visible(r *http.Request, id string) (flow.Run, error) {
	run, err := c.Runs.Get(r.Context(), id)
	if err == nil && !c.Principal(r).Sees(run.Principal) {
		err = fault.NotFoundf("run.not_found", "no run has this ID")
	}
	return run, err
}

// sees reports whether the viewer may see a run that another one names.
func (c *console) sees(r *http.Request, id string) (bool, error) {
	run, err := c.Runs.Get(r.Context(), id)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && c.Principal(r).Sees(run.Principal), err
}

// setting is what a story needs to know besides its run.
func (c *console) setting(ahead map[string]int) setting {
	return setting{uiBase: c.UIBase, namespace: c.Namespace, now: c.Now(), ahead: ahead}
}

func (c *console) operates(r *http.Request) bool {
	p := c.Principal(r)
	return p.Role == flow.RoleOperate || p.Role == flow.RoleAdmin
}

// plan is the applied plan of a flow, or nil when there is none any more.
func (c *console) plan(r *http.Request, name string) (*flow.Plan, error) {
	applied, err := c.Flows.Flow(r.Context(), name)
	var f *fault.Fault
	if errors.As(err, &f) && f.Class == fault.NotFound {
		return nil, nil
	}
	return applied.Plan, err
}

func parse(names ...string) map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(template.FuncMap{
		"icon": icon, "ago": ago, "absolute": absolute, "duration": duration, "count": count, "grouped": grouped,
		"cell": cell, "system": system, "sentence": sentence, "edition": edition, "minute": func(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05 UTC") }, "states": func() []string {
			return []string{"review", "due", "approved", "written", "rejected", "refused", "superseded"}
		}, "many": func(n int64) string { return grouped(int(n)) }, "again": doAgain, "places": places,
	}).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	for _, name := range names {
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return all
}

func load(names ...string) map[string]asset {
	media := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	all := map[string]asset{}
	for _, name := range names {
		body, err := fs.ReadFile(files, "static/"+name)
		if err != nil {
			panic("web: an asset that is not embedded: " + name)
		}
		sum := sha256.Sum256(body)
		stem, ext, _ := strings.Cut(name, ".")
		all[name] = asset{body, media["."+ext], "/assets/" + stem + "." + hex.EncodeToString(sum[:4]) + "." + ext}
	}
	return all
}
