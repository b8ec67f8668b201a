package crash

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/failpoint"
	"patchbay/internal/house"
)

type (
	// point is a durable action and what makes a process carry it out.
	point struct {
		name    string
		at      kind
		by      scenario // nil: its start
		without string   // why the walk leaves it out
	}

	kind string

	scenario func(*walk, string)
)

const (
	serving  kind = "serve"
	working  kind = "worker"
	applying kind = "apply"
)

// unalarmed is why the walk leaves alerts out.
const unalarmed = "an alert is no effect of a flow: what is wrong is looked at anew every round, by whoever runs then"

// reads is why the walk leaves out what is long and changes nothing, and remade why it
// leaves out what makes Temporal's schedules.
const (
	reads  = "it only reads; who reads less than all of it begins again"
	remade = "a schedule in Temporal is compared with its file every round, by whoever runs then, until it is equal; starters kills the server under it"
)

// unshared is why the walk leaves synchronizations out.
const unshared = "what regions share is committed with its cursor or its batch, and may be done again; replica tests that, and attempts that were taken over"

// unwalked is why the walk leaves the tasks of hybrids out.
const unwalked = "e2e kills Patchbay under hybrid flows, and the tables of the bank are the judge"

// unkept is why the walk leaves the bytes of documents out.
const unkept = "a document is nobody's until its last transaction, and is read anew; claimcheck tests cleaners beside runs, and e2e kills Patchbay under a transfer"

// unfollowed is why the walk leaves streams of changes out.
const unfollowed = "how far a stream was accepted is kept after its events are, and what is told again has its ID; app kills readers in the middle"

// unpaid is why the walk leaves what is paid out.
const unpaid = "e2e kills everything while the bureau thinks, and paid a process between payment and commit; the provider is the judge"

// points are all durable actions of patchbay's processes, some of them in two.
var points = []point{
	// What a press needs until Temporal has it.
	{name: "run.insert", at: serving, by: crowd},
	{name: "run.join", at: serving, by: crowd},
	{name: "run.claimFlow", at: serving, by: crowd},
	{name: "run.Due", at: serving, by: crowd},
	{name: "run.Extend", at: serving},      // as it begins
	{name: "run.SettleEmpty", at: serving}, // as its relay begins
	{name: "run.GoOn", at: working, without: "a press whose time is over, see e2e"},
	{name: "run.Lapse", at: serving, by: forgotten},
	{name: "run.Relayed", at: serving, by: crowd},
	{name: "temporal.StartWorkflowExecution", at: serving, by: crowd},
	{name: "run.insert", at: working, by: door},
	{name: "store.Setting", at: applying, without: "only the first press of an installation makes the key; store tests two that are the first"},
	{name: "store.Choose", at: applying, without: "where sources deliver is written as one row, and applying again writes it again"},

	// What carries it to its end.
	{name: "temporal.PollWorkflowTaskQueue", at: working, by: single},
	{name: "temporal.PollActivityTaskQueue", at: working, by: throttledAlone},
	{name: "temporal.RespondWorkflowTaskCompleted", at: working, by: single},
	{name: "temporal.RespondActivityTaskCompleted", at: working, by: single},
	{name: "temporal.RespondActivityTaskFailed", at: working, by: throttledAlone},
	{name: "temporal.RespondActivityTaskCanceled", at: working, by: cancelled},
	{name: "temporal.RecordActivityTaskHeartbeat", at: working, by: slow},
	{name: "run.Take", at: working, by: crowd},
	{name: "run.answerAll", at: working, by: crowd},
	{name: "run.attemptAll", at: working, by: crowd},
	{name: "dataverse.write", at: working, by: crowd},
	{name: "quota.fill", at: working, without: "it notes what is used, and no effect; quota tests a database that is away and a holder that was killed"},
	{name: "stop.tell", at: working, without: "it notes that a system does not answer, and no effect; what the note is missing is found again by the next requests"},
	{name: "stop.try", at: serving, without: "it notes who tries a system, and no effect; stop tests one that never comes back"},
	{name: "stop.Hold", at: serving, without: "one statement that a person repeats; it starts nothing"},
	{name: "stop.Resume", at: serving, without: "as stop.Hold"},
	{name: "dataverse.write", at: working, by: late},
	{name: "run.recordAll", at: working, by: busy},
	{name: "run.concludeAll", at: working, by: crowd},
	{name: "run.Settle", at: working, by: crowd},
	{name: "run.Wait", at: working, by: throttledAlone},
	{name: "run.tell", at: working, by: crowd},
	{name: "run.tell", at: serving, by: cancelled},

	// What ends it before its time.
	{name: "run.Seal", at: serving, by: cancelled},
	{name: "temporal.RequestCancelWorkflowExecution", at: serving, by: cancelled},
	{name: "run.Certificate", at: serving, by: cancelled},
	{name: "run.concludeAll", at: serving, by: terminated},
	{name: "run.Settle", at: serving, by: terminated},

	// What is done about those that failed for good.
	{name: "run.Redrive", at: serving, by: redriven},
	{name: "run.Dismiss", at: serving, by: dismissed},
	{name: "run.Repaired", at: serving, without: "one statement and its entry in the journal, which a person repeats; it starts nothing"},
	{name: "topic.Dismiss", at: serving, without: "one statement, which a person repeats; it starts nothing"},
	{name: "slot.Stopped", at: working, without: "one statement about a slot that has no run; its workflow looks again, and slot tests it"},
	{name: "topic.Redrive", at: serving, without: "one transaction an event, which a person repeats; what it puts back is looked for as any event"},

	// What becomes of events until a run has them.
	{name: "inbox.acceptAll", at: serving, by: told},
	{name: "inbox.acceptAll", at: working, by: unread},
	{name: "inbox.measure", at: serving, by: told},
	{name: "inbox.Freeze", at: serving, by: told},
	{name: "inbox.Entered", at: serving, by: told},
	{name: "inbox.Unread", at: working, by: unread},
	{name: "inbox.Unreadable", at: working, by: unread},
	{name: "inbox.TakeSweep", at: working, by: swept},
	{name: "inbox.Swept", at: working, by: swept},
	{name: "inbox.SweepFailed", at: working, by: swept},
	{name: "inbox.Look", at: serving, without: "no example flow follows documents yet; app tests the way of a notification"},
	{name: "inbox.Forget", at: working}, // as its sweeper begins
	{name: "inbox.TakeFeed", at: working, without: unfollowed},
	{name: "inbox.KeepFeed", at: working, without: unfollowed},
	{name: "inbox.FeedFailed", at: working, without: unfollowed},
	{name: "inbox.EndFeed", at: working, without: unfollowed},
	{name: "inbox.Refuse", at: serving, without: "no window of a plan in force is one that cannot become a run; inbox tests it"},
	{name: "inbox.abandon", at: serving, without: "of a flow that is gone, which none is while it is applied; inbox tests it"},
	{name: "inbox.Dismiss", at: serving, without: "a person who is not told asks again, and what is put aside stays so; inbox tests it"},
	{name: "smtp.write", at: working, by: told},

	// What costs money, and what of it is used again.
	{name: "paid.begin", at: working, without: unpaid},
	{name: "paid.keep", at: working, without: unpaid},
	{name: "paid.fail", at: working, without: unpaid},
	{name: "paid.Find", at: working, without: "it notes who uses an output; what is not found is computed again, with the same bits"},
	{name: "paid.Keep", at: working, without: "as paid.Find"},
	{name: "shadow.Keep", at: working, without: "a comparison has no effect; Temporal repeats its activity, and the row is by run and step"},
	{name: "paid.Forget", at: working, without: "it erases what nobody may use any more, and the next round does what this one did not"},

	// What people are told of it.
	{name: "alert.Found", at: serving, without: unalarmed},
	{name: "alert.Happened", at: serving, without: unalarmed},
	{name: "alert.Lapse", at: serving, without: unalarmed},
	{name: "alert.announce", at: serving, without: unalarmed},
	{name: "alert.deliver", at: serving, without: unalarmed},
	{name: "alert.sent", at: serving, without: unalarmed},
	{name: "alert.Apply", at: applying, without: "apply ends by it; doing it again is all that is needed, and the walk does that at run.Apply"},

	// What consolidations do, besides those of pictured.
	{name: "stage.Restart", at: working, without: "only a system that forgets where the next page begins makes it read anew; activities and stage test that"},
	{name: "stage.openStream", at: working, without: reads},
	{name: "stage.Customers", at: working, without: reads},
	{name: "replica.Begin", at: working, without: unshared},
	{name: "replica.observe", at: working, without: unshared},
	{name: "replica.Follow", at: working, without: "a feed is noted before it is made, and noting it again is all that is needed"},
	{name: "replica.Unfollow", at: working, without: "a feed that is gone is forgotten by the next look"},
	{name: "replica.Adopt", at: working, without: unshared},
	{name: "replica.Receive", at: working, without: unshared},
	{name: "replica.Write", at: working, without: unshared},
	{name: "replica.Release", at: working, without: unshared},
	{name: "replica.Pending", at: working, without: unshared},
	{name: "replica.Settle", at: working, without: unshared},
	{name: "replica.hurry", at: working, without: unshared},
	{name: "replica.look", at: working, without: unshared},
	{name: "replica.Bind", at: applying, without: "apply ends by it; doing it again is all that is needed"},
	{name: "replica.each", at: working, without: "it only reads"},
	{name: "replica.Decide", at: serving, without: "a person who is not told asks again, and a decision is made once"},
	{name: "replica.Report", at: working, without: "what is wrong is told anew every half minute, by whoever works then"},
	{name: "replica.Compared", at: working, without: "the next comparison takes its place"},
	{name: "replica.Pause", at: serving, without: "a person who is not told asks again, and a decision is made once"},
	{name: "replica.Resume", at: serving, without: "a person who is not told asks again, and a decision is made once"},
	{name: "replica.Allow", at: applying, without: "apply ends by it; doing it again is all that is needed"},
	{name: "replica.Hooked", at: serving, without: "a webhook that is not noted wakes nobody, and what it told of is found by the next look"},
	{name: "replica.Rewind", at: working, without: unshared},
	{name: "replica.Recovering", at: working, without: unshared},
	{name: "replica.Forgot", at: working, without: "the next pull finds the same"},
	{name: "replica.Asked", at: working, without: "who is not told is asked again"},
	{name: "replica.Told", at: working, without: "what is told again is told again"},
	{name: "replica.Known", at: working, without: unshared},
	{name: "replica.list", at: working, without: unshared},
	{name: "replica.Resend", at: working, without: "what is told again is told again by the next comparison"},
	{name: "replica.Erase", at: working, without: "what is left is erased at the end of the next comparison"},
	{name: "replica.Tell", at: serving, without: "a webhook that wakes nobody costs time, and what it told of is found by the next look"},
	{name: "egress.Retold", at: working, without: "who was not told so is told all again"},
	{name: "egress.Publish", at: working, without: "who waits for digests asks again"},
	{name: "egress.prune", at: working, without: "it removes what everybody has, whole batches in one statement, and whoever comes next goes on with it"},
	{name: "stage.Approve", at: serving, without: "a person who is not told asks again"},
	{name: "review.Decide", at: serving, without: "a person who is not told looks again, and a decision is made once"},
	{name: "slot.Ask", at: serving, without: "what Temporal was not told of is missing still, and the next backfill takes it; starters tests that"},
	{name: "slot.Made", at: serving, without: remade},
	{name: "slot.Apply", at: applying},
	{name: "temporal.CreateSchedule", at: serving, without: remade},
	{name: "temporal.UpdateSchedule", at: serving, without: remade},
	{name: "temporal.DeleteSchedule", at: serving, without: remade},

	// What services do, besides those of shipped.
	{name: "topic.Gone", at: serving, without: "who is woken and has ended is looked for again at the next event; topic tests it"},

	// What hybrids do besides: e2e kills all of it under many of them, and the bank's tables are the judge.
	{name: "decision.Rule", at: working, without: unwalked},
	{name: "decision.Standing", at: working, without: unwalked},
	{name: "decision.Opine", at: serving, without: "a person who is not told asks again, and a decision is made once"},
	{name: "decision.Woken", at: serving, without: "a run that is woken twice looks twice"},

	// What carries documents.
	{name: "claimcheck.begin", at: working, without: unkept},
	{name: "claimcheck.add", at: working, without: unkept},
	{name: "claimcheck.finish", at: working, without: unkept},
	{name: "claimcheck.Reserve", at: serving, without: unkept},
	{name: "claimcheck.release", at: serving, without: unkept},
	{name: "claimcheck.remove", at: serving, without: unkept},

	// What puts flows and builds in force.
	{name: "run.Report", at: applying, without: "apply ends by it; doing it again is all that is needed"},
	{name: "run.Apply", at: applying},
	{name: "run.Put", at: applying, without: "only tests keep a plan without putting it in force"},
	{name: "run.inherit", at: serving, without: "only `patchbay dev` ends the leases of the process before it; run tests it"},
	{name: "temporal.SetWorkerDeploymentCurrentVersion", at: applying, without: "the order of a roll-out with kills is e2e's"},
	{name: "temporal.UpdateWorkflowExecutionOptions", at: working, without: "a run changes its build only when that is gone, see e2e"},
	{name: "temporal.AddSearchAttributes", at: applying, without: "it is made again by every apply; durable tests two at a time"},
	{name: "temporal.DeleteWorkflowExecution", at: serving, without: "of canaries, which nobody misses"},
	{name: "temporal.TerminateWorkflowExecution", at: serving, without: "of canaries, which nobody misses"},
	{name: "temporal.ShutdownWorker", at: working, without: "a courtesy of a worker that stops in order"},
}

// pictured are those that consolidations pass, which have a walk of their own.
var pictured = []point{
	{name: "slot.Open", at: working, by: edited},
	{name: "stage.Begin", at: working, by: edited},
	{name: "stage.Columns", at: working, by: edited},
	{name: "stage.Put", at: working, by: edited},
	{name: "stage.Failing", at: working, by: away},
	{name: "stage.Abandon", at: working, by: gone},
	{name: "stage.Complete", at: working, by: edited},
	{name: "stage.hold", at: working, by: empty},
	{name: "stage.repeat", at: working, by: same},
	{name: "stage.run", at: working, by: edited},
	{name: "postgres.write", at: working, by: edited},
	{name: "stage.Written", at: working, by: edited},
	{name: "review.Keep", at: working, by: edited},
	{name: "review.Heard", at: working, by: unwanted},
	{name: "review.Wrote", at: working, by: edited},
	{name: "run.Count", at: working, by: edited},
	{name: "slot.Close", at: working, by: edited},
	{name: "stage.Prune", at: working, by: edited},
	{name: "stage.sweep", at: working, by: anew},

	{name: "slot.Fill", at: serving},   // in its first round
	{name: "slot.one", at: serving},    // as well
	{name: "slot.Forget", at: serving}, // as well
	{name: "temporal.PatchSchedule", at: serving, by: paused},
	{name: "slot.Hold", at: serving, by: paused},
	{name: "slot.Resume", at: serving, by: paused},
}

// shipped are those that an order passes from its approval to the arrival of its ship,
// which have a walk of their own.
var shipped = []point{
	{name: "run.answerAll", at: working, by: bought}, // tells of what happened
	{name: "run.TakeTask", at: working, by: bought},
	{name: "run.attemptAll", at: working, by: bought},
	{name: "sap.write", at: working, by: bought},
	{name: "oracle.write", at: working, by: bought},
	{name: "maersk.write", at: working, by: bought},
	{name: "dataverse.write", at: working, by: bought},
	{name: "run.recordAll", at: working, by: bought},
	{name: "run.KeepTask", at: working, by: bought},
	{name: "run.Await", at: working, by: bought},
	{name: "run.EndTasks", at: working, by: bought},

	{name: "inbox.acceptAll", at: serving, by: bought},
	{name: "topic.Started", at: serving, by: bought},
	{name: "topic.Dispatched", at: serving, by: bought},
	{name: "topic.Expire", at: serving, by: bought},
	{name: "temporal.SignalWorkflowExecution", at: serving, by: bought},
	{name: "topic.Post", at: serving, by: posted},
}

// reading are calls of Temporal that change nothing there.
var reading = []string{
	"CountWorkflowExecutions", "DescribeNamespace", "DescribeTaskQueue", "DescribeWorkerDeployment", "DescribeWorkerDeploymentVersion",
	"DescribeWorkflowExecution", "DescribeSchedule", "ListSchedules", "GetSystemInfo", "GetWorkflowExecutionHistory", "ListSearchAttributes", "ListWorkflowExecutions", "Check",
	"RecordWorkerHeartbeat", // what the SDK tells of itself
}

// deceptions are what happens at each of the three places of an action.
var deceptions = []struct {
	place failpoint.Place
	what  failpoint.What
}{{failpoint.Before, failpoint.Kill}, {failpoint.Inside, failpoint.Lose}, {failpoint.After, failpoint.Kill}}

// known are the names of all durable actions.
func known() map[string]bool {
	all := map[string]bool{}
	for _, p := range slices.Concat(points, pictured, shipped) {
		all[p.name] = true
	}
	return all
}

// Whoever adds a transaction says here what a crash test has to do to reach it.
func TestEveryTransactionIsAPointOfTheWalk(t *testing.T) {
	t.Parallel()
	known := known()
	files, err := house.Sources("../..")
	require.NoError(t, err)
	found := map[string]bool{}
	for _, f := range files {
		if f.Test() || strings.HasPrefix(f.Path, "internal/sandbox/") {
			continue
		}
		for _, name := range transactions(f.AST, path.Base(path.Dir(f.Path))) {
			found[name] = true
		}
	}
	require.Greater(t, len(found), 15, "the sources were read: %v", found)
	unnamed := slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(name string) bool { return known[name] })
	require.Empty(t, unnamed, "these transactions are no points of the crash walk: name what reaches them in points_test.go")
	for _, p := range slices.Concat(points, pictured, shipped) {
		if strings.HasPrefix(p.name, "run.") || strings.HasPrefix(p.name, "inbox.") || strings.HasPrefix(p.name, "alert.") {
			require.True(t, found[p.name], "%s is no transaction any more", p.name)
		}
	}
}

// transactions names the functions of a file that execute a transaction of package
// store, as failpoint.Caller names them.
func transactions(file *ast.File, pkg string) (names []string) {
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		ast.Inspect(fn.Body, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Tx", "Write", "Long"}, method.Sel.Name) {
				return true
			}
			on := ""
			switch x := method.X.(type) {
			case *ast.SelectorExpr: // b.store.Tx
				on = x.Sel.Name
			case *ast.Ident: // s.Tx, in package store
				on = x.Name
			}
			if on == "store" || pkg == "store" && on == "s" {
				names = append(names, pkg+"."+fn.Name.Name)
			}
			return true
		})
	}
	return names
}
