package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

// topicPage is business events as the server lists them.
type topicPage struct {
	Events []flow.TopicEvent `json:"events"`
}

// undecided lists the business events that wait for a person.
func (r *remote) undecided(ctx context.Context, q url.Values) ([]flow.TopicEvent, error) {
	q.Set("undecided", "true")
	q.Set("limit", "500")
	var page topicPage
	err := r.call(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil, nil, &page)
	return page.Events, err
}

// choice are the undecided events of --event that a command is about, the oldest first: by
// their IDs, by --key, and by when they were received.
func (r *remote) choice(ctx context.Context, c *cli.Command, ids []string) ([]flow.TopicEvent, error) {
	q, err := chosen(c)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"flow", "reason"} {
		if q.Has(name) {
			return nil, usage("--%s chooses runs; events are chosen by their IDs, --key, --since and --until", name)
		}
	}
	q.Set("topic", c.String("event"))
	q.Set("order", "oldest")
	if key := c.String("about"); key != "" {
		q.Set("key", key)
	}
	list, err := r.undecided(ctx, q)
	if len(ids) > 0 {
		list = slices.DeleteFunc(list, func(e flow.TopicEvent) bool { return !slices.Contains(ids, e.ID) })
	}
	return list, err
}

// offer has business events offered again, at a pace.
func (r *remote) offer(ctx context.Context, c *cli.Command, ids []string) error {
	list, err := r.choice(ctx, c, ids)
	if err != nil {
		return err
	}
	done := []flow.TopicEvent{}
	if c.Bool("plan") {
		done = append(done, list...)
	} else {
		for part := range slices.Chunk(list, c.Int("rate")) {
			if len(done) > 0 {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Second):
				}
			}
			var got topicPage
			if err := r.call(ctx, http.MethodPost, "/v1/events/"+url.PathEscape(c.String("event"))+"/redrive", nil, map[string]any{"ids": idsOf(part)}, &got); err != nil {
				return err
			}
			done = append(done, got.Events...)
		}
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, topicPage{done})
	}
	word := " offered again"
	if c.Bool("plan") {
		word = " would be offered again"
	}
	fmt.Fprintln(c.Root().Writer, count(len(done), "business event")+word)
	if len(done) > 0 && c.Bool("plan") {
		return printUndecided(c, done)
	}
	return nil
}

// putAside dismisses business events.
func (r *remote) putAside(ctx context.Context, c *cli.Command, ids []string) error {
	list, err := r.choice(ctx, c, ids)
	if err != nil {
		return err
	}
	var got struct {
		Dismissed int `json:"dismissed"`
	}
	if len(list) > 0 {
		body := map[string]any{"ids": idsOf(list), "reason": c.String("dismiss")}
		if err := r.call(ctx, http.MethodPost, "/v1/events/"+url.PathEscape(c.String("event"))+"/dismiss", nil, body, &got); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, got)
	}
	fmt.Fprintln(c.Root().Writer, count(got.Dismissed, "business event")+" dismissed")
	return nil
}

func idsOf(list []flow.TopicEvent) []string {
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.ID
	}
	return ids
}

func printUndecided(c *cli.Command, list []flow.TopicEvent) error {
	t := tabwriter.NewWriter(c.Root().Writer, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "BUSINESS EVENT\tID\tKEY\tRECEIVED\tSTATE\tWHY")
	for _, e := range list {
		state, why := string(e.State), e.Why
		for _, s := range e.Started {
			if s.Problem != nil && e.State != flow.TopicDead {
				state, why = "dead", "it could not start "+s.Flow+": "+s.Problem.Detail
			}
		}
		fmt.Fprintln(t, strings.Join([]string{e.Topic, cut(plain(e.ID), 40), cut(plain(e.Key), 40), e.ReceivedAt.Local().Format(time.DateTime), state, cut(plain(why), 100)}, "\t"))
	}
	return t.Flush()
}
