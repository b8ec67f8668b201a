package sandbox

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"patchbay/internal/sandbox/graph"
	"patchbay/internal/sandbox/seed"
)

// maxDocument is the largest document that is made of nothing.
const maxDocument = 1 << 30

// lookAtDocument says what is stored, for whoever judges what was sent.
func (s *Server) lookAtDocument(w http.ResponseWriter, r *http.Request) {
	found, err := s.files.Look(r.Context(), r.URL.Query().Get("path"))
	switch {
	case errors.Is(err, graph.ErrPlace):
		refuse(w, http.StatusBadRequest, "%v", graph.ErrPlace)
	case err != nil:
		s.broken(w, err)
	case found == nil:
		refuse(w, http.StatusNotFound, "there is no such document")
	default:
		writeJSON(w, http.StatusOK, found)
	}
}

func (s *Server) putDocument(w http.ResponseWriter, r *http.Request) {
	var said struct {
		Path string `json:"path"`
		Size int64  `json:"size"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &said) != nil || said.Size < 0 || said.Size > maxDocument {
		refuse(w, http.StatusBadRequest, `a document is {"path": "/Inbox/a.bin", "size": 1048576}, of at most %d bytes`, maxDocument)
		return
	}
	err = s.files.Put(r.Context(), said.Path, said.Size)
	switch {
	case errors.Is(err, graph.ErrPlace):
		refuse(w, http.StatusBadRequest, "%v", graph.ErrPlace)
	case err != nil:
		s.broken(w, err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// sampleContract is a contract in SharePoint, and an order and an item that it is about.
func (s *Server) sampleContract(w http.ResponseWriter, r *http.Request) {
	found, err := s.files.Look(r.Context(), graph.Contract)
	switch {
	case err != nil:
		s.broken(w, err)
	case found == nil:
		refuse(w, http.StatusNotFound, "somebody deleted %s", graph.Contract)
	default:
		var known struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(found.Bytes(), &known); err != nil {
			s.broken(w, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"id": known.ID, "order": seed.Order, "item": seed.Laptop})
	}
}

func (s *Server) reauthorize(w http.ResponseWriter, r *http.Request) {
	if err := s.files.Reauthorize(r.Context()); err != nil {
		s.broken(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
