package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"patchbay/internal/sandbox/bureau"
	"patchbay/internal/sandbox/maersk"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/sap"
	"patchbay/internal/sandbox/storage"
)

// shipper is whose bookings the controls are about.
const shipper = "patchbay"

func (s *Server) maerskBookings(w http.ResponseWriter, r *http.Request) {
	list, err := s.maersk.Bookings(r.Context(), s.store, r.URL.Query().Get("own"))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *Server) maerskDecide(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the decision did not arrive whole, or is larger than 64 KiB")
		return
	}
	s.done(w, s.maersk.Decide(r.Context(), s.store, r.PathValue("own"), body))
}

func (s *Server) maerskUndecide(w http.ResponseWriter, r *http.Request) {
	s.done(w, s.maersk.Undecide(r.Context(), s.store, r.PathValue("own")))
}

func (s *Server) maerskStep(w http.ResponseWriter, r *http.Request) {
	s.done(w, s.maersk.Step(r.Context(), s.store, r.PathValue("ref")))
}

func (s *Server) maerskNotify(w http.ResponseWriter, r *http.Request) {
	var to struct {
		URL    string `json:"url"`
		Secret string `json:"secret"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&to); err != nil {
		refuse(w, http.StatusBadRequest, `give {"url": "…", "secret": "…"}`)
		return
	}
	s.done(w, s.maersk.Notify(r.Context(), s.store, shipper, to.URL, to.Secret))
}

func (s *Server) sapOrders(w http.ResponseWriter, r *http.Request) {
	list, err := sap.Orders(r.Context(), s.store, r.URL.Query().Get("reference"))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// kept lists what one system has of a kind.
func kept[T any](s *Server, list func(context.Context, storage.Store) ([]T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found, err := list(r.Context(), s.store)
		if err != nil {
			s.broken(w, err)
			return
		}
		writeJSON(w, http.StatusOK, found)
	}
}

func (s *Server) sapDeliver(w http.ResponseWriter, r *http.Request) {
	s.done(w, sap.Deliver(r.Context(), s.store, r.PathValue("order")))
}

func (s *Server) oracleReservations(w http.ResponseWriter, r *http.Request) {
	list, err := oracle.Reservations(r.Context(), s.store, r.URL.Query().Get("reference"))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// done answers what changed something.
func (s *Server) done(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, maersk.ErrControl), errors.Is(err, bureau.ErrControl), errors.Is(err, sap.ErrControl):
		refuse(w, http.StatusUnprocessableEntity, "%v", err)
	default:
		s.broken(w, err)
	}
}
