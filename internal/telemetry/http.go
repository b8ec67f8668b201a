package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Measure wraps a handler that routes by http.ServeMux and records each request
// under the pattern that served it, which holds no parameter.
func (m *Metrics) Measure(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &seenStatus{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		route := r.Pattern
		if route == "" {
			route = "none"
		}
		m.requests.Record(r.Context(), time.Since(began).Seconds(), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("route", route), attribute.String("status", strconv.Itoa(seen.status)))))
	})
}

type seenStatus struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (s *seenStatus) WriteHeader(status int) {
	if !s.wrote && status >= 200 { // what is below announces, and another follows
		s.status, s.wrote = status, true
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *seenStatus) Write(b []byte) (int, error) {
	s.wrote = true
	return s.ResponseWriter.Write(b)
}

// Flush lets server-sent events through.
func (s *seenStatus) Flush() {
	if f, ok := s.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap gives http.ResponseController the rest.
func (s *seenStatus) Unwrap() http.ResponseWriter { return s.ResponseWriter }
