package sandbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/mail"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/seed"
	"patchbay/internal/sandbox/storage"
)

const (
	latestCalls = 50
	defaultRows = 100
	maxRows     = 1_000
	// firstTable is the one that the example flow writes.
	firstTable = "msx_specification"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.New("pages").Funcs(template.FuncMap{
	"address": address, "clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	"day": func(t time.Time) string { return t.Format(time.DateTime) }, "product": func(list []seed.Product, i int) string { return list[i%len(list)].Number },
}).ParseFS(pageFiles, "pages/*.html"))

// line is one system as the index page shows it.
type line struct {
	Name   string
	Calls  int64
	Faults []string
}

// tableLine is one Dataverse table and how many rows it has.
type tableLine struct {
	Name, Label string
	Rows        int
}

// frame is what every page has.
type frame struct {
	Title string
	Back  string // where the reader came from, when that was another site
	Base  string // the address of the sandbox as the reader wrote it
	Lean  bool
	Speed float64
}

func (s *Server) frame(r *http.Request, title string) frame {
	f := frame{Title: title, Base: "http://" + r.Host, Lean: s.opts.Lean, Speed: s.opts.Speed}
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		f.Base = "https://" + r.Host
	}
	if from, err := url.Parse(r.Referer()); err == nil && from.Host != "" && from.Host != r.Host && (from.Scheme == "http" || from.Scheme == "https") {
		f.Back = from.String()
	}
	return f
}

// address is a path with its query as a person reads it; one that cannot be
// decoded stays as it was sent.
func address(e record.Entry) string {
	text := e.Path
	if e.Query != "" {
		query, err := url.QueryUnescape(e.Query)
		if err != nil {
			query = e.Query
		}
		text += "?" + query
	}
	return text
}

func (s *Server) show(w http.ResponseWriter, name string, view any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, view); err != nil {
		s.broken(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'")
	_, _ = w.Write(page.Bytes())
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	view := struct {
		frame
		Systems  []line
		Tables   []tableLine
		Products []seed.Product
		Fields   []faults.Field
		States   []string // of the mail server's protocol
		MailAt   string
		Calls    []record.Entry
		More     bool
	}{frame: s.frame(r, "Sandbox"), Products: s.products, Fields: faults.Fields, States: mail.States, MailAt: s.mailAddress()}
	for _, name := range s.names {
		l := line{Name: name}
		for _, n := range s.tallies[name].Counts() {
			l.Calls += n
		}
		if s.book != nil {
			l.Calls = s.book.Count(name)
		}
		for _, state := range s.faults.Get(name) {
			text, _ := json.Marshal(state) // plain fields
			l.Faults = append(l.Faults, string(text))
		}
		if name == mail.System {
			for _, state := range s.drop.Faults.Get() {
				text, _ := json.Marshal(state) // plain fields
				l.Faults = append(l.Faults, string(text))
			}
		}
		view.Systems = append(view.Systems, l)
	}
	ctx := r.Context()
	err := s.store.Read(ctx, func(tx storage.Tx) error {
		for _, t := range s.tables() {
			n, err := s.env.Size(ctx, tx, t.Logical)
			if err != nil {
				return err
			}
			view.Tables = append(view.Tables, tableLine{t.Logical, t.Label, n})
		}
		return nil
	})
	if err == nil && s.book != nil {
		view.Calls, err = s.book.Latest(ctx, "", latestCalls+1)
	}
	if err != nil {
		s.broken(w, err)
		return
	}
	if view.More = len(view.Calls) > latestCalls; view.More {
		view.Calls = view.Calls[:latestCalls]
	}
	s.show(w, "index.html", view)
}

// tables are the tables of the environment, the example's first.
func (s *Server) tables() []*dataverse.Table {
	list := slices.Clone(s.env.Tables)
	slices.SortStableFunc(list, func(a, b *dataverse.Table) int {
		switch firstTable {
		case a.Logical:
			return -1
		case b.Logical:
			return 1
		}
		return 0
	})
	return list
}

func (s *Server) rowsPage(w http.ResponseWriter, r *http.Request) {
	view := struct {
		frame
		Table, Search string
		Limit         int64
		Tables        []*dataverse.Table
		dataverse.Listing
	}{frame: s.frame(r, "Rows"), Table: r.URL.Query().Get("table"), Search: r.URL.Query().Get("q"), Tables: s.tables()}
	if view.Table == "" {
		view.Table = firstTable
	}
	var names []string
	for _, t := range view.Tables {
		names = append(names, t.Logical)
	}
	if !slices.Contains(names, view.Table) {
		refuse(w, http.StatusNotFound, "there is no table %q; the sandbox has %s", view.Table, strings.Join(names, ", "))
		return
	}
	limit, err := numberIn(r, "limit", defaultRows)
	if err != nil || limit < 1 || strings.ContainsRune(view.Search, 0) {
		refuse(w, http.StatusBadRequest, "limit is a number from 1 on, q some text")
		return
	}
	view.Limit = min(limit, maxRows)
	ctx := r.Context()
	err = s.store.Read(ctx, func(tx storage.Tx) (err error) {
		view.Listing, err = s.env.Recent(ctx, tx, view.Table, view.Search, int(view.Limit))
		return err
	})
	if err != nil {
		s.broken(w, err)
		return
	}
	s.show(w, "rows.html", view)
}

func (s *Server) callsPage(w http.ResponseWriter, r *http.Request) {
	if s.book == nil {
		refuse(w, http.StatusNotFound, noRecord)
		return
	}
	view := struct {
		frame
		System string
		Names  []string
		Limit  int64
		Next   int64 // a larger limit that would show more
		Calls  []record.Entry
	}{frame: s.frame(r, "Calls"), System: r.URL.Query().Get("system"), Names: s.names}
	limit, err := numberIn(r, "limit", 10*latestCalls)
	if err != nil || limit < 1 {
		refuse(w, http.StatusBadRequest, "limit is a number from 1 on")
		return
	}
	if view.System != "" && !slices.Contains(s.names, view.System) {
		refuse(w, http.StatusNotFound, "there is no system %q; the sandbox has %s", view.System, strings.Join(s.names, ", "))
		return
	}
	view.Limit = min(limit, maxCalls)
	if view.Calls, err = s.book.Latest(r.Context(), view.System, int(view.Limit)); err != nil {
		s.broken(w, err)
		return
	}
	if int64(len(view.Calls)) == view.Limit && view.Limit < maxCalls {
		view.Next = min(2*view.Limit, maxCalls)
	}
	s.show(w, "calls.html", view)
}
