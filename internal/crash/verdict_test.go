package crash

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"patchbay/internal/flow"
)

// row is what the target holds under one key.
type row struct {
	value  string
	writes int64 // how often it was written
}

// held gives what the target holds, by mark and attribute.
func (w *world) held() map[string]map[string]row {
	w.t.Helper()
	rows, err := w.judge.Query(w.ctx, `
		select msx_productnumber, msx_attribute, coalesce(msx_value, ''), writes from dataverse.msx_specification where writes > 0`)
	require.NoError(w.t, err)
	defer rows.Close()
	all := map[string]map[string]row{}
	for rows.Next() {
		var mark, attribute string
		var r row
		require.NoError(w.t, rows.Scan(&mark, &attribute, &r.value, &r.writes))
		if all[mark] == nil {
			all[mark] = map[string]row{}
		}
		all[mark][attribute] = r
	}
	require.NoError(w.t, rows.Err())
	return all
}

// writes counts the writes to the rows of a mark.
func (w *world) writes(ctx context.Context, mark string) (n int64, err error) {
	err = w.judge.QueryRow(ctx, `select coalesce(sum(writes), 0)::bigint from dataverse.msx_specification where msx_productnumber = $1`, mark).Scan(&n)
	return n, err
}

// verdict judges every press by what its client was told and what the target
// holds, and returns how they ended. All that is wrong is reported.
func (w *world) verdict() map[string]int {
	w.t.Helper()
	w.under.Wait()
	held := w.held()
	counts := map[string]int{}
	causes := map[string]int64{} // by mark: presses that did not share the work of another
	for _, p := range w.all() {
		if p.run.Shared == "" {
			causes[p.Mark]++
		}
	}
	for _, p := range w.all() {
		counts[p.judge(held[p.Mark], causes[p.Mark], w.report(p))]++
		if p.tries > 1 {
			counts["sent again"]++
		}
	}
	for mark := range held {
		if causes[mark] == 0 {
			w.t.Errorf("I3: the target has rows of %s, which nobody pressed", mark)
		}
	}
	return counts
}

func (w *world) report(p *press) func(format string, args ...any) {
	return func(format string, args ...any) {
		w.t.Errorf("%s (%s, %s, run %s, %s): %s", p.Mark, p.Flow, p.Step, p.runID, p.status, fmt.Sprintf(format, args...))
	}
}

// judge says how a press ended, and reports what must not be.
func (p *press) judge(held map[string]row, causes int64, wrong func(string, ...any)) string {
	switch {
	case p.err != nil:
		wrong("I1, I5: %v", p.err)
		return "lost"
	case p.accepted.IsZero():
		wrong("I1: it was never accepted")
		return "lost"
	}
	for attribute, r := range held {
		// Presses of one target key that meet in a batch are merged: one write for all.
		if r.writes < 1 || r.writes > causes {
			wrong("I2: %s was written %d times for %d causes", attribute, r.writes, causes)
		}
	}
	if p.cert != nil {
		return p.judgeCancel(held, wrong)
	}
	switch {
	case p.status == flow.Failed && p.mayFail != "" && p.run.Problem.Code == p.mayFail:
		return "failed as it may"
	case p.status != flow.Completed:
		wrong("I1: it ended with %+v", p.run.Problem)
		return "lost"
	case p.answer == nil:
		wrong("I1: it has no answer")
		return "lost"
	case len(held) != len(p.answer.Rows):
		wrong("I1: %d rows were answered and %d are in the target", len(p.answer.Rows), len(held))
	}
	for _, a := range p.answer.Rows {
		attribute, value := fmt.Sprint(a["msx_attribute"]), fmt.Sprint(a["msx_value"])
		if got, there := held[attribute]; there && got.value != value {
			wrong("I4: %s is %q in the target and %q in the answer", attribute, got.value, value)
		}
	}
	return "completed"
}

// judgeCancel holds a certificate against the target: what is done is there, what is
// undone is not, nothing else is there but what is in doubt, and nothing came after.
func (p *press) judgeCancel(held map[string]row, wrong func(string, ...any)) string {
	var writes int64
	for _, r := range held {
		writes += r.writes
	}
	if writes != p.written {
		wrong("promise 3: %d writes when the certificate came, %d now", p.written, writes)
	}
	if p.cert.Status == flow.Completed && (p.answer == nil || len(held) != len(p.answer.Rows)) {
		wrong("the certificate says completed, and %d rows are there", len(held))
	}
	said := map[string]bool{}
	for _, e := range p.cert.Done {
		said[p.attribute(e)] = true
		if _, there := held[p.attribute(e)]; !there {
			wrong("the certificate says done, the target has no %s", e.Target)
		}
	}
	for _, e := range p.cert.Undone {
		if _, there := held[p.attribute(e)]; there {
			wrong("the certificate says undone, the target has %s", e.Target)
		}
	}
	for _, e := range p.cert.InDoubt {
		said[p.attribute(e)] = true
	}
	for attribute := range held {
		if !said[attribute] && p.cert.Status == flow.Cancelled {
			wrong("the target has %s, of which the certificate says nothing", attribute)
		}
	}
	switch {
	case len(p.cert.InDoubt) > 0:
		return "cancelled, in doubt"
	case p.cert.Status != flow.Cancelled:
		return "cancelled too late"
	case len(p.cert.Done) > 0:
		return "cancelled, done"
	}
	return "cancelled, nothing done"
}

// attribute is the part of an effect's name that tells the rows of a mark apart.
func (p *press) attribute(e flow.Effect) string {
	_, attribute, _ := strings.Cut(e.Target, " "+p.Mark+", ")
	return attribute
}

// quiet requires that nothing is left once all presses have ended: no run that is
// open (I5), no workflow that is (I6), no batch in flight, no lock (I7), no word in the logs
// that must not be there (I9).
func (w *world) quiet() {
	w.t.Helper()
	w.sweptSince(time.Now())
	w.sweptSince(time.Now()) // the first may have begun before the last change
	w.await("quiet: events and windows", 2*time.Minute, w.settled)
	w.still()
}

// still requires that of a world in which nothing was told.
func (w *world) still() {
	w.t.Helper()
	var open, batches, locks int
	defer func() {
		if w.t.Failed() {
			w.t.Logf("left: %d open runs (I5), %d batches and places of runs that nobody gave back, %d locks that somebody waits for (I7)", open, batches, locks)
		}
	}()
	w.await("quiet: runs and batches", 3*time.Minute, func() bool {
		conn, err := w.owner()
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close(w.ctx) }()
		return conn.QueryRow(w.ctx, `
			select (select count(*) from work where state in ('accepted', 'running', 'parked')),
			       (select count(*) from batch where settled_at is null) + (select count(*) from slot_run where closed_at is null),
			       (select count(*) from pg_locks l join pg_stat_activity a using (pid)
			        where not l.granted and a.datname = current_database())`).Scan(&open, &batches, &locks) == nil && open == 0 && batches == 0 && locks == 0
	})
	w.await("quiet: workflows in Temporal", 2*time.Minute, func() bool {
		n, err := w.temporal.CountWorkflow(w.ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: "ExecutionStatus = 'Running' and WorkflowType in ('patchbay.instant.v1', 'patchbay.event.v1', 'patchbay.consolidation.v1', 'patchbay.service.v1')"})
		return err == nil && n.GetCount() == 0
	})
	text, err := os.ReadFile(w.log.Name())
	require.NoError(w.t, err)
	for _, word := range []string{w.key, w.password, w.gallery.password, "sandbox-secret"} {
		require.NotContains(w.t, string(text), word, "I9: a secret in the log")
	}
	if found := panics.FindString(string(text)); found != "" {
		w.t.Errorf("I9: a panic in the log: %s", found)
	}
}

var panics = regexp.MustCompile(`(?m)^(panic:|fatal error:).*|.*panicked.*`)
