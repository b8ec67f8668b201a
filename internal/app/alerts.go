package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/alert"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/topic"
)

// watchEvery is how often it is looked for what is wrong.
const watchEvery = 5 * time.Second

// watch looks for what is wrong until ctx ends, and keeps it on the board. What cannot
// be seen now is looked at again: an alert never ends because nobody could look.
func (a *api) watch(ctx context.Context) {
	ticks := time.NewTicker(max(time.Duration(float64(watchEvery)/a.Speed), 200*time.Millisecond))
	defer ticks.Stop()
	for {
		if err := a.look(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("looking for what is wrong", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (a *api) look(ctx context.Context) error {
	var wrong []error
	for _, one := range []struct {
		kind alert.Kind
		find func(context.Context) ([]alert.Finding, error)
	}{{alert.Events, a.troubled}, {alert.Letters, a.buried}, {alert.Repairs, a.unrepaired}, {alert.Topics, a.unheard}, {alert.Spike, a.spiking}, {alert.Sweeps, a.unswept}, {alert.Canary, a.silent}, {alert.Schedules, a.slipping}, {alert.Regions, a.lags.find}} {
		list, err := one.find(ctx)
		if err == nil {
			err = a.board.Found(ctx, one.kind, list)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("looking at %s: %w", one.kind, err))
		}
	}
	return errors.Join(append(wrong, a.board.Lapse(ctx, alert.Conflict))...)
}

// troubled are events that wait for a person, by flow, source and clause.
func (a *api) troubled(ctx context.Context) ([]alert.Finding, error) {
	list, err := a.inbox.Troubles(ctx, flow.TroubleFilter{})
	if err != nil {
		return nil, err
	}
	var found merged
	for _, t := range list {
		sample := t.Sample.Record
		if t.Sample.Key != "" {
			sample = t.Sample.Key
		}
		found.add(alert.Finding{Flow: t.Flow, Code: string(t.Reason) + ":" + t.Clause + ":" + t.Source, Text: "events of " + t.Source + " are " + string(t.Reason) + ": " + t.Detail,
			Sample: sample, Link: "/dead/events?flow=" + url.QueryEscape(t.Flow), Count: t.Count, First: t.First, Last: t.Last, Once: t.Reason == flow.EventRejected})
	}
	return found, nil
}

// merged are findings, one a cause: the newest tells.
type merged []alert.Finding

func (m *merged) add(f alert.Finding) {
	for i := range *m {
		if o := &(*m)[i]; o.Flow == f.Flow && o.Code == f.Code {
			o.Count += f.Count
			if f.First.Before(o.First) {
				o.First = f.First
			}
			return
		}
	}
	*m = append(*m, f)
}

// mostBuried bounds the dead letters that are counted.
const mostBuried = 200

func (a *api) buried(ctx context.Context) ([]alert.Finding, error) {
	list, _, err := a.book.Letters(ctx, flow.LetterFilter{State: flow.LetterDead, Limit: mostBuried})
	if err != nil {
		return nil, err
	}
	var found merged
	for _, l := range list {
		found.add(alert.Finding{Flow: l.Flow, Code: l.Problem.Code, Text: "runs are dead letters: " + l.Problem.Detail, Sample: l.RunID,
			Link: "/dead?flow=" + url.QueryEscape(l.Flow), Count: 1, First: l.DiedAt, Last: l.DiedAt})
	}
	return found, nil
}

// unrepaired are steps of services that a person has to put right, by flow and step.
func (a *api) unrepaired(ctx context.Context) ([]alert.Finding, error) {
	list, err := a.book.Repairs(ctx, flow.RepairFilter{})
	if err != nil {
		return nil, err
	}
	var found merged
	for _, r := range list {
		found.add(alert.Finding{Flow: r.Flow, Code: "undo.stands:" + r.Step, Text: "the step " + r.Step + " could not be taken back, and a person has to: " + r.Problem.Detail,
			Sample: strings.TrimSpace("run " + r.RunID + ", " + r.Target + " " + strings.Join(r.Keys[:min(len(r.Keys), 1)], "")),
			Link:   "/repairs?flow=" + url.QueryEscape(r.Flow), Count: 1, First: r.Since, Last: r.Since})
	}
	return found, nil
}

// unheard are business events that expired, or that a flow could not be started by.
func (a *api) unheard(ctx context.Context) ([]alert.Finding, error) {
	list, err := a.topics.Troubles(ctx)
	var found []alert.Finding
	for _, t := range list {
		text := "nobody came for business events " + t.Topic + " in time: " + topic.Words(t.Sample)
		if t.State == flow.TopicDead {
			text = "a flow could not be started by business events " + t.Topic + ": " + topic.Words(t.Sample)
		}
		found = append(found, alert.Finding{Code: "event." + string(t.State) + ":" + t.Topic, Text: text, Sample: t.Sample.ID, Link: "/dead/events#business",
			Count: t.Count, First: t.First, Last: t.Last, Once: t.State == flow.TopicExpired})
	}
	return found, err
}

// spiking are flows past what they expect; each mode is an alert of its own, so that a
// switch is told.
func (a *api) spiking(ctx context.Context) ([]alert.Finding, error) {
	list, err := a.inbox.Spikes(ctx)
	if err != nil {
		return nil, err
	}
	var found []alert.Finding
	for _, s := range list {
		text := fmt.Sprintf("%d events came where %d are expected; the flow is in the mode %s", s.Received, s.Expected, s.Mode)
		if s.Drained != nil {
			text += ", and what waits is gone by " + s.Drained.UTC().Format("15:04 UTC on 2 January") + " at the rate of its last minute"
		} else {
			text += "; when what waits is gone is not known"
		}
		found = append(found, alert.Finding{Flow: s.Flow, Code: "spike." + string(s.Mode), Text: text, Link: "/flows/" + url.PathEscape(s.Flow),
			Count: 1, First: s.Since, Last: s.Since})
	}
	return found, nil
}

func (a *api) unswept(ctx context.Context) ([]alert.Finding, error) {
	applied, err := a.plans.List(ctx)
	if err != nil {
		return nil, err
	}
	var found []alert.Finding
	for _, p := range applied {
		if p.Plan.Reaction == nil {
			continue
		}
		problems, err := a.inbox.SweepProblems(ctx, p.Plan)
		if err != nil {
			return nil, err
		}
		for _, f := range problems {
			found = append(found, alert.Finding{Flow: p.Plan.Flow, Code: "sweep." + f.Source, Text: "what changes in " + f.Source + " is not followed to its end: " + f.Problem,
				Link: "/flows/" + url.PathEscape(p.Plan.Flow), Count: 1})
		}
	}
	return found, nil
}

func (a *api) silent(context.Context) ([]alert.Finding, error) {
	song := a.canary.Song()
	if song.Passed.IsZero() && song.Misses == 0 || song.Well() {
		return nil, nil
	}
	return []alert.Finding{{Code: "canary." + string(song.Leg), Text: "the canary does not pass: the leg " + string(song.Leg) + " is down", Count: int64(song.Misses), First: song.Passed}}, nil
}

// conflicted keeps that a source sent another event under an ID that is taken.
func (a *api) conflicted(ctx context.Context, name string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if failed := a.board.Happened(ctx, alert.Conflict, alert.Finding{Flow: name, Code: fault.Of(err).Code, Text: fault.Of(err).Text,
		Link: "/flows/" + url.PathEscape(name)}); failed != nil {
		a.Log.Warn("keeping an alert", zap.Error(failed))
	}
}

// alarmed tells the board of deliveries that say something else under a known ID.
type alarmed struct {
	*hooks
	conflict func(ctx context.Context, flow string, err error)
}

// Receive implements httpapi.Hooks.
func (h alarmed) Receive(ctx context.Context, d flow.Delivery) (flow.Receipt, error) {
	receipt, err := h.hooks.Receive(ctx, d)
	if fault.Is(err, fault.Conflict) {
		h.conflict(ctx, d.Flow, err)
	}
	return receipt, err
}

// sender tells people of alerts by mail and webhook.
func (a *api) sender() *alert.Sender {
	s := alert.NewSender(a.board, func(rules flow.Alerting) map[string]alert.Channel {
		channels := map[string]alert.Channel{}
		if rules.Mail != nil {
			channels["mail"] = mailer{a.systems, *rules.Mail}
		}
		if rules.Webhook != nil {
			channels["webhook"] = poster{*rules.Webhook, a.Resolve, a.systems.client}
		}
		return channels
	})
	s.Page = a.face.Address
	s.Failed = func(channel string, err error) {
		a.Log.Warn("telling of an alert", zap.String("channel", channel), zap.Error(err))
	}
	return s
}

// mailer sends alerts by a connection of system smtp. The ID of a message is that of
// its mail for each recipient: one that was sent twice is known by its Message-ID.
type mailer struct {
	systems *systems
	rules   flow.AlertMail
}

// Send implements alert.Channel.
func (m mailer) Send(ctx context.Context, msg alert.Message) error {
	system, err := m.systems.current(ctx, m.rules.Connection)
	if err != nil {
		return err
	}
	target, ok := system.(connector.Upserter)
	if !ok {
		return lacking(m.rules.Connection, "send mail")
	}
	rows := make([]connector.Row, len(m.rules.To))
	for i, to := range m.rules.To {
		rows[i] = connector.Row{"id": fmt.Sprintf("%s-%d", msg.ID, i+1), "recipient": to, "subject": "[Patchbay] " + strings.Join(strings.Fields(msg.Subject), " "), "text": msg.Text}
	}
	results, err := target.Upsert(ctx, connector.Upsert{Table: "message", Key: []string{"id"}, Rows: rows})
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// poster posts alerts; its secret is resolved at each use (promise 9).
type poster struct {
	rules   flow.AlertWebhook
	resolve func(string) (string, error)
	client  *http.Client
}

// Send implements alert.Channel.
func (s poster) Send(ctx context.Context, m alert.Message) error {
	secret, err := s.resolve(s.rules.Secret)
	if err != nil {
		return err
	}
	address, err := s.resolve(s.rules.URL)
	if err != nil {
		return err
	}
	return alert.Webhook{URL: address, Secret: secret, Client: s.client}.Send(ctx, m)
}
