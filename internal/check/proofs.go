package check

import (
	"fmt"
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

type (
	// Loaded is all that a proof may look at.
	Loaded struct {
		Connections *flowfile.Connections
		Declared    flowfile.File // connections.yaml
		Flows       []Flow
		Complete    bool // every flow compiled

		Now   time.Time // when schedules are looked at
		Speed float64   // of the environment, by which the times of plans are divided
	}

	// proof finds what is wrong with the flows as a whole.
	proof func(Loaded) []flowfile.Diagnostic
)

// proofs are run in this order. What concerns one flow alone (a write without a
// key, say) is flowfile's to find.
var proofs = []proof{
	uniqueNames,
	connectionsAreUsed,
	noLoops,
	callsFit,
	topicsFit,
	eventsEnd,
	oneWriter,
	fitsQuotas,
	noLeaks,
	credentialsLast,
	notTooLarge,
	notRepeated,
}

// speed is by how much times are divided.
func (l Loaded) speed() float64 { return max(l.Speed, 1) }

// uniqueNames: the name of a flow is its address, so no two may share one.
func uniqueNames(l Loaded) []flowfile.Diagnostic {
	var out []flowfile.Diagnostic
	first := map[string]string{}
	for _, f := range l.Flows {
		if other, taken := first[f.Plan.Flow]; taken {
			line, col := flowfile.Find(f.File, "flow")
			out = append(out, flowfile.Diagnostic{
				File: f.File.Name, Line: line, Col: col, Code: flowfile.CodeID, Severity: flowfile.Error,
				Message: fmt.Sprintf("the flow %s is also in %s", f.Plan.Flow, other), Fix: "give one of them another name",
			})
			continue
		}
		first[f.Plan.Flow] = f.File.Name
	}
	return out
}

// connectionsAreUsed: a connection that no flow names is a credential kept for
// nothing. Silent until every flow compiled, for a broken flow may name it.
func connectionsAreUsed(l Loaded) []flowfile.Diagnostic {
	if !l.Complete {
		return nil
	}
	used := map[string]bool{}
	for _, f := range l.Flows {
		for name := range f.Plan.Bindings {
			used[name] = true
		}
	}
	var out []flowfile.Diagnostic
	for _, c := range l.Connections.List {
		if used[c.Name] {
			continue
		}
		line, col := l.Connections.At(c.Name)
		out = append(out, flowfile.Diagnostic{
			File: l.Connections.File, Line: line, Col: col, Code: flowfile.CodeUnused, Severity: flowfile.Warning,
			Message: fmt.Sprintf("no flow uses the connection %s", c.Name), Fix: "remove it",
		})
	}
	return out
}

// credentialsLast: a credential that its provider ends soon has to be replaced before.
func credentialsLast(l Loaded) []flowfile.Diagnostic {
	var out []flowfile.Diagnostic
	for _, c := range l.Connections.List {
		left, said := c.Auth.Left(l.Now)
		if !said || left > flow.Ending {
			continue
		}
		text := fmt.Sprintf("the credential of %s expires in %d days, after %s", c.Name, int(left.Hours()/24), c.Auth.Expires)
		if left <= 0 {
			text = fmt.Sprintf("the credential of %s has expired, on %s", c.Name, c.Auth.Expires)
		}
		line, col := flowfile.Find(l.Declared, "connections", c.Name, "auth", "expires")
		out = append(out, flowfile.Diagnostic{
			File: l.Connections.File, Line: line, Col: col, Code: CodeExpires, Severity: flowfile.Warning,
			Message: text, Fix: "replace it at its provider and where the reference leads to, and write its new last day",
		})
	}
	return out
}

// CodeExpires is the code of credentials that end soon.
const CodeExpires = "flow.expires"
