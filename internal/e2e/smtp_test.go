package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// What becomes of a mail, as its run says it and as the drop holds it.
const (
	once    = "once"    // completed, and nothing to be said of it
	doubted = "doubted" // one mail, of which nobody knew; a person decides
	missed  = "missed"  // none, of which nobody knew either
	twice   = "twice"   // it was sent again, says that it may have arrived twice, and did
	again   = "again"   // it says so, and did not
	refused = "refused" // no mail, and why
)

// smtpCase is a fault of the drop, and what becomes of a mail that meets it, by what the
// flow says of mails in doubt.
type smtpCase struct {
	name, rules, ask, resend string
}

// smtpCases are the protocol's states: cut at each, refused for now and for good at those
// where it matters. %s is the mail's recipient.
var smtpCases = []smtpCase{
	{"cut-dial", `[{"state":"connect","cut":true,"count":1},{"state":"ehlo","cut":true,"count":1}]`, once, once}, // nobody has a session yet
	{"cut-mail", `{"state":"mail","cut":true,"count":2}`, once, once},
	{"cut-rcpt", `{"state":"rcpt","cut":true,"count":1,"match":%q}`, once, once},
	{"cut-data", `{"state":"data","cut":true,"count":1,"match":%q}`, once, once},
	// All of a short mail is on its way, the final dot too, before its sender can notice.
	{"cut-body", `{"state":"body","cut":true,"count":1,"match":%q}`, missed, again},
	{"cut-dot", `{"state":"dot","cut":true,"count":1,"match":%q}`, doubted, twice},
	{"cut-quit", `{"state":"quit","cut":true}`, once, once},
	{"421-mail", `{"state":"mail","status":421,"count":2}`, once, once},
	{"452-mail", `{"state":"mail","status":452,"count":2}`, once, once},
	{"451-rcpt", `{"state":"rcpt","status":451,"count":1,"match":%q}`, once, once},
	{"452-data", `{"state":"data","status":452,"count":1,"match":%q}`, once, once},
	{"421-dot", `{"state":"dot","status":421,"count":1,"match":%q}`, once, once},
	{"451-dot", `{"state":"dot","status":451,"count":1,"match":%q}`, once, once},
	{"550-rcpt", `{"state":"rcpt","status":550,"count":1,"match":%q}`, refused, refused},
	{"550-dot", `{"state":"dot","status":550,"count":1,"match":%q}`, refused, refused},
}

func TestAtEveryStateOfSMTPARunSaysWhatTheDropHolds(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	mailFlows(t, dir)
	p := start(t, dir, "--speed", "20")
	for _, c := range smtpCases {
		for name, want := range map[string]string{"cases": c.ask, "again": c.resend} {
			who := c.name + "-" + name
			rules := c.rules
			if strings.Contains(rules, "%q") {
				rules = fmt.Sprintf(rules, who+"@customer.example")
			}
			p.fault("mail", rules)
			p.deliverTo(name, []told{{id: who, name: who, version: 1, status: 2, facing: true, create: true}})
			run := p.ofCase(who, nil)
			require.Equal(t, want, p.verdict(who, run), "%s: %s %+v %+v", who, run.Status, run.Effects, run.Problem)
			p.heal("mail")
		}
	}
}

// A worker is ended between the final dot and its 250. The mail is there, and no worker
// knows it: it stays in doubt, or is sent once more and says so. What waited behind it
// for its turn was not sent, and is known not to have been.
func TestAWorkerThatDiesBetweenTheDotAndItsAnswerLeavesOneMailInDoubtAndNoOther(t *testing.T) {
	t.Parallel()
	i, worker := install(t, func(i *installation) {
		mailFlows(i.t, i.dir)
		i.flows = filepath.Join(i.dir, "flows")
	})
	path, err := binary()
	require.NoError(t, err)
	i.serve(path, freePort(t))
	i.fault("mail", `{"state":"dot","latency_ms":10000,"match":"first"}`)
	flows := []string{"cases", "again"}
	for n, name := range flows {
		i.deliverTo(name, []told{{id: name, name: "first-" + name, version: 1, status: 2, facing: true, create: true}})
		i.await("between the dot and the answer: the first of "+name, time.Minute, func() bool {
			var fault struct{ Struck int }
			i.do(http.MethodGet, i.Sandbox+"/_sandbox/faults/mail", nil, "", &fault)
			return fault.Struck == n+1
		})
	}
	var whos []string
	for _, name := range flows {
		var others []told
		for n := range 20 {
			who := fmt.Sprintf("other-%s-%d", name, n)
			whos = append(whos, who)
			others = append(others, told{id: who, name: who, version: 1, status: 2, facing: true, create: true})
		}
		i.deliverTo(name, others)
	}
	i.await("waiting for their turn: others", time.Minute, func() bool { return i.count(`select count(*) from effect where state = 'intent'`) > 0 })
	worker.kill()
	i.await("taken by the drop: both", time.Minute, func() bool { return len(i.mailsTo("first-cases"))+len(i.mailsTo("first-again")) == 2 })
	i.heal("mail")
	i.worker(path)
	require.Equal(t, doubted, i.verdict("first-cases", i.ofCase("first-cases", i.as())))
	require.Equal(t, twice, i.verdict("first-again", i.ofCase("first-again", i.as())))
	for _, who := range whos {
		run := i.ofCase(who, i.as())
		require.Equal(t, once, i.verdict(who, run), "%s: %s %+v", who, run.Status, run.Effects)
	}
}

// mailFlows writes two flows of cases: one that asks what becomes of a mail in doubt, and
// one that sends it again. Two mails are on their way at a time, the others wait.
func mailFlows(t *testing.T, dir string) {
	t.Helper()
	caseFlows(t, dir, "50ms", "", "ask")
	slow := strings.Replace(eventConnections, "    system: smtp\n", "    system: smtp\n    limits: { concurrent: 2 }\n", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "flows", "connections.yaml"), []byte(slow), 0o644))
	again := strings.Replace(fmt.Sprintf(eventFlow, "50ms", "", "resend"), "flow: cases", "flow: again", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "flows", "again.yaml"), []byte(again), 0o644))
}

// ofCase gives the run of a case, which has one event, once it has ended.
func (p *patchbay) ofCase(who string, as http.Header) (run flow.Run) {
	p.t.Helper()
	p.await("an end of the mail to "+who, 60*time.Second, func() bool {
		var told struct{ Entries []flow.Entry }
		p.do(http.MethodGet, p.HTTP+"/v1/explain/"+who, as, "", &told)
		if len(told.Entries) == 0 || told.Entries[0].Run == "" {
			return false
		}
		p.do(http.MethodGet, p.HTTP+"/v1/runs/"+told.Entries[0].Run, as, "", &run)
		return run.Status.Final()
	})
	return run
}

type dropped struct{ ID, Subject string }

func (p *patchbay) mailsTo(who string) (list []dropped) {
	p.t.Helper()
	p.do(http.MethodGet, p.Sandbox+"/_sandbox/mail?to="+who+"@customer.example", nil, "", &list)
	return list
}

// verdict says what became of a mail, where the run and the drop agree.
func (p *patchbay) verdict(who string, run flow.Run) string {
	p.t.Helper()
	mails := p.mailsTo(who)
	if len(run.Effects) != 1 {
		return fmt.Sprintf("%d effects, %d mails", len(run.Effects), len(mails))
	}
	e := run.Effects[0]
	resent := strings.Contains(e.Reason, "may have arrived twice")
	switch {
	case run.Status == flow.Completed && !resent && e.State == flow.Confirmed && len(mails) == 1:
		return once
	case run.Status == flow.Completed && resent && len(mails) == 2 && mails[0].ID == mails[1].ID:
		return twice
	case run.Status == flow.Completed && resent && len(mails) == 1:
		return again
	case run.Status == flow.Failed && e.State == flow.Doubtful && len(mails) == 0:
		return missed
	case run.Status == flow.Failed && e.State == flow.Doubtful && len(mails) == 1:
		return doubted
	case run.Status == flow.Failed && e.State == flow.Refused && len(mails) == 0:
		return refused
	}
	return fmt.Sprintf("%s, %s (%s), %d mails", run.Status, e.State, e.Reason, len(mails))
}
