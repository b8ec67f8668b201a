package check

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// says is what one flow says of a business event.
type says struct {
	file    flowfile.File
	flow    string
	section string // accepts or emits
	topic   *flow.Topic
}

// topicsOf are the contracts of all flows, by the name of the event.
func topicsOf(l Loaded) (names []string, all map[string][]says) {
	all = map[string][]says{}
	for _, f := range l.Flows {
		for section, topics := range map[string][]flow.Topic{"accepts": f.Plan.Accepts, "emits": f.Plan.Emits} {
			for i := range topics {
				t := &topics[i]
				if !slices.Contains(names, t.Name) {
					names = append(names, t.Name)
				}
				all[t.Name] = append(all[t.Name], says{f.File, f.Plan.Flow, section, t})
			}
		}
	}
	slices.Sort(names)
	for _, list := range all {
		slices.SortFunc(list, func(a, b says) int { return strings.Compare(a.section+a.flow, b.section+b.flow) })
	}
	return names, all
}

// topicsFit proves that whoever emits a business event says what each flow that accepts it
// needs, and that all mean the same by its key.
func topicsFit(l Loaded) []flowfile.Diagnostic {
	if !l.Complete {
		return nil
	}
	names, all := topicsOf(l)
	var out []flowfile.Diagnostic
	for _, name := range names {
		list := all[name]
		report := func(t says, severity flowfile.Severity, part, message, fix string) {
			path := []string{t.section, name}
			if part != "" {
				path = append(path, strings.Split(part, ".")...)
			}
			line, col := flowfile.Find(t.file, path...)
			out = append(out, flowfile.Diagnostic{File: t.file.Name, Line: line, Col: col, Code: flowfile.CodeContract, Severity: severity, Message: message, Fix: fix})
		}
		for _, t := range list[1:] {
			if first := list[0]; !slices.Equal(first.topic.Key, t.topic.Key) {
				report(t, flowfile.Error, "key", fmt.Sprintf("%s: the business key is %s here, and %s in %s", name, strings.Join(t.topic.Key, ", "), strings.Join(first.topic.Key, ", "), first.flow), "write the same key, or give the event another name")
			}
		}
		accepted, emitted := 0, 0
		for _, a := range list {
			if a.section == "accepts" {
				accepted++
				continue
			}
			emitted++
			for _, b := range list {
				if b.section == "accepts" {
					for _, m := range misfits(a.topic, b.topic) {
						report(a, flowfile.Error, "schema", fmt.Sprintf("%s: %s accepts it and %s", name, b.flow, m), "say the same here, or emit another version and let that flow follow")
					}
				}
			}
			if accepted == 0 {
				report(a, flowfile.Info, "", fmt.Sprintf("no flow accepts %s%s", name, otherVersions(name, names, all, "accepts")), "")
			}
		}
		if emitted == 0 {
			if others := otherVersions(name, names, all, "emits"); others != "" {
				report(list[0], flowfile.Warning, "", fmt.Sprintf("no flow emits %s%s", name, others), "accept that version, or nobody but POST /v1/events tells of it")
			}
		}
	}
	return out
}

// otherVersions names the versions of an event that flows have in a section.
func otherVersions(name string, names []string, all map[string][]says, section string) string {
	base, _, _ := strings.Cut(name, ".")
	var others []string
	for _, n := range names {
		if other, _, _ := strings.Cut(n, "."); other == base && n != name && slices.ContainsFunc(all[n], func(t says) bool { return t.section == section }) {
			others = append(others, n)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return ", and " + map[string]string{"accepts": "accepted", "emits": "emitted"}[section] + " is " + strings.Join(others, ", ")
}

// misfits say what an event of one contract may lack of another.
func misfits(emitted, accepted *flow.Topic) (all []string) {
	for _, need := range accepted.Fields {
		i := slices.IndexFunc(emitted.Fields, func(f flow.Param) bool { return f.Name == need.Name })
		switch {
		case i < 0 && !need.Optional:
			all = append(all, "requires the field "+need.Name+", which is not declared here")
		case i < 0:
		case emitted.Fields[i].Optional && !need.Optional:
			all = append(all, "requires the field "+need.Name+", which may be missing here")
		default:
			if text := narrower(emitted.Fields[i], need); text != "" {
				all = append(all, "takes of the field "+need.Name+" "+text)
			}
		}
	}
	return all
}

// narrower says how a field that is needed allows less than the one that is given; "" where
// it does not.
func narrower(given, need flow.Param) string {
	textual := []flow.Type{flow.String, flow.Date, flow.Timestamp}
	switch {
	case need.Type == flow.Any, need.Type == given.Type,
		need.Type == flow.Decimal && given.Type == flow.Int,
		need.Type == flow.String && slices.Contains(textual, given.Type):
	default:
		return fmt.Sprintf("a %s, and it is a %s here", need.Type, given.Type)
	}
	for _, v := range given.Enum {
		if len(need.Enum) > 0 && !slices.Contains(need.Enum, v) {
			return fmt.Sprintf("only %s, and %q is allowed here", strings.Join(need.Enum, ", "), v)
		}
	}
	switch {
	case len(need.Enum) > 0 && len(given.Enum) == 0:
		return "only " + strings.Join(need.Enum, ", ") + ", and here every value is allowed"
	case need.Pattern != "" && need.Pattern != given.Pattern && len(need.Enum) == 0:
		return "what matches " + need.Pattern + ", which is not said here"
	case need.Min != nil && (given.Min == nil || *given.Min < *need.Min):
		return fmt.Sprintf("at least %d, which is not said here", *need.Min)
	case need.Max != nil && (given.Max == nil || *given.Max > *need.Max):
		return fmt.Sprintf("at most %d, which is not said here", *need.Max)
	}
	return ""
}

// started are the flows that the events of a plan start.
func started(plans map[string]*flow.Plan, p *flow.Plan) (names []string) {
	for name, other := range plans {
		if p.Tells(other.Starts) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// eventsEnd proves that no flow is started by an event that it brings about.
func eventsEnd(l Loaded) []flowfile.Diagnostic {
	if !l.Complete {
		return nil
	}
	plans := map[string]*flow.Plan{}
	for _, f := range l.Flows {
		plans[f.Plan.Flow] = f.Plan
	}
	var out []flowfile.Diagnostic
	for _, f := range l.Flows {
		for _, next := range started(plans, f.Plan) {
			if path := back(plans, next, f.Plan.Flow, nil); path != nil {
				line, col := flowfile.Find(f.File, "emits", plans[next].Starts)
				out = append(out, flowfile.Diagnostic{File: f.File.Name, Line: line, Col: col, Code: flowfile.CodeLoop, Severity: flowfile.Error,
					Message: fmt.Sprintf("%s starts what emits it: %s", plans[next].Starts, strings.Join(append([]string{f.Plan.Flow}, path...), " → ")), Fix: "break the circle"})
			}
		}
	}
	return out
}
