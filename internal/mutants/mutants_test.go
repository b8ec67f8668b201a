package mutants

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var all = flag.Bool("all", false, "plant every mutant, and run each suite without it first")

type (
	// mutant is a planted bug and the suite that catches it.
	mutant struct {
		bug   string // as the list of planted bugs calls it
		edits []edit
		pkg   string
		suite string   // names of tests, as go test -run takes them
		times int      // how often it is run, for a race; 0: once
		args  []string // of the suite
		tags  string   // that it is built with
		cheap bool     // planted by default
	}

	// edit replaces a text that a file has once; where old is "", the file is a new one.
	edit struct{ file, old, new string }
)

// imports is what an edit replaces that has a file import one more package.
const imports = "import (\n"

// determinism, in the place of a package, is `make check-determinism`.
const determinism = "determinism"

var mutants = []mutant{
	{
		bug: "ack before commit", pkg: "./internal/run", suite: "TestAcceptKeepsARowThatClaimsItself",
		edits: []edit{{"internal/run/accept.go", "	got, err := b.accepts.Do(ctx, e)\n", `	go func() { _, _ = b.accepts.Do(context.WithoutCancel(ctx), e) }()
	got, err := accepted{run: flow.Run{RunID: e.runID}, batchID: e.runID, made: true}, error(nil)
`}},
	},
	{
		bug: "dedupe check-then-insert", pkg: "./internal/run", suite: "TestConcurrentPressesWithOneKeyMakeOneRow", times: 10,
		edits: []edit{ // nothing but the look before the insert keeps a second row out
			{"internal/store/migrations/0001_house.sql", "    run_id      text primary key,", "    run_id      text not null,"},
			{"internal/store/migrations/0002_batches.sql", "leader      text references work (run_id)", "leader      text"},
			{"internal/store/migrations/0003_dead.sql", "text primary key references work (run_id)", "text primary key"},
			{"internal/store/migrations/0003_dead.sql", "into_run   text references work (run_id)", "into_run   text"},
			{"internal/store/migrations/0003_dead.sql", "redrive_of text references work (run_id)", "redrive_of text"},
		},
	},
	{
		bug: "dedupe row before work", pkg: "./internal/run", suite: "TestRelayResendsTheSameBatchAfterACrashBetweenClaimAndStart",
		edits: []edit{{"internal/run/relay.go", "where relayed_at is null and settled_at is null and lease_until <= now()", "where relayed_at is null and settled_at is null and lease_until <= now() and false"}},
	},
	{
		bug: "retry without key", pkg: "./activities", suite: "TestAWriteWithoutAnAnswerIsReadBackByTheNextBatch",
		edits: []edit{{"activities/write.go", "		if o.Retried {", "		if o.Retried && false {"}},
	},
	{
		bug: "no fencing", pkg: "./internal/run", suite: "TestAZombiesOutcomeFindsNoRow",
		edits: []edit{{"internal/run/groups.go", "	case h.batchID != item.BatchID, h.fence != item.Fence:", "	case h.batchID != item.BatchID:"}},
	},
	{
		bug: "no fencing, of a worker that stood still", pkg: "./internal/crash", suite: "TestAWorkerThatWakesUpLateSendsNothing",
		edits: []edit{{"activities/pulse.go", "	if a.lost {", "	if a.lost && false {"}},
	},
	{
		bug: "no fencing, of a worker that stood still between two requests", pkg: "./internal/connector/dataverse", suite: "TestAWriterThatMayNotSendAnyMoreSendsNoFurtherRequest",
		edits: []edit{{"internal/connector/held.go", "	if held == nil {", "	if true {"}},
	},
	{
		bug: "heartbeat off", pkg: "./internal/crash", suite: "TestNoPointOfACrashLosesOrRepeatsAPress",
		args:  []string{"-point", "temporal.RecordActivityTaskHeartbeat/before"},
		edits: []edit{{"activities/pulse.go", "				activity.RecordHeartbeat(beat)", "				_ = beat"}},
	},
	{
		bug: "timeout 1 h", pkg: "./starters", suite: "TestWhatALostWorkerCarriedIsCarriedByAnother",
		edits: []edit{{"internal/contract/profile.go", "Carrying = Profile{Attempt: 30 * time.Second, Total: time.Minute, Heartbeat: 5 * time.Second,",
			"Carrying = Profile{Attempt: time.Hour, Total: time.Hour, Heartbeat: time.Hour,"}},
	},
	{
		bug: "new key per attempt", pkg: "./activities", suite: "TestAWriteWithoutAnAnswerIsReadBackByTheNextBatch",
		edits: []edit{{"activities/write.go", "ledger.Member{Key: string(id),", "ledger.Member{Key: string(id) + fmt.Sprint(time.Now().UnixNano()),"}},
	},
	{
		bug: "recovery overwrites success", pkg: "./internal/run", suite: "TestCloseIsIdempotentAndAFinalRunKeepsItsStatus", cheap: true,
		edits: []edit{{"internal/run/outcome.go", "r.Err != nil || row.state.Final() {", "r.Err != nil {"}},
	},
	{
		bug: "error text with row", pkg: "./internal/store", suite: "TestNoTextHoldsTheRowOrTheMessageOfPostgreSQL", cheap: true,
		edits: []edit{{"internal/store/classify.go", `"the database refused a statement, SQLSTATE "+state, err)`, `"the database refused a statement: "+err.(*pgconn.PgError).Detail, err)`}},
	},
	{
		bug: "metric label with account", pkg: "./internal/telemetry", suite: "TestMetricsShowRunsRequestsBacklogAndTheSDK", cheap: true,
		edits: []edit{{"internal/telemetry/metrics.go", `attribute.String("flow", flow), attribute.String("outcome", outcome)`,
			`attribute.String("flow", flow), attribute.String("outcome", outcome), attribute.String("account", "DE-4711")`}},
	},
	{
		bug: "ack before commit, of a delivery", pkg: "./internal/inbox", suite: "TestNoDeliveryIsAcknowledgedBeforeItIsCommitted",
		edits: []edit{{"internal/inbox/inbox.go", "	receipt, err := x.accepts.Do(limited, d)\n", `	go func() { _, _ = x.accepts.Do(context.WithoutCancel(ctx), d) }()
	receipt, err := flow.Receipt{Accepted: len(d.entries)}, limited.Err()
`}},
	},
	{
		bug: "dedupe check-then-insert, of events", pkg: "./internal/inbox", suite: "TestProcessesSideBySideTakeAnEventOnce", times: 3,
		edits: []edit{ // nothing but the look before the insert keeps a second one out
			{"internal/store/migrations/0008_events.sql", "create unique index event_dedupe on event", "create index event_dedupe on event"},
			{"internal/inbox/accept.go", "unnest($1::text[]) as f order by f) as f`", "unnest($1::text[]) as f order by f) as f where false`"},
		},
	},
	{
		bug: "window frozen without its events merged", pkg: "./internal/inbox", suite: "TestAnEventIsInTheWindowThatIsFrozenOrInTheNext", times: 3,
		edits: []edit{{"internal/inbox/accept.go", "unnest($1::text[]) as f order by f) as f`", "unnest($1::text[]) as f order by f) as f where false`"}},
	},
	{
		bug: "sweep that does not compare with last seen", pkg: "./internal/inbox", suite: "TestASweepFindsWhatNobodyToldAndNothingElse",
		edits: []edit{{"internal/inbox/accept.go", "	known := s.records[at]\n", "	known := s.records[at]\n	if d.swept {\n		known = nil\n	}\n"}},
	},
	{
		bug: "echo not cut", pkg: "./internal/inbox", suite: "TestOurOwnWriteIsCutAtItsFirstReturn",
		edits: []edit{{"internal/inbox/accept.go", "	case flow.ParseChain(n.Origin).Cuts(d.plan.Flow):", "	case flow.ParseChain(n.Origin).Cuts(d.plan.Flow) && false:"}},
	},
	{
		bug: "event decided twice, by a reader that stood still", pkg: "./internal/inbox", suite: "TestAReaderThatWakesUpLateDecidesNothingAnew",
		edits: []edit{{"internal/inbox/accept.go", "			n.known = !s.unread[n.row]", "			n.known = false"}},
	},
	{
		bug: "mail begun before its turn", pkg: "./internal/e2e", suite: "TestAWorkerThatDiesBetweenTheDotAndItsAnswerLeavesOneMailInDoubtAndNoOther",
		edits: []edit{{"activities/write.go", "			members[i].Later = true", "			members[i].Later = false"}},
	},
	{
		bug: "loop by way of a consolidation", pkg: "./internal/check", suite: "TestAConsolidationIsPartOfALoop|TestEveryLoopOfGeneratedFlowsIsFoundAndNoOther",
		edits: []edit{{"internal/check/loops.go", "|| f.Plan.Gather != nil {", "|| f.Plan.Gather != nil && false {"}},
	},
	{
		bug: "target key of a source that may be missing", pkg: "./internal/flowfile", suite: "TestEveryMistakeIsReportedAtItsPlace",
		edits: []edit{{"internal/flowfile/gather.go", "if s.OnMissing == flow.Partial && slices.Contains(uses, s.Name) {", "if s.OnMissing == flow.Partial && slices.Contains(uses, s.Name) && false {"}},
	},
	{
		bug: "sum that wraps around", pkg: "./internal/expr", suite: "TestASumIsExactWhateverTheOrder|TestFunctionsOnListsGiveTheSameTypedAndUntyped",
		edits: []edit{{"internal/expr/lists.go", "if s := small + int64(i); (s > small) == (i > 0) {", "if s := small + int64(i); s != small || i == 0 {"}},
	},
	{
		bug: "map iteration in a workflow", pkg: determinism,
		edits: []edit{{"workflows/batch.go", "	b := &batch{in: in}\n", "	b := &batch{in: in}\n	for range map[string]int{in.Flow: 1, in.BatchID: 2} {\n		b.count.Left++\n	}\n"}},
	},
	{
		bug: "evidence of a model not looked up", pkg: "./internal/advice", suite: "TestAnAnswerIsRefusedForANamedReason|TestNoAnswerIsAcceptedWhoseEvidenceOrNumbersAreNotInTheRows",
		edits: []edit{{"internal/advice/answer.go", "		if _, ok := a.evidence.shown[id]; !ok {", "		if _, ok := a.evidence.shown[id]; !ok && false {"}},
	},
	{
		bug: "numbers of all rows count, cited or not", pkg: "./internal/advice", suite: "TestAnAnswerIsRefusedForANamedReason",
		edits: []edit{{"internal/advice/answer.go", "s.grounds(a, out.evidence)", "s.grounds(a, a.evidence.order)"}},
	},
	{
		bug: "a rule that is not known is skipped", pkg: "./internal/advice", suite: "TestAPlanThatNeedsAStaleSourceIsWithheldAndSaysSo",
		edits: []edit{{"internal/advice/plan.go", "			s.withhold(p, r.action, why)\n			return nil\n		}\n		yes, err", "			continue\n		}\n		yes, err"}},
	},
}

// Not planted, because there is nothing yet that could have them:
//   - "> max(updated_at)", "column wildcard" and "before-image on": changes are read by the
//     cursor of a source and by named columns. What polls a table comes with the pattern
//     synchronization.
//   - "outbox by id": rows and windows are claimed by their state, and no position is kept
//     that a late commit could fall behind.

func TestEveryPlantedBugIsCaughtByTheSuiteThatClaimsTo(t *testing.T) { //nolint:paralleltest // each is a compilation of much of the module
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	planted := 0
	for _, m := range mutants {
		if !m.cheap && !*all {
			continue
		}
		planted++
		t.Run(m.bug, func(t *testing.T) {
			if *all {
				text, passed := m.run(t, root, "")
				require.True(t, passed, "the suite has to pass without the mutant:\n%s", text)
			}
			text, passed := m.run(t, root, m.plant(t, root))
			require.False(t, passed, "nothing in %s %s catches this", m.pkg, m.suite)
			if m.pkg == determinism {
				require.Contains(t, text, "iterates over map")
				return
			}
			require.Contains(t, text, "--- FAIL: ", "it has to fail in a test, and not otherwise")
		})
	}
	require.GreaterOrEqual(t, planted, 3)
}

// plant makes the overlay that gives the compiler the mutant.
func (m mutant) plant(t *testing.T, root string) (overlay string) {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range m.edits {
		path := filepath.Join(root, e.file)
		changed := filepath.Join(dir, strconv.Itoa(i)+filepath.Base(e.file))
		if e.old == "" {
			require.NoFileExists(t, path)
			require.NoError(t, os.WriteFile(changed, []byte(e.new), 0o600))
			replace[path] = changed
			continue
		}
		now := path
		if already, ok := replace[path]; ok {
			now = already
		}
		text, err := os.ReadFile(now)
		require.NoError(t, err)
		if e.old == imports && strings.Contains(string(text), strings.TrimPrefix(e.new, imports)) {
			continue // another edit needs the same package
		}
		require.Equal(t, 1, strings.Count(string(text), e.old), "%s does not have this text once any more; plant the bug where it belongs now: %s", e.file, e.old)
		require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600))
		replace[path] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	overlay = filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlay, text, 0o600))
	return overlay
}

// run runs the suite of a mutant and says whether it passed.
func (m mutant) run(t *testing.T, root, overlay string) (text string, passed bool) {
	t.Helper()
	if m.pkg == determinism {
		return m.check(t, root, overlay != "")
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count", strconv.Itoa(max(1, m.times)), "-timeout", "8m", "-tags", m.tags, "-run", "^("+m.suite+")$", m.pkg)
	cmd.Args = append(cmd.Args, m.args...)
	cmd.Dir = root
	cmd.Env = os.Environ()
	if overlay != "" { // also for what the suite itself builds
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	out, err := cmd.CombinedOutput()
	require.NotContains(t, string(out), "[no tests to run]", "%s has no %s any more", m.pkg, m.suite)
	require.NotContains(t, string(out), "[build failed]", "the mutant is to compile: %s", out)
	require.NotContains(t, string(out), "[setup failed]", "%s", out)
	return string(out), err == nil
}

// check runs the proof that workflows read recorded data only, on a copy of what it
// reads: it knows no overlay.
func (m mutant) check(t *testing.T, root string, mutated bool) (text string, passed bool) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"workflows", "internal"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))))
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	for _, e := range m.edits {
		if !mutated {
			break
		}
		path := filepath.Join(dir, e.file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600))
	}
	tool, err := exec.CommandContext(t.Context(), filepath.Join(root, "tools/install"), "--path", "workflowcheck").Output()
	require.NoError(t, err)
	require.FileExists(t, strings.TrimSpace(string(tool)), "run: tools/install workflowcheck")
	cmd := exec.CommandContext(t.Context(), strings.TrimSpace(string(tool)), "./workflows/...", "./internal/contract")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}
