package sandbox

import (
	"encoding/json"
	"net/http"

	"patchbay/internal/sandbox/bureau"
)

func (s *Server) bureauInquiries(w http.ResponseWriter, r *http.Request) {
	list, err := bureau.Inquiries(r.Context(), s.store, r.URL.Query().Get("subject"))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Server) bureauBend(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Answer string `json:"answer"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || in.Answer == "" {
		refuse(w, http.StatusBadRequest, `give {"answer": "other-subject"}`)
		return
	}
	s.done(w, bureau.Bend(r.Context(), s.store, r.PathValue("subject"), in.Answer))
}

func (s *Server) bureauUnbend(w http.ResponseWriter, r *http.Request) {
	s.done(w, bureau.Bend(r.Context(), s.store, r.PathValue("subject"), ""))
}

func (s *Server) bureauBudget(w http.ResponseWriter, r *http.Request) {
	var in struct {
		PerDay *string `json:"per_day"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || in.PerDay == nil {
		refuse(w, http.StatusBadRequest, `give {"per_day": "10.00"}`)
		return
	}
	s.done(w, bureau.Allow(r.Context(), s.store, *in.PerDay))
}
