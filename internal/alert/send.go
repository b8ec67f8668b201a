package alert

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/store"
)

type (
	// Message is what people are told.
	Message struct {
		ID      string // the same however often it is sent
		Alert   flow.Alert
		Over    bool // it says that it is over
		Subject string
		Text    string
	}

	// Channel sends messages. One that may have been sent and was not confirmed is an
	// error too: it is sent again, with the same ID.
	Channel interface {
		Send(ctx context.Context, m Message) error
	}

	// Channels gives the channels of rules, by name.
	Channels func(flow.Alerting) map[string]Channel

	// Sender tells people of alerts. Any number may run.
	Sender struct {
		// Failed is told of a message that could not be sent; it may be nil.
		Failed func(channel string, err error)
		// Page is the address of the console; empty: messages have no links.
		Page string

		board    *Board
		channels Channels
	}
)

const (
	sendEvery = 2 * time.Second
	sendTime  = 20 * time.Second // for one message
	lease     = 45 * time.Second // after it somebody else sends it
	mostSends = 20               // of one round
	longest   = 10 * time.Minute // between two tries
	repeatGap = time.Hour
)

// NewSender gives the sender of a board.
func NewSender(b *Board, c Channels) *Sender { return &Sender{board: b, channels: c} }

// Run tells people of alerts until ctx ends. It never gives up.
func (s *Sender) Run(ctx context.Context) {
	ticks := time.NewTicker(s.board.scaled(sendEvery))
	defer ticks.Stop()
	for {
		if err := s.Round(ctx); err != nil && ctx.Err() == nil && s.Failed != nil {
			s.Failed("", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// Round puts messages of what is new, lasts or is over on their way, and sends what is
// due.
func (s *Sender) Round(ctx context.Context) error {
	rules, err := s.board.Rules(ctx)
	if err != nil {
		return err
	}
	channels := s.channels(rules)
	if len(channels) == 0 {
		return nil
	}
	gap := rules.Repeat
	if gap <= 0 {
		gap = repeatGap
	}
	for name := range channels {
		if err := s.board.announce(ctx, name, s.board.scaled(gap)); err != nil {
			return err
		}
	}
	return s.deliver(ctx, channels)
}

// announce makes the messages of one channel that are due: the number of messages that
// an alert has had there is part of their ID, so that of several processes one makes it.
func (b *Board) announce(ctx context.Context, channel string, gap time.Duration) error {
	return b.store.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			with a as (
				select a.id, a.resolved_at, n.sent as n from alert a,
					lateral (select count(*) as sent, max(due_at) filter (where sent_at is null) as waits, max(sent_at) as last,
					                coalesce(bool_or(resolved), false) as over from notice where alert_id = a.id and channel = $1) n
				where (a.resolved_at is null or a.resolved_at > now() - interval '1 day') and not n.over and n.waits is null
					and (a.resolved_at is null and (n.sent = 0 or not a.once and n.last < now() - $2::interval) or a.resolved_at is not null and n.sent > 0)
				order by a.id limit 100 for update of a skip locked
			), m as (
				insert into notice (id, alert_id, channel, resolved)
				select 'alert-' || a.id || '-' || a.n + 1 || '-' || $1, a.id, $1, a.resolved_at is not null from a on conflict do nothing returning alert_id
			)
			update alert set told = told + 1, told_at = now() from m where alert.id = m.alert_id`, channel, gap)
		return err
	})
}

// deliver sends what is due. A message that fails is due again later, and holds up no
// other.
func (s *Sender) deliver(ctx context.Context, channels map[string]Channel) error {
	type parcel struct {
		Message
		channel string
		tries   int
	}
	var list []parcel
	err := s.board.store.Write(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			with n as (
				update notice set due_at = now() + $2::interval, tries = tries + 1
				where id in (select id from notice where sent_at is null and due_at <= now() order by due_at limit $1 for update skip locked)
				returning id, alert_id, channel, resolved, tries
			)
			select n.id, n.channel, n.resolved, n.tries, a.id, a.flow, a.kind, a.code, a.text, a.sample, a.link, a.count, a.first_at, a.last_at, a.told, a.resolved_at
			from n join alert a on a.id = n.alert_id`, mostSends, lease)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (parcel, error) {
			var p parcel
			a := &p.Alert
			err := r.Scan(&p.ID, &p.channel, &p.Over, &p.tries, &a.ID, &a.Flow, &a.Kind, &a.Code, &a.Text, &a.Sample, &a.Link, &a.Count, &a.First, &a.Last,
				&a.Told, &a.Resolved)
			return p, err
		})
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range list {
		channel := channels[p.channel]
		if channel == nil {
			continue // its rules are gone; when they come back it is sent
		}
		p.Subject, p.Text = Words(p.Alert, p.Over, s.Page)
		limited, cancel := context.WithTimeout(ctx, sendTime)
		failed := channel.Send(limited, p.Message)
		cancel()
		if failed != nil && s.Failed != nil {
			s.Failed(p.channel, failed)
		}
		if err := s.board.sent(ctx, p.ID, p.tries, failed); err != nil {
			return err
		}
	}
	return nil
}

func (b *Board) sent(ctx context.Context, id string, tries int, failed error) error {
	return b.store.Write(ctx, func(c *pgxpool.Conn) error {
		if failed == nil {
			_, err := c.Exec(ctx, `update notice set sent_at = now(), problem = '' where id = $1`, id)
			return err
		}
		f := fault.Of(failed)
		wait := b.scaled(max(f.After, min(time.Second<<min(tries, 10), longest)))
		_, err := c.Exec(ctx, `update notice set due_at = now() + $2::interval, problem = $3 where id = $1 and sent_at is null`, id, wait, store.Text(f.Text))
		return err
	})
}

// Words are the subject and the text of a message.
func Words(a flow.Alert, over bool, page string) (subject, text string) {
	about := a.Flow
	if about == "" {
		about = "Patchbay"
	}
	subject = about + ": " + a.Code
	text = a.Text + "\n\n"
	if over {
		subject, text = "Over: "+subject, "This is over: "+text
	}
	text += fmt.Sprintf("Times:  %d\nFirst:  %s\nLast:   %s\n", a.Count, a.First.UTC().Format(time.RFC3339), a.Last.UTC().Format(time.RFC3339))
	if a.Sample != "" {
		text += "Sample: " + a.Sample + "\n"
	}
	if page != "" && a.Link != "" {
		text += "\n" + page + a.Link + "\n"
	}
	return subject, text
}
