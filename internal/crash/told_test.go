package crash

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

type (
	// senders are the systems whose events patchbay reacts to. Each repeats a delivery
	// until it is told 202, and knows what it said.
	senders struct {
		w *world

		mu    sync.Mutex
		cases []*aCase
	}

	// aCase is one case and its customer. What it was at each step is all that a mail may say.
	aCase struct {
		flow, name string
		swept      bool // a row of the sandbox's Dataverse, of which no delivery tells its state

		mu     sync.Mutex
		states []int // by step; of one that is swept, those it was given
		events int   // with an ID of its own, that were acknowledged
		tries  int
		err    error
	}

	// event is what a case became at a step.
	event struct {
		of     *aCase
		step   int
		status int
	}
)

// facing is whether the customer of a case is to hear of it: most are.
func (c *aCase) facing() bool { return !strings.HasSuffix(c.name, "-silent") }

func (s *senders) open(flow, name string) *aCase {
	c := &aCase{flow: flow, name: name}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases = append(s.cases, c)
	return c
}

// all are the cases so far.
func (s *senders) all() []*aCase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cases)
}

// became notes that a case changed.
func (c *aCase) became(status int) event {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, status)
	return event{c, len(c.states), status}
}

func (e event) wire() map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": fmt.Sprintf("%s/%d", e.of.name, e.step), "source": "/crm",
		"type": map[bool]string{true: "example.case.created", false: "example.case.update"}[e.step == 1], "subject": e.of.name,
		"time": "2026-01-01T00:00:00Z", "sequence": fmt.Sprint(e.step),
		"data": map[string]any{"id": e.of.name, "status": e.status, "step": e.step, "facing": e.of.facing(), "mail": e.of.name + "@customer.example"},
	}
}

// tell delivers events of one flow in the background, in two batches that are on
// their way at once, out of order and with repetitions.
func (s *senders) tell(flow string, events []event) {
	all := slices.Concat(events, events[:len(events)/2])
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, part := range [][]event{all[:len(all)/2], all[len(all)/2:]} {
		if len(part) == 0 {
			continue
		}
		list := make([]map[string]any, len(part))
		for i, e := range part {
			list[i] = e.wire()
		}
		body, err := json.Marshal(list)
		require.NoError(s.w.t, err)
		s.w.under.Go(func() {
			tries, err := s.deliver("/v1/hooks/"+flow, http.Header{"Content-Type": {"application/cloudevents-batch+json"}, "X-Key": {"sandbox-secret"}}, body)
			for _, e := range part {
				e.of.mu.Lock()
				e.of.tries, e.of.err = e.of.tries+tries, cmp.Or(e.of.err, err)
				e.of.mu.Unlock()
			}
		})
	}
	for _, e := range events {
		e.of.mu.Lock()
		e.of.events++
		e.of.mu.Unlock()
	}
}

// deliver posts until there is a 202, as a sender does.
func (s *senders) deliver(path string, header http.Header, body []byte) (tries int, err error) {
	ctx, cancel := context.WithTimeout(s.w.ctx, s.w.patience)
	defer cancel()
	for {
		tries++
		var status int
		var answer []byte
		if status, answer, err = s.post(ctx, path, header, body); err == nil {
			switch status {
			case http.StatusAccepted:
				return tries, nil
			case http.StatusServiceUnavailable, http.StatusTooManyRequests:
				err = fmt.Errorf("answered %d", status)
			default:
				return tries, fmt.Errorf("a delivery was answered %d %s", status, answer)
			}
		}
		if !wait(ctx, 100*time.Millisecond) {
			return tries, fmt.Errorf("a delivery was not accepted within %s: %w", s.w.patience, err)
		}
	}
}

func (s *senders) post(ctx context.Context, path string, header http.Header, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.w.serve.at+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = header.Clone()
	resp, err := s.w.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var answer json.RawMessage
	_ = json.NewDecoder(resp.Body).Decode(&answer)
	return resp.StatusCode, answer, nil
}

// incident makes a case in the sandbox's Dataverse, whose customer hears of it only by
// change tracking.
func (s *senders) incident() (*aCase, error) {
	var made struct {
		ID string `json:"incidentid"`
	}
	err := s.dataverse(http.MethodPost, "incidents", `{"title":"crash","statuscode":1,"msx_customerfacing":true,"customer_email":"swept@customer.example",
		"customerid_account@odata.bind":"/accounts(`+s.account()+`)"}`, &made)
	if err != nil {
		return nil, err
	}
	c := s.open("crash-sweep", made.ID)
	c.swept, c.states = true, []int{1}
	return c, nil
}

// move gives such a case another status.
func (s *senders) move(c *aCase, status int) error {
	if err := s.dataverse(http.MethodPatch, "incidents("+c.name+")", fmt.Sprintf(`{"statuscode":%d}`, status), nil); err != nil {
		return err
	}
	c.became(status)
	return nil
}

// trimmed delivers that a case changed, without the record, as Dataverse does with
// those that are too large.
func (s *senders) trimmed(c *aCase, operation int) {
	body := fmt.Appendf(nil, `{"MessageName":"Update","PrimaryEntityName":"incident","PrimaryEntityId":%q,"OperationId":"00000000-0000-4000-8000-%012d","InputParameters":[]}`,
		c.name, operation)
	s.w.under.Go(func() {
		tries, err := s.deliver("/v1/hooks/crash-sweep?code=sandbox-secret",
			http.Header{"Content-Type": {"application/json"}, "X-Ms-Dynamics-Msg-Size-Exceeded": {"1"}}, body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tries, c.err = c.tries+tries, cmp.Or(c.err, err)
		c.events++
	})
}

func (s *senders) account() string {
	var id string
	require.NoError(s.w.t, s.w.judge.QueryRow(s.w.ctx, `select accountid::text from dataverse.account limit 1`).Scan(&id))
	return id
}

// dataverse changes a row of the sandbox's, as somebody who works there.
func (s *senders) dataverse(method, path, body string, into any) error {
	form := "grant_type=client_credentials&client_id=patchbay&client_secret=sandbox-secret&scope=" + s.w.sandbox + "/dataverse/.default"
	resp, err := http.Post(s.w.sandbox+"/login/contoso/oauth2/v2.0/token", "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(s.w.ctx, method, s.w.sandbox+"/dataverse/api/data/v9.2/"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = http.Header{"Authorization": {"Bearer " + token.AccessToken}, "Content-Type": {"application/json"}, "Prefer": {"return=representation"}}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s answered %s", method, path, answer.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
