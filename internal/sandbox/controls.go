package sandbox

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/seed"
)

const (
	defaultCalls = 1_000
	maxCalls     = 10_000
)

//go:embed index.html
var indexHTML string

var indexPage = template.Must(template.New("index").Parse(indexHTML))

// samples are parameters with which an example flow works at once.
var samples = map[string]any{
	"product-specs": map[string]any{"product_id": seed.Laptop},
}

// controls are the routes that tests and demos use; no system has them.
func (s *Server) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sandbox/{$}", s.index)
	mux.HandleFunc("GET /_sandbox/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.faults.All()) })
	mux.HandleFunc("GET /_sandbox/faults/{system}", s.named(s.getFault))
	mux.HandleFunc("PUT /_sandbox/faults/{system}", s.named(s.putFault))
	mux.HandleFunc("DELETE /_sandbox/faults/{system}", s.named(s.clearFault))
	mux.HandleFunc("GET /_sandbox/calls/{system}", s.named(s.calls))
	mux.HandleFunc("GET /_sandbox/samples/{flow}", s.sample)
	mux.HandleFunc("POST /_sandbox/reset", s.postReset)
	mux.HandleFunc("/_sandbox/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, problem{"there is no such control"})
	})
	return mux
}

type problem struct {
	Error string `json:"error"`
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller is gone
}

// named answers 404 for a system that the sandbox does not have.
func (s *Server) named(next func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("system")
		if !slices.Contains(s.names, name) {
			writeJSON(w, http.StatusNotFound, problem{fmt.Sprintf("there is no system %q; the sandbox has %v", name, s.names)})
			return
		}
		next(w, r, name)
	}
}

func (s *Server) getFault(w http.ResponseWriter, _ *http.Request, name string) {
	state, ok := s.faults.Get(name)
	if !ok {
		writeJSON(w, http.StatusOK, struct{}{})
		return
	}
	writeJSON(w, http.StatusOK, state)
}

func (s *Server) putFault(w http.ResponseWriter, r *http.Request, name string) {
	dec := json.NewDecoder(io.LimitReader(r.Body, 64<<10))
	dec.DisallowUnknownFields()
	var rule faults.Rule
	if err := dec.Decode(&rule); err != nil {
		writeJSON(w, http.StatusBadRequest, problem{"the fault cannot be read: " + err.Error()})
		return
	}
	if err := rule.Validate(); err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, problem{err.Error()})
		return
	}
	s.faults.Put(name, rule)
	s.getFault(w, r, name)
}

func (s *Server) clearFault(w http.ResponseWriter, _ *http.Request, name string) {
	s.faults.Clear(name)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) calls(w http.ResponseWriter, r *http.Request, name string) {
	if s.book == nil {
		writeJSON(w, http.StatusNotFound, problem{"the lean sandbox keeps no record"})
		return
	}
	since, limit := int64(0), defaultCalls
	var err error
	if text := r.URL.Query().Get("since"); text != "" {
		since, err = strconv.ParseInt(text, 10, 64)
	}
	if text := r.URL.Query().Get("limit"); err == nil && text != "" {
		limit, err = strconv.Atoi(text)
	}
	if err != nil || since < 0 || limit < 1 {
		writeJSON(w, http.StatusBadRequest, problem{"since is a number from 0 on, limit one from 1 on"})
		return
	}
	list, err := s.book.Since(r.Context(), name, since, min(limit, maxCalls))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Server) broken(w http.ResponseWriter, err error) {
	s.opts.Logger.Error("serving a control", zap.Error(err))
	writeJSON(w, http.StatusInternalServerError, problem{"the sandbox cannot reach its database"})
}

func (s *Server) sample(w http.ResponseWriter, r *http.Request) {
	sample, ok := samples[r.PathValue("flow")]
	if !ok {
		writeJSON(w, http.StatusNotFound, problem{"there are no samples for this flow"})
		return
	}
	writeJSON(w, http.StatusOK, sample)
}

func (s *Server) postReset(w http.ResponseWriter, r *http.Request) {
	if err := s.reset(r.Context()); err != nil {
		s.broken(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// line is one system as the index page shows it.
type line struct {
	Name  string
	Calls int64
	Fault string
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Lean    bool
		Speed   float64
		Systems []line
		Calls   []record.Entry
	}{Lean: s.opts.Lean, Speed: s.opts.Speed}
	for _, name := range s.names {
		l := line{Name: name}
		if s.book != nil {
			l.Calls = s.book.Count(name)
		}
		if state, ok := s.faults.Get(name); ok {
			text, _ := json.Marshal(state) // plain fields
			l.Fault = string(text)
		}
		view.Systems = append(view.Systems, l)
	}
	if s.book != nil {
		var err error
		if view.Calls, err = s.book.Latest(r.Context(), 50); err != nil {
			s.broken(w, err)
			return
		}
	}
	var page bytes.Buffer
	if err := indexPage.Execute(&page, view); err != nil {
		s.broken(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(page.Bytes())
}
