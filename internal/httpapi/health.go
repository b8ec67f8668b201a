package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"patchbay/internal/fault"
)

// readyTime bounds a readiness check: a probe wants an answer, not the reason
// why there is none.
const readyTime = 2 * time.Second

// health says that the process answers. It asks nobody else: a probe that
// restarts a process for its database's sake makes two failures of one.
func health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// Probes serves /healthz, /readyz and /metrics for a process that serves nothing
// else. It knows no keys: whoever reaches its listener may ask.
func Probes(readiness Readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /readyz", ready(readiness))
	mux.Handle("GET /metrics", metrics)
	return mux
}

func ready(readiness Readiness) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		body := struct {
			Status string  `json:"status"`
			Checks []Check `json:"checks"`
		}{"ok", readiness.Ready(ctx)}
		if body.Checks == nil {
			body.Checks = []Check{}
		}
		status := http.StatusOK
		for _, c := range body.Checks {
			switch {
			case c.Status == "fail":
				body.Status, status = "fail", http.StatusServiceUnavailable
			case c.Status == "warn" && body.Status == "ok":
				body.Status = "warn"
			}
		}
		if status != http.StatusOK {
			w.Header().Set("Retry-After", "1")
		}
		writeJSON(w, status, body)
	}
}

func (a *api) metrics(w http.ResponseWriter, r *http.Request) {
	switch {
	case !operates(PrincipalFrom(r.Context())):
		writeProblem(w, r, fault.New(fault.Unauthorized, "auth.forbidden", "metrics need a key of role operate", nil))
	case a.o.Metrics == nil:
		writeProblem(w, r, fault.NotFoundf("path.unknown", "this process keeps no metrics"))
	default:
		a.o.Metrics.ServeHTTP(w, r)
	}
}

// writeJSON answers with a value of our own making, which can be encoded.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone; nobody else to tell
}
