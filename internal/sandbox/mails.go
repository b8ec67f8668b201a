package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"patchbay/internal/sandbox/mail"
)

// latestMails are on one page.
const latestMails = 100

// mails gives JSON, as tests want it, and a page to whoever asks for HTML.
func (s *Server) mails(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.mailsPage(w, r, to)
		return
	}
	since, err := numberIn(r, "since", 0)
	limit, err2 := numberIn(r, "limit", maxCalls)
	if err != nil || err2 != nil || limit < 1 || strings.ContainsAny(to, "\x00\n") {
		refuse(w, http.StatusBadRequest, "since is a number from 0 on, limit one from 1 on, to an address")
		return
	}
	list, err := s.drop.Since(r.Context(), since, to, int(min(limit, maxCalls)))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Server) mailsPage(w http.ResponseWriter, r *http.Request, to string) {
	view := struct {
		frame
		To, At string
		Total  int64
		Limit  int
		Mails  []mail.Mail
	}{frame: s.frame(r, "Mail"), To: to, At: s.mailAddress(), Total: s.drop.Size(), Limit: s.drop.Limit()}
	if strings.ContainsAny(to, "\x00\n") {
		refuse(w, http.StatusBadRequest, "to is an address")
		return
	}
	var err error
	if view.Mails, err = s.drop.Latest(r.Context(), to, latestMails); err != nil {
		s.broken(w, err)
		return
	}
	s.show(w, "mails.html", view)
}

// mailAddress is where mail is taken; empty when it is not.
func (s *Server) mailAddress() string {
	at, _ := s.mailAt.Load().(string)
	return at
}

// mailPage shows one mail. Its HTML is somebody else's: it is in a frame that may do
// nothing, and the page's policy lets it load nothing.
func (s *Server) mailPage(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 1 {
		refuse(w, http.StatusNotFound, "mails have numbers from 1 on")
		return
	}
	list, err := s.drop.Since(r.Context(), n-1, "", 1)
	if err != nil {
		s.broken(w, err)
		return
	}
	if len(list) == 0 || list[0].N != n {
		refuse(w, http.StatusNotFound, "there is no mail %d", n)
		return
	}
	view := struct {
		frame
		mail.Mail
	}{s.frame(r, "Mail "+strconv.FormatInt(n, 10)), list[0]}
	s.show(w, "mail.html", view)
}

func (s *Server) mailCertificate(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(s.drop.Certificate()) // the caller is gone
}

func (s *Server) putMailLimit(w http.ResponseWriter, r *http.Request) {
	var given struct {
		PerMinute *int `json:"per_minute"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil || json.Unmarshal(body, &given) != nil || given.PerMinute == nil || *given.PerMinute < 0 {
		refuse(w, http.StatusBadRequest, `the limit is {"per_minute": N}, N from 0 on; 0 is no limit`)
		return
	}
	s.drop.SetLimit(*given.PerMinute)
	writeJSON(w, http.StatusOK, given)
}

func (s *Server) putMailFault(w http.ResponseWriter, r *http.Request, body []byte) {
	rules, err := mail.Read(body)
	switch {
	case errors.Is(err, mail.ErrRead):
		refuse(w, http.StatusBadRequest, "%v", err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "%v", err)
	default:
		s.drop.Faults.Put(rules...)
		s.getFault(w, r, mail.System)
	}
}
