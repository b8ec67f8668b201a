package activities

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/ledger"
	"patchbay/internal/run"
)

// writeStep is the step's name in the ledger and in the outside view of a run.
const writeStep = "write"

type (
	// Target writes rows by key and reads them back. A mark a row says whose write it
	// is; only targets that keep marks look at them.
	Target interface {
		// Upsert returns one error (a fault) or nil for each row; an error of its own
		// means that no row has an outcome: InDoubt when it may have taken effect.
		Upsert(ctx context.Context, plan *flow.Plan, call Call) ([]error, error)
		// ReadBack looks for what earlier attempts may have written.
		ReadBack(ctx context.Context, plan *flow.Plan, rows []flow.Row, marks []Mark) (Sight, error)
		// FoldKeys gives each row's key as the target compares it: equal ones are one row.
		FoldKeys(ctx context.Context, plan *flow.Plan, rows []flow.Row) ([]string, error)
	}

	// Call is one write of rows, a mark for each.
	Call struct {
		Rows  []flow.Row
		Marks []Mark
		// Origin is the chain of causes that the write continues, for a target that has a
		// place for it; empty where nothing follows from it.
		Origin string
		// Held is asked right before each request leaves; its error is why none does any
		// more.
		Held func() error
	}

	// Mark is what a write is known by in the ledger, and the fence of its attempt.
	Mark struct {
		Cause, Step, Key string
		Fence            int64
	}

	// Sight is what a target has of rows that were to be written.
	Sight struct {
		// Applied says of each whether it took effect, for good: the target keeps marks.
		// Nil when it does not, and then
		Applied []bool
		// Rows is what it holds under the key of each, with the columns of that row; nil
		// for nothing.
		Rows []flow.Row
		// Conditional says that the next write is decided by what the target holds when
		// it takes effect. Where it is not, a row that is not there may still show until
		// SettleAfter has passed since it was sent.
		Conditional bool
		SettleAfter time.Duration
		// Looks says that the target is looked at right before the next write, and told only
		// what it has not: once SettleAfter has passed that write does no harm either.
		Looks bool
	}

	// Effects is the ledger as a write asks it first (promise 2): by way of the book,
	// which lets only the holder of the item attempt and record.
	Effects interface {
		Attempt(ctx context.Context, item run.Item, step, target string, members []ledger.Member) ([]ledger.Open, error)
		// AnswerAndAttempt keeps the answer and begins the attempt that follows it.
		AnswerAndAttempt(ctx context.Context, item run.Item, answer flow.Result, note string, visible bool,
			step, target string, members []ledger.Member) ([]ledger.Open, error)
		Record(ctx context.Context, item run.Item, step string, outcomes []ledger.Outcome) error
	}

	// Writes is the part of the book of runs that a write reports to.
	Writes interface {
		Take(ctx context.Context, batchID, step string) ([]run.Item, error)
		Wait(ctx context.Context, item run.Item, status flow.Status, note string) error
		Complete(ctx context.Context, item run.Item, step string, outcomes []ledger.Outcome, keys []string, note string) (flow.Status, error)
	}

	// Writer is the activity instant.write.v1: it writes the rows of a press's
	// answer, once, and closes the run.
	Writer struct {
		Plans   Plans
		Target  Target
		Effects Effects
		Runs    Writes
		Step    string // its name in the ledger; empty: writeStep
	}

	// member is one row on its way to the target.
	member struct {
		ledger.Member
		row flow.Row
	}

	// frozen are the members of one call.
	frozen []member
)

func (f frozen) ledger() []ledger.Member {
	members := make([]ledger.Member, len(f))
	for i, m := range f {
		members[i] = m.Member
	}
	return members
}

// Write delivers the answer of the press of a batch of one. Rows that an earlier
// attempt may have written are read back and written again only where they differ.
func (a *Writer) Write(ctx context.Context, in contract.Batch) (contract.WriteResult, error) {
	ctx, held, stop := alive(ctx)
	defer stop()
	if err := late(ctx); err != nil {
		return contract.WriteResult{}, err
	}
	plan, err := a.Plans.ByDigest(ctx, in.Digest)
	if err != nil {
		return contract.WriteResult{}, fmt.Errorf("loading the plan: %w", err)
	}
	item, err := alone(ctx, a.Runs, in.BatchID, "writing")
	if err != nil {
		return contract.WriteResult{}, fmt.Errorf("beginning to write: %w", err)
	}
	if item.Answer == nil {
		return contract.WriteResult{}, fault.New(fault.Bug, "run.no_answer", "a write without an answer", nil)
	}
	frozen, err := a.freeze(ctx, plan, item.Answer.Rows)
	if err != nil {
		return contract.WriteResult{}, a.pending(ctx, item, plan.Write.Connection, err)
	}
	outcomes, err := a.send(ctx, plan, item, frozen, patience{held: held})
	if err != nil {
		return contract.WriteResult{}, a.pending(ctx, item, plan.Write.Connection, err)
	}
	return a.complete(ctx, plan, item, len(frozen), outcomes)
}

// freeze makes the members of the call that writes the rows.
func (a *Writer) freeze(ctx context.Context, plan *flow.Plan, rows []flow.Row) (frozen, error) {
	folded, err := a.Target.FoldKeys(ctx, plan, rows)
	if err != nil {
		return nil, fmt.Errorf("folding the keys: %w", err)
	}
	members, err := freeze(plan.Write.Key, rows, folded)
	if err == nil && plan.Send != nil { // the key of a message says nothing to a person
		for i := range members {
			members[i].Label = fmt.Sprint(members[i].row["recipient"])
			members[i].Later = true
		}
	}
	return members, err
}

// send asks the ledger and writes what is still to be written.
func (a *Writer) send(ctx context.Context, plan *flow.Plan, item run.Item, members frozen, p patience) ([]ledger.Outcome, error) {
	open, err := a.Effects.Attempt(ctx, item, a.step(), target(plan), members.ledger())
	if err != nil {
		return nil, fmt.Errorf("asking the ledger: %w", err)
	}
	return a.deliver(ctx, plan, item, members, open, p)
}

// answerAndSend keeps the rows as the answer in the transaction that asks the ledger.
func (a *Writer) answerAndSend(ctx context.Context, plan *flow.Plan, item run.Item, rows []flow.Row, members frozen, p patience) ([]ledger.Outcome, error) {
	answer, note, visible := answerOf(plan, rows)
	open, err := a.Effects.AnswerAndAttempt(ctx, item, answer, note, visible, a.step(), target(plan), members.ledger())
	if err != nil {
		return nil, fmt.Errorf("committing the answer and asking the ledger: %w", err)
	}
	return a.deliver(ctx, plan, item, members, open, p)
}

func (a *Writer) step() string { return cmp.Or(a.Step, writeStep) }

// target is where a plan writes, as the ledger names it.
func target(plan *flow.Plan) string { return plan.Write.Connection + "." + plan.Write.Table }

// complete closes the run of one item with what became of its members; outcomes are
// those that had none before.
func (a *Writer) complete(ctx context.Context, plan *flow.Plan, item run.Item, members int, outcomes []ledger.Outcome) (contract.WriteResult, error) {
	result := contract.WriteResult{Confirmed: members}
	for _, o := range outcomes {
		switch o.State {
		case flow.Refused:
			result.Refused++
			result.Confirmed--
		case flow.Doubtful:
			result.Doubtful++
			result.Confirmed--
		}
	}
	note := fmt.Sprintf("%d rows in %s", result.Confirmed, plan.Write.Connection)
	ctx, done := committed(ctx)
	defer done()
	var err error
	if result.Status, err = a.Runs.Complete(ctx, item, a.step(), outcomes, nil, note); err != nil {
		return contract.WriteResult{}, fmt.Errorf("closing the run: %w", err)
	}
	return result, nil
}

// committed returns a context that a cancel does not reach and that ends with the
// attempt: what was sent is heard out and what is known is recorded, so that a
// certificate says it (promise 3).
func committed(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(time.Minute)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

// pending says on the run's row what a write waits for. A connection that is not
// set up right parks the run: an accepted effect waits until a person has put it
// right, or cancels.
func (a *Writer) pending(ctx context.Context, item run.Item, connection string, err error) error {
	err = asleep(ctx, err)
	f := fault.Of(err)
	if errors.Is(err, context.Canceled) && !errors.As(err, new(*fault.Fault)) || !configured(f) {
		tell(ctx, a.Runs, item, flow.Running, connection, err)
		return err
	}
	parked := fault.New(fault.Unavailable, f.Code, f.Text, err)
	tell(ctx, a.Runs, item, flow.Parked, connection, parked)
	return parked
}

// deliver returns the outcome of every member that is open.
func (a *Writer) deliver(ctx context.Context, plan *flow.Plan, item run.Item, members frozen, open []ledger.Open, p patience) ([]ledger.Outcome, error) {
	rows := make(map[string]flow.Row, len(members))
	for _, m := range members {
		rows[m.Key] = m.row
	}
	ctx, done := committed(ctx) // the attempt is on record: it is carried to its end
	defer done()
	var send, unsure []ledger.Open
	for _, o := range open {
		if o.Retried {
			unsure = append(unsure, o)
		} else {
			send = append(send, o)
		}
	}
	outcomes, missing, sight, err := a.readBack(ctx, plan, item, unsure, rows, p.call)
	if err != nil {
		return nil, err
	}
	missing, given, wait := sight.settle(plan, missing)
	outcomes, send = append(outcomes, given...), append(send, missing...)
	repeated := sight.repeats(missing)
	var again, doubt error
	if wait > 0 {
		again = fault.ThrottledFor(wait, unsettledCode, "what was sent to "+plan.Write.Connection+" before may still show; then it is looked for again", nil)
	}
	if len(send) == 0 && again == nil {
		return outcomes, nil
	}
	d := &departure{Writer: a, plan: plan, item: item, members: members, open: send, held: p.held}
	results, whole := a.upsert(ctx, plan, item, send, rows, p, d)
	if whole != nil {
		results = make([]error, len(send))
		for i := range results {
			results[i] = whole
		}
	}
	unsure = nil
	for i, o := range send {
		f := fault.Of(results[i])
		outcome := ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed}
		switch {
		case f == nil:
			outcome.Reason = repeated[o.Key]
		case refused(f) && whole == nil:
			outcome.State, outcome.Reason = flow.Refused, f.Code+": "+f.Text
		case f.Class == fault.InDoubt:
			doubt, unsure = results[i], append(unsure, o)
			continue
		default:
			again = cmp.Or(again, results[i])
			outcome.State = flow.Intent // it certainly did not take effect
		}
		outcomes = append(outcomes, outcome)
	}
	if err := d.late(ctx, outcomes); err != nil {
		return nil, fmt.Errorf("asking the ledger: %w", err)
	}
	// Looking at once settles most doubts, before a cancel or a kill makes them
	// last. What is not there yet says nothing: its attempt stays open, and the
	// next one looks again.
	held, missing, _, err := a.readBack(ctx, plan, item, unsure, rows, p.look)
	outcomes = append(outcomes, held...)
	if err == nil && len(missing) == 0 {
		doubt = nil
	}
	if again == nil && doubt == nil {
		return outcomes, nil
	}
	// What is known is kept; the next attempt asks for the rest only.
	if err := a.Effects.Record(ctx, item, a.step(), outcomes); err != nil {
		return nil, fmt.Errorf("recording outcomes: %w", err)
	}
	return nil, fmt.Errorf("writing: %w", cmp.Or(again, doubt))
}

// upsert sends members, each with its mark.
func (a *Writer) upsert(ctx context.Context, plan *flow.Plan, item run.Item, send []ledger.Open, rows map[string]flow.Row, p patience, d *departure) ([]error, error) {
	if len(send) == 0 {
		return nil, nil
	}
	ctx, done := within(ctx, p.call)
	defer done()
	batch, marks := a.marked(item, send, rows)
	return a.Target.Upsert(ctx, plan, Call{Rows: batch, Marks: marks, Origin: origin(plan, item, batch), Held: d.leave(ctx)})
}

// origin continues the chain of causes of a run of an event flow: the longest of the
// net changes that it carries. What the write causes is then known as its echo.
func origin(plan *flow.Plan, item run.Item, rows []flow.Row) string {
	if plan.Reaction == nil {
		return ""
	}
	var longest flow.Chain
	items, _ := item.Params["items"].([]any)
	for _, v := range items {
		change, _ := v.(map[string]any)
		tag, _ := change["origin"].(string)
		if chain := flow.ParseChain(tag); len(chain.Flows) > len(longest.Flows) {
			longest = chain
		}
	}
	body, err := json.Marshal(rows)
	if err != nil { // freeze has encoded each of them
		return longest.Then(plan.Flow, "")
	}
	sum := sha256.Sum256(body)
	return longest.Then(plan.Flow, hex.EncodeToString(sum[:4]))
}

// marked gives the rows of members, and their marks.
func (a *Writer) marked(item run.Item, members []ledger.Open, rows map[string]flow.Row) ([]flow.Row, []Mark) {
	batch, marks := make([]flow.Row, len(members)), make([]Mark, len(members))
	for i, o := range members {
		batch[i] = rows[o.Key]
		marks[i] = Mark{Cause: item.RunID, Step: a.step(), Key: o.Key, Fence: o.Fence}
	}
	return batch, marks
}

// readBack looks which of the rows took effect: by the target's own marks, or
// because it holds them as they were to be written. Those are confirmed, missing
// are the others.
func (a *Writer) readBack(ctx context.Context, plan *flow.Plan, item run.Item, unsure []ledger.Open, rows map[string]flow.Row, limit time.Duration) (
	held []ledger.Outcome, missing []ledger.Open, sight Sight, err error,
) {
	if len(unsure) == 0 {
		return nil, nil, Sight{}, nil
	}
	sent, marks := a.marked(item, unsure, rows)
	ctx, done := within(ctx, limit)
	defer done()
	if sight, err = a.Target.ReadBack(ctx, plan, sent, marks); err != nil {
		return nil, nil, Sight{}, fmt.Errorf("reading back: %w", err)
	}
	for i, o := range unsure {
		if reason := sight.took(i, sent[i]); reason != "" {
			held = append(held, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Confirmed, Reason: reason})
		} else {
			missing = append(missing, o)
		}
	}
	return held, missing, sight, nil
}

// freeze makes ledger members of rows. Rows that are one to the target are
// merged, the later wins column by column.
func freeze(key []string, rows []flow.Row, folded []string) (frozen, error) {
	var members frozen
	at := map[string]int{}
	for n, row := range rows {
		values := make([]any, len(key))
		words := make([]string, len(key))
		for i, k := range key {
			values[i], words[i] = row[k], fmt.Sprint(row[k])
		}
		id, err := json.Marshal(values)
		if err != nil {
			return nil, fault.New(fault.Bug, "write.key", "a key that cannot be encoded", err)
		}
		i, seen := at[folded[n]]
		if !seen {
			i = len(members)
			at[folded[n]] = i
			members = append(members, member{Member: ledger.Member{Key: string(id), Label: strings.Join(words, ", ")}, row: flow.Row{}})
		}
		for column, value := range row {
			if seen && slices.Contains(key, column) {
				continue // the key stays as the ledger knows it
			}
			members[i].row[column] = value
		}
	}
	for i := range members {
		body, err := json.Marshal(members[i].row)
		if err != nil {
			return nil, fault.New(fault.Bug, "write.row", "a row that cannot be encoded", err)
		}
		sum := sha256.Sum256(body)
		members[i].SHA256 = sum[:]
	}
	return members, nil
}
