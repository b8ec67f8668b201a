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

// points are all durable actions of patchbay's processes, some of them in two.
var points = []point{
	// What a press needs until Temporal has it.
	{name: "run.insert", at: serving, by: crowd},
	{name: "run.join", at: serving, by: crowd},
	{name: "run.claimFlow", at: serving, by: crowd},
	{name: "run.Due", at: serving, by: crowd},
	{name: "run.Extend", at: serving}, // as it begins
	{name: "run.Lapse", at: serving, by: forgotten},
	{name: "run.Relayed", at: serving, by: crowd},
	{name: "temporal.StartWorkflowExecution", at: serving, by: crowd},
	{name: "run.insert", at: working, by: door},
	{name: "store.Setting", at: applying, without: "only the first press of an installation makes the key; store tests two that are the first"},

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

	// What puts flows and builds in force.
	{name: "run.Apply", at: applying},
	{name: "run.Put", at: applying, without: "only tests keep a plan without putting it in force"},
	{name: "run.inherit", at: serving, without: "only `patchbay dev` ends the leases of the process before it; run tests it"},
	{name: "temporal.SetWorkerDeploymentCurrentVersion", at: applying, without: "the order of a roll-out with kills is e2e's"},
	{name: "temporal.UpdateWorkflowExecutionOptions", at: working, without: "a run changes its build only when that is gone, see e2e"},
	{name: "temporal.AddSearchAttributes", at: applying, without: "it is made again by every apply; durable tests two at a time"},
	{name: "temporal.DeleteWorkflowExecution", at: serving, without: "of canaries, which nobody misses"},
	{name: "temporal.TerminateWorkflowExecution", at: serving, without: "of canaries, which nobody misses"},
	{name: "temporal.ShutdownWorker", at: working, without: "a courtesy of a worker that stops in order"},
	{name: "oracle.write", at: working, without: "no flow writes to Oracle yet"},
}

// reading are calls of Temporal that change nothing there.
var reading = []string{
	"CountWorkflowExecutions", "DescribeNamespace", "DescribeTaskQueue", "DescribeWorkerDeployment", "DescribeWorkerDeploymentVersion",
	"DescribeWorkflowExecution", "GetSystemInfo", "GetWorkflowExecutionHistory", "ListSearchAttributes", "ListWorkflowExecutions", "Check",
	"RecordWorkerHeartbeat", // what the SDK tells of itself
}

// deceptions are what happens at each of the three places of an action.
var deceptions = []struct {
	place failpoint.Place
	what  failpoint.What
}{{failpoint.Before, failpoint.Kill}, {failpoint.Inside, failpoint.Lose}, {failpoint.After, failpoint.Kill}}

// Whoever adds a transaction says here what a crash test has to do to reach it.
func TestEveryTransactionIsAPointOfTheWalk(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, p := range points {
		known[p.name] = true
	}
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
	for _, name := range slices.Sorted(maps.Keys(found)) {
		require.True(t, known[name], "the transaction of %s is no point of the crash walk: name what reaches it in points_test.go", name)
	}
	for _, p := range points {
		if strings.HasPrefix(p.name, "run.") {
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
			if !ok || method.Sel.Name != "Tx" && method.Sel.Name != "Write" {
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
