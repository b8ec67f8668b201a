package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

type (
	// aMail is one that the sandbox's mail drop holds, and what its subject says.
	aMail struct {
		N            int64
		At           time.Time
		ID, Subject  string
		To           []string
		name, window string
		step, status int
	}

	// smtpEntry is what the drop's record says of a session that did not go well.
	smtpEntry struct {
		At                 time.Time `json:"at"`
		Path, Query, Fault string
	}

	// post is all that the drop knows.
	post struct {
		mails map[string][]aMail // by case, in order
		lost  []time.Time        // sessions that ended between DATA and the final dot
		cut   map[string]bool    // Message-IDs that were stored and never answered, by a fault
	}

	// windowed is the run of a window, as patchbay tells of it.
	windowed struct {
		window        int64
		run           flow.Run
		doubt, resent bool
	}
)

// near is how far from a blow a mail may have been stored, or its session have ended,
// that was between DATA and its answer, or its answer on the way into the ledger: as
// long as a commit takes longer besides, where the machine has other things to do.
func (w *world) near() time.Duration {
	w.clients.mu.Lock()
	defer w.clients.mu.Unlock()
	if len(w.acks) == 0 {
		return 1500 * time.Millisecond
	}
	slices.Sort(w.acks)
	return 1500*time.Millisecond + w.acks[len(w.acks)*9/10]
}

// judgeCases judges every case by what its sender said and what the drop holds, and
// returns how it went. blows are when processes were ended: what is flagged has to be
// of a mail that was on its way then. All that is wrong is reported.
func (w *world) judgeCases(blows []span) map[string]int {
	w.t.Helper()
	drop := w.drop()
	counts := map[string]int{}
	unseen := 0
	known := map[string]bool{}
	for _, c := range w.senders.all() {
		known[c.name] = true
		unseen += c.judge(w, drop, blows, counts)
	}
	for name := range drop.mails {
		if !known[name] {
			w.t.Errorf("the drop has mails about %s, which is no case", name)
		}
	}
	counts["flagged, never seen by the drop"] = unseen
	counts["sessions lost in DATA"] = len(drop.lost)
	if unseen > len(drop.lost) {
		w.t.Errorf("%d mails are flagged that the drop has not or once, and it lost %d sessions in DATA only", unseen, len(drop.lost))
	}
	return counts
}

// drop reads the sandbox's mail drop and its record.
func (w *world) drop() post {
	w.t.Helper()
	p := post{mails: map[string][]aMail{}, cut: map[string]bool{}}
	for since := int64(0); ; {
		var page []aMail
		w.sandboxed(fmt.Sprintf("/_sandbox/mail?since=%d", since), &page)
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			since = m.N
			words := strings.Fields(m.Subject)
			require.Len(w.t, words, 4, m.Subject)
			m.name, m.window = words[0], words[1]
			m.step, m.status = number(w, words[2]), number(w, words[3])
			p.mails[m.name] = append(p.mails[m.name], m)
		}
	}
	for since := int64(0); ; {
		var page []struct {
			N int64
			smtpEntry
		}
		w.sandboxed(fmt.Sprintf("/_sandbox/calls/mail?since=%d&limit=1000", since), &page)
		if len(page) == 0 {
			return p
		}
		for _, e := range page {
			since = e.N
			switch {
			case e.Path == "/body" && e.Fault == "lost":
				p.lost = append(p.lost, e.At)
			case e.Path == "/message" && e.Fault == "drop":
				p.cut[e.Query] = true
			}
		}
	}
}

func number(w *world, text string) int {
	n, err := strconv.Atoi(text)
	require.NoError(w.t, err)
	return n
}

// sandboxed asks the sandbox for something.
func (w *world) sandboxed(path string, into any) {
	w.t.Helper()
	status, err := get(w.ctx, w.sandbox+path, into)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, status, path)
}

// judge judges one case; unseen are its mails that are flagged although the drop has
// them once or not at all.
func (c *aCase) judge(w *world, drop post, blows []span, counts map[string]int) (unseen int) {
	w.t.Helper()
	wrong := func(format string, args ...any) {
		w.t.Errorf("%s (%s): %s", c.name, c.flow, fmt.Sprintf(format, args...))
	}
	if c.err != nil {
		wrong("promise 1: %v", c.err)
	}
	if c.tries > 2 {
		counts["deliveries sent again"] += c.tries - 2
	}
	runs := c.fates(w, wrong, counts)
	mails := drop.mails[c.name]
	by := map[string][]aMail{}
	last := 0
	for _, m := range mails {
		by[m.window] = append(by[m.window], m)
		switch {
		case c.swept && !slices.Contains(c.states, m.status), !c.swept && (m.step > len(c.states) || c.states[m.step-1] != m.status):
			wrong("a mail says %q, which it never was", m.Subject)
		case m.step < last:
			wrong("a mail of step %d came after one of step %d", m.step, last)
		}
		last = m.step
	}
	counts["mails"] += len(mails)
	for window := range by {
		if !slices.ContainsFunc(runs, func(r windowed) bool { return fmt.Sprintf("window-%d", r.window) == window }) {
			wrong("a mail is of %s, and no event is", window)
		}
	}
	for _, r := range runs {
		sent := by[fmt.Sprintf("window-%d", r.window)]
		switch {
		case r.run.Status != flow.Completed && !r.doubt:
			wrong("run %s of window %d is %s: %+v", r.run.RunID, r.window, r.run.Status, r.run.Problem)
		case len(sent) != 1 && !r.doubt && !r.resent, r.resent && len(sent) == 0, r.doubt && !r.resent && len(sent) > 1:
			wrong("window %d has %d mails, and its run says %+v", r.window, len(sent), r.run.Effects)
		}
		if r.doubt || r.resent {
			counts["flagged"]++
			if c.explained(sent, drop, blows, w.near()) {
				continue
			}
			unseen++
		}
	}
	switch {
	case !c.facing():
		if len(mails) > 0 {
			wrong("nobody was to hear of it, and %d mails are there", len(mails))
		}
	case len(runs) > 0 && runs[len(runs)-1].doubt: // a person has been told instead
	case len(c.states) == 0: // it never came to anything
	case len(mails) == 0:
		wrong("promise 1: its customer heard nothing of %v", c.states)
	case mails[len(mails)-1].status != c.states[len(c.states)-1]:
		wrong("its customer was last told %d, it is %d: %v", mails[len(mails)-1].status, c.states[len(c.states)-1], c.states)
	}
	return unseen
}

// explained reports whether a mail that is flagged was on its way at a blow, or its
// answer was cut off by a fault.
func (c *aCase) explained(sent []aMail, drop post, blows []span, near time.Duration) bool {
	return slices.ContainsFunc(sent, func(m aMail) bool {
		return drop.cut[m.ID] || slices.ContainsFunc(blows, func(s span) bool { return m.At.After(s.from.Add(-near)) && m.At.Before(s.to.Add(near)) })
	})
}

// fates requires that each event of the case has one final fate, and gives the runs
// of its windows in their order.
func (c *aCase) fates(w *world, wrong func(string, ...any), counts map[string]int) (runs []windowed) {
	w.t.Helper()
	var page struct{ Entries []flow.Entry }
	require.NoError(w.t, w.asked("/v1/explain/"+c.name, &page))
	events, windows := 0, map[string]string{}
	for _, e := range page.Entries {
		if e.What != "event" {
			continue
		}
		events++
		counts[e.Reason]++
		if e.Reason == "waiting" || e.Reason == "dead" && c.flow != "crash-ask" {
			wrong("an event is %s: %v", e.Reason, e.Detail)
		}
		if window, ok := e.Detail["window"].(string); ok && e.Run != "" {
			windows[window] = e.Run
		}
	}
	if !c.swept && events != c.events {
		wrong("promise 1: %d events were acknowledged, %d have a fate", c.events, events)
	}
	for window, id := range windows {
		r := windowed{window: int64(number(w, strings.TrimPrefix(window, "window-")))}
		require.NoError(w.t, w.asked("/v1/runs/"+id, &r.run))
		for _, e := range r.run.Effects {
			r.doubt = r.doubt || e.State == flow.Doubtful || e.State == flow.Attempt
			r.resent = r.resent || strings.Contains(e.Reason, "may have arrived twice")
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b windowed) int { return int(a.window - b.window) })
	return runs
}

// asked asks serve for something until it answers.
func (w *world) asked(path string, into any) error {
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.serve.at+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+w.key)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			if resp.StatusCode == http.StatusOK {
				err = json.NewDecoder(resp.Body).Decode(into)
				resp.Body.Close()
				return err
			}
			resp.Body.Close()
		}
		if !wait(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%s has no answer: %w", path, err)
		}
	}
}

// settled reports whether nothing of an event is under way.
func (w *world) settled() bool {
	conn, err := w.owner()
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(w.ctx) }()
	var left int
	err = conn.QueryRow(w.ctx, `
		select (select count(*) from change_window where entered_at is null) + (select count(*) from event where read_at is not null)
		     + (select count(*) from event_fate where fate = 'waiting')`).Scan(&left)
	return err == nil && left == 0
}
