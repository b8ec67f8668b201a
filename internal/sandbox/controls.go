package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/dataverse"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/ibm"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/mail"
	"patchbay/internal/sandbox/oracle"
	"patchbay/internal/sandbox/sap"
	"patchbay/internal/sandbox/seed"
	"patchbay/internal/sandbox/storage"
)

const (
	defaultCalls = 1_000
	maxCalls     = 10_000
)

// samples are parameters with which an example flow works at once.
var samples = map[string]any{
	"product-specs":      map[string]any{"product_id": seed.Laptop},
	"customer-360":       map[string]any{},                                             // it needs none
	"loan-qualification": map[string]any{"application": seed.Applicants()[0].Number()}, // rules approve it
}

// serviceDesk is the place of the user who works on cases.
const serviceDesk = 2

// control is one route that tests, demos and people use; no system has it.
type control struct {
	pattern, says string
	serve         http.HandlerFunc
}

func (s *Server) routes() []control {
	return []control{
		{"GET /_sandbox/{$}", "the systems, their faults and the latest calls", s.index},
		{"GET /_sandbox/rows", "the rows of a Dataverse table: ?table=&q=&limit=", s.rowsPage},
		{"GET /_sandbox/calls", "the latest calls: ?system=&limit=", s.callsPage},
		{"GET /_sandbox/calls/{system}", "the calls of a system as JSON, oldest first: ?since=&limit=", s.named(s.calls)},
		{"GET /_sandbox/faults", "every fault that is set", s.allFaults},
		{"GET /_sandbox/faults/{system}", "the faults of a system, and how often each has struck", s.named(s.getFault)},
		{"PUT /_sandbox/faults/{system}", "set the fault of a system, or several as an array", s.named(s.putFault)},
		{"DELETE /_sandbox/faults/{system}", "clear them", s.named(s.clearFault)},
		{"GET /_sandbox/mail", "the mails that were taken as JSON, oldest first: ?since=&to=&limit=; as a page with Accept: text/html, newest first", s.mails},
		{"GET /_sandbox/mail/{n}", "one mail, as a page", s.mailPage},
		{"GET /_sandbox/mail/certificate", "what a client of the mail server trusts, in PEM form", s.mailCertificate},
		{"PUT /_sandbox/mail/limit", "how many mails a minute are taken: {\"per_minute\": 100}; 0 is all", s.putMailLimit},
		{"GET /_sandbox/maersk/bookings", "the bookings as JSON, oldest first: ?own=", s.maerskBookings},
		{"PUT /_sandbox/maersk/decisions/{own}", "what happens to bookings with this reference of the shipper, * are all: {\"booking\": \"reject\"}", s.maerskDecide},
		{"DELETE /_sandbox/maersk/decisions/{own}", "let everything go well again", s.maerskUndecide},
		{"POST /_sandbox/maersk/step/{ref}", "take a booking a step further at once, by any of its references", s.maerskStep},
		{"PUT /_sandbox/maersk/notifications", "sign up for booking notifications: {\"url\": \"…\", \"secret\": \"…\"}; an empty url ends it", s.maerskNotify},
		{"GET /_sandbox/sap/orders", "the sales orders that callers made as JSON, with their items: ?reference=", s.sapOrders},
		{"POST /_sandbox/sap/orders/{order}/deliver", "have the items of an order delivered, after which none can be rejected", s.sapDeliver},
		{"GET /_sandbox/sap/documents", "the attachments of all objects as JSON, with their SHA-256", kept(s, sap.Documents)},
		{"GET /_sandbox/ibm/documents", "the documents that callers made with content, as JSON with their SHA-256", kept(s, ibm.Documents)},
		{"GET /_sandbox/oracle/documents", "the attachments of all items as JSON, with their SHA-256", kept(s, oracle.Documents)},
		{"GET /_sandbox/oracle/reservations", "the inventory reservations that there are, as JSON: ?reference=", s.oracleReservations},
		{"GET /_sandbox/bureau/inquiries", "the inquiries that were charged as JSON, oldest first: ?subject=", s.bureauInquiries},
		{"PUT /_sandbox/bureau/rules/{subject}", "have the bureau answer wrongly about a person, * are all: {\"answer\": \"other-subject\"}", s.bureauBend},
		{"DELETE /_sandbox/bureau/rules/{subject}", "have it answer rightly again", s.bureauUnbend},
		{"PUT /_sandbox/bureau/budget", "what inquiries may cost a day: {\"per_day\": \"10.00\"}; an empty amount is the contract's", s.bureauBudget},
		{"GET /_sandbox/counts", "how many calls each system had, by operation, since the start or the last reset", s.counts},
		{"GET /_sandbox/samples/{flow}", "parameters with which an example flow works", s.sample},
		{"GET /_sandbox/documents", "what is stored of a document: ?path=/FOLDER/NAME", s.lookAtDocument},
		{"PUT /_sandbox/documents", "make a document of the first library, or give it another content: {\"path\": \"/Inbox/a.bin\", \"size\": 1048576}", s.putDocument},
		{"POST /_sandbox/subscriptions/reauthorize", "have every subscription of graph asked to be authorized anew", s.reauthorize},
		{"POST /_sandbox/reset", "bring back the first rows; clear faults and calls", s.postReset},
	}
}

func (s *Server) controls() http.Handler {
	mux := http.NewServeMux()
	list := s.routes()
	known := make([]string, len(list))
	for i, c := range list {
		mux.HandleFunc(c.pattern, c.serve)
		known[i] = strings.TrimSuffix(c.pattern, "{$}") + ": " + c.says
	}
	mux.HandleFunc("/_sandbox/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, problem{Error: "there is no control " + r.Method + " " + r.URL.Path, Controls: known})
	})
	return mux
}

type problem struct {
	Error    string   `json:"error"`
	Controls []string `json:"controls,omitempty"`
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

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	writeJSON(w, status, problem{Error: fmt.Sprintf(format, args...)})
}

// named answers 404 for a system that the sandbox does not have.
func (s *Server) named(next func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("system")
		if !slices.Contains(s.names, name) {
			refuse(w, http.StatusNotFound, "there is no system %q; the sandbox has %s", name, strings.Join(s.names, ", "))
			return
		}
		next(w, r, name)
	}
}

func (s *Server) getFault(w http.ResponseWriter, _ *http.Request, name string) {
	writeJSON(w, http.StatusOK, s.faultsOf(name))
}

// faultsOf is the faults of a system as JSON has them.
func (s *Server) faultsOf(name string) any {
	if name == mail.System {
		return shown(s.drop.Faults.Get())
	}
	return shown(s.faults.Get(name))
}

func (s *Server) allFaults(w http.ResponseWriter, _ *http.Request) {
	all := map[string]any{}
	for _, name := range s.names {
		if list := s.faultsOf(name); list != any(struct{}{}) {
			all[name] = list
		}
	}
	writeJSON(w, http.StatusOK, all)
}

// shown is the faults of a system as JSON has them: one is an object, several are
// an array.
func shown[T any](list []T) any {
	switch len(list) {
	case 0:
		return struct{}{}
	case 1:
		return list[0]
	}
	return list
}

// counts works in the lean sandbox too, which has no record to count in.
func (s *Server) counts(w http.ResponseWriter, _ *http.Request) {
	all := map[string]map[string]int64{}
	for _, name := range s.names {
		all[name] = s.tallies[name].Counts()
	}
	writeJSON(w, http.StatusOK, all)
}

func (s *Server) putFault(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the fault cannot be read: it did not arrive whole, or is larger than 64 KiB")
		return
	}
	if name == mail.System {
		s.putMailFault(w, r, body)
		return
	}
	rules, err := faults.Read(body)
	switch {
	case errors.Is(err, faults.ErrRead):
		refuse(w, http.StatusBadRequest, "%v", err)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "%v", err)
	case name != "oracle" && name != "sap" && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.HasMoreLies }):
		refuse(w, http.StatusUnprocessableEntity, "has_more_lies: shorter pages are for oracle and sap")
	case name != "maersk" && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.ForeignPage }):
		refuse(w, http.StatusUnprocessableEntity, "foreign_page: pages at another host are for maersk")
	case name != "sap" && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.RepeatPage }):
		refuse(w, http.StatusUnprocessableEntity, "repeat_page: pages that lead to themselves are for sap")
	case !strings.HasPrefix(name, "dataverse") && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.Truncate != "" }):
		refuse(w, http.StatusUnprocessableEntity, "truncate: only dataverse and its regions cut texts")
	case name != "graph" && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.Document != "" }):
		refuse(w, http.StatusUnprocessableEntity, "document: only graph has documents")
	case name != "model" && slices.ContainsFunc(rules, func(r faults.Rule) bool { return r.Model != "" }):
		refuse(w, http.StatusUnprocessableEntity, "model: only a model answers wrongly in these ways")
	default:
		s.faults.Put(name, rules...)
		s.getFault(w, r, name)
	}
}

func (s *Server) clearFault(w http.ResponseWriter, _ *http.Request, name string) {
	s.faults.Clear(name)
	if name == mail.System {
		s.drop.Faults.Put()
	}
	w.WriteHeader(http.StatusNoContent)
}

const noRecord = "the lean sandbox keeps no record"

func (s *Server) calls(w http.ResponseWriter, r *http.Request, name string) {
	if s.book == nil {
		refuse(w, http.StatusNotFound, noRecord)
		return
	}
	since, err := numberIn(r, "since", 0)
	limit, err2 := numberIn(r, "limit", defaultCalls)
	if err != nil || err2 != nil || limit < 1 {
		refuse(w, http.StatusBadRequest, "since is a number from 0 on, limit one from 1 on")
		return
	}
	list, err := s.book.Since(r.Context(), name, since, int(min(limit, maxCalls)))
	if err != nil {
		s.broken(w, err)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

var errNumber = errors.New("not a number from 0 on")

// numberIn is a number of the query, or what is meant when it is left out.
func numberIn(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errNumber
	}
	return n, nil
}

func (s *Server) broken(w http.ResponseWriter, err error) {
	s.opts.Logger.Error("serving a control", zap.Error(err))
	refuse(w, http.StatusInternalServerError, "the sandbox cannot reach its database")
}

func (s *Server) sample(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("flow") {
	case "case-notifications":
		s.sampleCase(w, r)
		return
	case "order-approved", "order-to-shipment":
		s.sampleOrder(w, r)
		return
	case "contract-distribution":
		s.sampleContract(w, r)
		return
	}
	sample, ok := samples[r.PathValue("flow")]
	if !ok {
		refuse(w, http.StatusNotFound, "there are no samples for the flow %q; product-specs, case-notifications, customer-360, order-approved, order-to-shipment, contract-distribution and loan-qualification have them", r.PathValue("flow"))
		return
	}
	writeJSON(w, http.StatusOK, sample)
}

// sampleCase is a case in progress that its customer is told of, the change after
// which the customer has to do something, and who may make it.
func (s *Server) sampleCase(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	const inProgress, waitingForDetails = int64(1), int64(3)
	var found storage.Row
	err := s.store.Read(ctx, func(tx storage.Tx) (err error) {
		found, err = storage.First(ctx, tx, s.env.Rows("incident"), storage.And{
			storage.Compare{Column: "statuscode", Op: storage.Eq, Value: inProgress}, storage.Compare{Column: "msx_customerfacing", Op: storage.Eq, Value: true},
			storage.Not{X: storage.Null{Column: "customer_email"}},
		}, false)
		return err
	})
	switch {
	case err != nil:
		s.broken(w, err)
	case found == nil:
		refuse(w, http.StatusNotFound, "every case of a customer has moved on; POST /_sandbox/reset brings back the first rows")
	default:
		user := login.Users[serviceDesk]
		writeJSON(w, http.StatusOK, map[string]any{"incidentid": found["incidentid"], "change": map[string]any{"statuscode": waitingForDetails},
			"client_id": user.ClientID, "client_secret": user.Secret})
	}
}

// sampleOrder is an order that waits for approval; of the flow that hears of that, also the
// change and who may make it.
func (s *Server) sampleOrder(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	var found []storage.Row
	err := s.store.Read(ctx, func(tx storage.Tx) (err error) {
		found, err = tx.Find(ctx, s.env.Rows("salesorder"), storage.Query{Order: []storage.Order{{Column: "ordernumber"}}, Limit: 1,
			Where: storage.Compare{Column: "statuscode", Op: storage.Eq, Value: int64(dataverse.OrderNew)}})
		return err
	})
	switch {
	case err != nil:
		s.broken(w, err)
	case len(found) == 0:
		refuse(w, http.StatusNotFound, "every order has moved on; POST /_sandbox/reset brings back the first rows")
	case r.PathValue("flow") == "order-to-shipment":
		writeJSON(w, http.StatusOK, map[string]any{"ordernumber": found[0]["ordernumber"]})
	default:
		user := login.Users[serviceDesk]
		writeJSON(w, http.StatusOK, map[string]any{"ordernumber": found[0]["ordernumber"], "change": map[string]any{"statuscode": dataverse.OrderApproved},
			"client_id": user.ClientID, "client_secret": user.Secret})
	}
}

func (s *Server) postReset(w http.ResponseWriter, r *http.Request) {
	if err := s.reset(r.Context()); err != nil {
		s.broken(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
