package starters

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/schedule/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/calendar"
	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/slot"
)

// schedulePrefix begins the IDs of our schedules in Temporal.
const schedulePrefix = string(flow.Consolidation) + "/"

// ScheduleID is the ID of the schedule of a flow in Temporal.
func ScheduleID(name string) string { return schedulePrefix + name }

// SlotWorkflow is the ID of the workflow of a slot. Temporal appends a dash and the
// time of the slot to the ID that a schedule's action has, which is this without them.
func SlotWorkflow(name string, at time.Time) string {
	return slotWorkflows(name) + "-" + at.UTC().Format(time.RFC3339)
}

func slotWorkflows(name string) string {
	return contract.WorkflowID(string(flow.Consolidation), name, "slot")
}

// overlaps are the policies by Temporal's names for them.
var overlaps = map[flow.Overlap]enums.ScheduleOverlapPolicy{
	flow.OverlapSkip:      enums.SCHEDULE_OVERLAP_POLICY_SKIP,
	flow.OverlapBufferOne: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
	flow.OverlapBufferAll: enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
	flow.OverlapCancel:    enums.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
	flow.OverlapTerminate: enums.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER,
	flow.OverlapAllow:     enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
}

// specOf is the times of a schedule as Temporal is told them. The comment of a calendar
// is the expression that it was written as.
func specOf(s flow.Schedule, t *calendar.Times) client.ScheduleSpec {
	spec := client.ScheduleSpec{TimeZoneName: s.Zone, Jitter: s.Jitter}
	if t.Every > 0 {
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: t.Every, Offset: t.Phase}}
	}
	for i, p := range t.Patterns {
		spec.Calendars = append(spec.Calendars, calendarOf(p, s.Cron[i]))
	}
	for _, p := range t.Holidays {
		spec.Skip = append(spec.Skip, calendarOf(p, ""))
	}
	return spec
}

func calendarOf(p calendar.Pattern, comment string) client.ScheduleCalendarSpec {
	ranges := func(list []calendar.Range) []client.ScheduleRange {
		var out []client.ScheduleRange
		for _, r := range list {
			out = append(out, client.ScheduleRange{Start: r.Start, End: r.End, Step: r.Step})
		}
		return out
	}
	return client.ScheduleCalendarSpec{Second: ranges(p.Second), Minute: ranges(p.Minute), Hour: ranges(p.Hour), DayOfMonth: ranges(p.Day),
		Month: ranges(p.Month), DayOfWeek: ranges(p.Weekday), Year: ranges(p.Year), Comment: clip(comment, 150)}
}

// actionOf is what a slot starts. Flow names and nothing else travel (promise 5).
func actionOf(name string) *client.ScheduleWorkflowAction {
	return &client.ScheduleWorkflowAction{
		ID:                    slotWorkflows(name),
		Workflow:              contract.Consolidation.Name(),
		Args:                  []any{contract.ConsolidationInput{Batch: contract.Batch{Flow: name}}},
		TaskQueue:             string(contract.Main),
		TypedSearchAttributes: temporal.NewSearchAttributes(contract.FlowAttribute.ValueSet(name)),
		StaticSummary:         "slot of " + name,
		Priority:              temporal.Priority{PriorityKey: interactive + 1, FairnessKey: name},
	}
}

// shape is all of a schedule that files decide, as text that can be compared and shown.
type shape struct {
	times, holidays, zone, jitter, overlap, catchUp, action string
}

// shapeOf is the shape that an entry asks for.
func shapeOf(e slot.Entry, t *calendar.Times) shape {
	var times []string
	if t.Every > 0 {
		times = append(times, interval(t.Every, t.Phase))
	}
	for _, p := range t.Patterns {
		times = append(times, pattern(p))
	}
	return shape{times: strings.Join(times, " and "), holidays: patterns(t.Holidays), zone: zone(e.Schedule.Zone), jitter: calendar.Short(t.Jitter),
		overlap: string(e.Schedule.Policy()), catchUp: calendar.Short(e.Schedule.Window()),
		action: contract.Consolidation.Name() + " " + slotWorkflows(e.Flow) + " on " + string(contract.Main)}
}

// shapeIn is the shape of a schedule that Temporal has.
func shapeIn(s *schedule.Schedule) shape {
	var times []string
	for _, i := range s.GetSpec().GetInterval() {
		times = append(times, interval(i.GetInterval().AsDuration(), i.GetPhase().AsDuration()))
	}
	for _, c := range s.GetSpec().GetStructuredCalendar() {
		times = append(times, pattern(patternOf(c)))
	}
	var holidays []calendar.Pattern
	for _, c := range s.GetSpec().GetExcludeStructuredCalendar() {
		holidays = append(holidays, patternOf(c))
	}
	start := s.GetAction().GetStartWorkflow()
	out := shape{times: strings.Join(times, " and "), holidays: patterns(holidays), zone: zone(s.GetSpec().GetTimezoneName()),
		jitter: calendar.Short(s.GetSpec().GetJitter().AsDuration()), catchUp: calendar.Short(s.GetPolicies().GetCatchupWindow().AsDuration()),
		action: start.GetWorkflowType().GetName() + " " + start.GetWorkflowId() + " on " + start.GetTaskQueue().GetName()}
	for name, policy := range overlaps {
		if policy == s.GetPolicies().GetOverlapPolicy() {
			out.overlap = string(name)
		}
	}
	return out
}

// changed says in words what differs between two shapes of a schedule.
func (s shape) changed(to shape) []string {
	var words []string
	for _, f := range []struct{ name, from, to string }{
		{"times", s.times, to.times}, {"timezone", s.zone, to.zone}, {"jitter", s.jitter, to.jitter},
		{"overlap", s.overlap, to.overlap}, {"catch_up", s.catchUp, to.catchUp}, {"action", s.action, to.action},
	} {
		if f.from != f.to {
			words = append(words, fmt.Sprintf("%s: %s → %s", f.name, f.from, f.to))
		}
	}
	if s.holidays != to.holidays {
		from, to := strings.Split(s.holidays, ", "), strings.Split(to.holidays, ", ")
		gone := slices.DeleteFunc(slices.Clone(from), func(d string) bool { return d == "" || slices.Contains(to, d) })
		come := slices.DeleteFunc(to, func(d string) bool { return d == "" || slices.Contains(from, d) })
		words = append(words, fmt.Sprintf("holidays: %d more, %d fewer", len(come), len(gone)))
	}
	return words
}

func zone(name string) string {
	if name == "" {
		return "UTC"
	}
	return name
}

func interval(every, phase time.Duration) string {
	text := "every " + calendar.Short(every)
	if phase > 0 {
		text += " at " + calendar.Short(phase)
	}
	return text
}

func patternOf(c *schedule.StructuredCalendarSpec) calendar.Pattern {
	ranges := func(list []*schedule.Range) []calendar.Range {
		var out []calendar.Range
		for _, r := range list {
			out = append(out, calendar.Range{Start: int(r.GetStart()), End: int(r.GetEnd()), Step: int(r.GetStep())})
		}
		return out
	}
	return calendar.Pattern{Second: ranges(c.GetSecond()), Minute: ranges(c.GetMinute()), Hour: ranges(c.GetHour()), Day: ranges(c.GetDayOfMonth()),
		Month: ranges(c.GetMonth()), Weekday: ranges(c.GetDayOfWeek()), Year: ranges(c.GetYear())}
}

func patterns(list []calendar.Pattern) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = pattern(p)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// pattern writes a pattern as a cron expression of seven fields, or of six where the
// second is 0, or of five where the year is any.
func pattern(p calendar.Pattern) string {
	second, year := ranges(p.Second, 0, 59), ranges(p.Year, 0, 0)
	text := strings.Join([]string{ranges(p.Minute, 0, 59), ranges(p.Hour, 0, 23), ranges(p.Day, 1, 31), ranges(p.Month, 1, 12), ranges(p.Weekday, 0, 6)}, " ")
	switch {
	case second != "0":
		return second + " " + text + " " + year
	case year != "*":
		return text + " " + year
	}
	return text
}

func ranges(list []calendar.Range, least, most int) string {
	if len(list) == 0 {
		return "*"
	}
	out := make([]string, len(list))
	for i, r := range list {
		r.End, r.Step = max(r.End, r.Start), max(r.Step, 1)
		switch {
		case r.Start == r.End:
			out[i] = fmt.Sprint(r.Start)
		case r.Start == least && r.End == most:
			out[i] = "*"
		default:
			out[i] = fmt.Sprintf("%d-%d", r.Start, r.End)
		}
		if r.Step > 1 && r.Start != r.End {
			out[i] += fmt.Sprintf("/%d", r.Step)
		}
	}
	return strings.Join(out, ",")
}

// refused is a schedule that Temporal did not take, or did not tell of.
func refused(err error, what string) error {
	return fault.New(fault.Unavailable, unavailable, "Temporal did not "+what, err)
}
