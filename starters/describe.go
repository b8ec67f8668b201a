package starters

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/contract"
	"patchbay/internal/flow"
	"patchbay/internal/run"
)

const (
	// mostDetails is how many bytes of JSON the details of a workflow may have. The
	// server takes 20,000 and refuses the whole start above.
	mostDetails = 16_000
	// mostSummary bounds what an author's summary takes of them.
	mostSummary = 2_000
	// someRuns is how many run_ids are searchable: the server refuses a list above
	// 2 KiB, and so the whole start.
	someRuns = 64

	// interactive is Temporal's own default priority, which is what a press has that
	// comes by the second door: the two stand side by side.
	interactive = 3
)

// options names what the Temporal Web UI shows of a batch: flow, runs and
// counts, no key and no data (promise 5).
func (l launcher) options(s run.Start, page Page) client.StartWorkflowOptions {
	attributes := []temporal.SearchAttributeUpdate{contract.FlowAttribute.ValueSet(s.Flow)}
	if len(s.RunIDs) > 0 {
		attributes = append(attributes, contract.RunsAttribute.ValueSet(s.RunIDs[:min(len(s.RunIDs), someRuns)]))
	}
	return client.StartWorkflowOptions{
		ID:                                       s.WorkflowID(),
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		EnableEagerStart:                         l.eager(),
		TypedSearchAttributes:                    temporal.NewSearchAttributes(attributes...),
		StaticSummary:                            presses(s.Size) + " of " + s.Flow,
		StaticDetails:                            details(s, page),
		Priority:                                 priority(s),
	}
}

func presses(n int) string {
	if n == 1 {
		return "1 press"
	}
	return fmt.Sprintf("%d presses", n)
}

// priority orders tasks that have started: interactive before background, and the
// flows among each other in turn.
func priority(s run.Start) temporal.Priority {
	key := interactive
	if s.Class > flow.Interactive {
		key++
	}
	return temporal.Priority{PriorityKey: key, FairnessKey: s.Flow}
}

// details are the flow's own words and, where the console has an address, a link
// to the page of each run. They are shown as Markdown.
func details(s run.Start, page Page) string {
	text := clip(s.Summary, mostSummary)
	if page == nil {
		return text
	}
	var b strings.Builder
	b.WriteString(text + "\n")
	size := encoded(b.String())
	for i, id := range s.RunIDs {
		line := fmt.Sprintf("\n- [%s](%s)", id, page(id))
		if size += encoded(line); size > mostDetails {
			fmt.Fprintf(&b, "\n- and %d more", len(s.RunIDs)-i)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// encoded is the size of a text on its way to the server.
func encoded(s string) int {
	b, _ := json.Marshal(s) // a string never fails
	return len(b)
}

// clip cuts a text to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n--; n > 0 && !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n] + "…"
}
