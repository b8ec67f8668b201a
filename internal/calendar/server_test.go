package calendar_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"patchbay/internal/calendar"
	"patchbay/internal/devenv/testenv"
	"patchbay/internal/flow"
)

const (
	compared = 200 // specs
	windows  = 3   // of each
)

// zones are of every kind: whole hours east and west, halves and quarters, changes by
// half an hour, at midnight, at other times each year, days left out, none at all.
var zones = []string{"", "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Chisinau", "America/New_York", "America/Los_Angeles",
	"America/St_Johns", "America/Havana", "America/Santiago", "America/Asuncion", "America/Sao_Paulo", "America/Nuuk", "America/Scoresbysund",
	"America/Phoenix", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Asia/Beirut", "Asia/Tehran", "Asia/Jerusalem", "Asia/Gaza", "Africa/Casablanca",
	"Africa/Cairo", "Africa/El_Aaiun", "Australia/Lord_Howe", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland", "Pacific/Chatham",
	"Pacific/Apia", "Pacific/Kiritimati", "Pacific/Easter", "Antarctica/Troll", "Atlantic/Azores", "Etc/GMT+12"}

// The times of a schedule are those that Temporal's own server gives: what the slot
// ledger expects is what will be started.
func TestTheTimesAreThoseOfARealServer(t *testing.T) {
	t.Parallel()
	const seed = 20261130
	random := rand.New(rand.NewPCG(seed, seed))
	address, _ := testenv.Temporal(t)
	c, err := client.Dial(client.Options{HostPort: address})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	times := 0
	for i := range compared {
		s := randomSchedule(random)
		mine, err := calendar.Compile(s)
		require.NoError(t, err, "%+v", s)
		id := fmt.Sprintf("calendar-%d-%d", time.Now().UnixNano(), i)
		create(t, c, id, mine, s, random.IntN(2) == 0)
		for range windows {
			from, until := window(random, mine)
			answer, err := c.WorkflowService().ListScheduleMatchingTimes(t.Context(), &workflowservice.ListScheduleMatchingTimesRequest{
				Namespace: "default", ScheduleId: id, StartTime: timestamppb.New(from), EndTime: timestamppb.New(until)})
			require.NoError(t, err)
			var theirs []string
			for _, at := range answer.GetStartTime() {
				theirs = append(theirs, at.AsTime().Format(time.RFC3339Nano))
			}
			var ours []string
			for _, at := range mine.Between(from, until, 1000) {
				ours = append(ours, at.Format(time.RFC3339Nano))
			}
			require.Equal(t, theirs, ours, "spec %d: %+v from %s until %s", i, s, from, until)
			times += len(ours)
		}
		_, err = c.WorkflowService().DeleteSchedule(context.WithoutCancel(t.Context()), &workflowservice.DeleteScheduleRequest{Namespace: "default", ScheduleId: id})
		require.NoError(t, err)
	}
	t.Logf("%d specs in %d windows, %d times", compared, compared*windows, times)
	require.Greater(t, times, compared, "windows without times show nothing")
}

// create makes a paused schedule of what was compiled; where cron is the server's to
// read, it gets the text itself.
func create(t *testing.T, c client.Client, id string, mine *calendar.Times, s flow.Schedule, cron bool) {
	t.Helper()
	spec := &schedule.ScheduleSpec{TimezoneName: s.Zone}
	for i, p := range mine.Patterns {
		if text := s.Cron[i]; cron && !strings.Contains(text, "7") {
			spec.CronString = append(spec.CronString, text)
			continue
		}
		spec.StructuredCalendar = append(spec.StructuredCalendar, structured(p))
	}
	for _, p := range mine.Holidays {
		spec.ExcludeStructuredCalendar = append(spec.ExcludeStructuredCalendar, structured(p))
	}
	if mine.Every > 0 {
		spec.Interval = append(spec.Interval, &schedule.IntervalSpec{Interval: durationpb.New(mine.Every), Phase: durationpb.New(mine.Phase)})
	}
	_, err := c.WorkflowService().CreateSchedule(t.Context(), &workflowservice.CreateScheduleRequest{
		Namespace: "default", ScheduleId: id, RequestId: id, Identity: "test",
		Schedule: &schedule.Schedule{Spec: spec, State: &schedule.ScheduleState{Paused: true}, Action: &schedule.ScheduleAction{
			Action: &schedule.ScheduleAction_StartWorkflow{StartWorkflow: &workflow.NewWorkflowExecutionInfo{WorkflowId: id,
				WorkflowType: &common.WorkflowType{Name: "none"}, TaskQueue: &taskqueue.TaskQueue{Name: id, Kind: enums.TASK_QUEUE_KIND_NORMAL}}}}}})
	require.NoError(t, err, "%+v", s)
}

func structured(p calendar.Pattern) *schedule.StructuredCalendarSpec {
	ranges := func(list []calendar.Range) []*schedule.Range {
		var out []*schedule.Range
		for _, r := range list {
			out = append(out, &schedule.Range{Start: int32(r.Start), End: int32(r.End), Step: int32(r.Step)})
		}
		return out
	}
	return &schedule.StructuredCalendarSpec{Second: ranges(p.Second), Minute: ranges(p.Minute), Hour: ranges(p.Hour),
		DayOfMonth: ranges(p.Day), Month: ranges(p.Month), DayOfWeek: ranges(p.Weekday), Year: ranges(p.Year)}
}

// window is a span in which a spec has times: three in four about a change of clocks,
// where the zone has one.
func window(random *rand.Rand, mine *calendar.Times) (from, until time.Time) {
	from = time.Date(2000+random.IntN(98), time.Month(1+random.IntN(12)), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60), 0, time.UTC)
	if random.IntN(4) > 0 {
		from = time.Date(2000+random.IntN(37), time.Month(1+random.IntN(12)), 1, 0, 0, 0, 0, time.UTC)
		if _, change := from.In(mine.Zone).ZoneBounds(); !change.IsZero() {
			from = change.Add(-time.Duration(random.IntN(30*3600)) * time.Second)
		}
	}
	return from, from.Add(time.Duration(1+random.IntN(3)) * []time.Duration{time.Hour, 24 * time.Hour, 40 * 24 * time.Hour, 400 * 24 * time.Hour}[random.IntN(4)])
}

func randomSchedule(random *rand.Rand) flow.Schedule {
	s := flow.Schedule{Zone: zones[random.IntN(len(zones))]}
	for range random.IntN(3) {
		s.Cron = append(s.Cron, randomCron(random))
	}
	if len(s.Cron) == 0 || random.IntN(3) == 0 {
		s.Every = []time.Duration{time.Second, 7 * time.Second, time.Minute, 17 * time.Minute, time.Hour, 25 * time.Hour, 7 * 24 * time.Hour, 365 * 24 * time.Hour}[random.IntN(8)]
		s.Phase = time.Duration(random.Int64N(int64(s.Every/time.Second))) * time.Second
	}
	for range random.IntN(4) {
		switch random.IntN(3) {
		case 0:
			s.Holidays = append(s.Holidays, calendar.Lists()[random.IntN(len(calendar.Lists()))])
		case 1:
			s.Holidays = append(s.Holidays, fmt.Sprintf("%02d-%02d", 1+random.IntN(12), 1+random.IntN(28)))
		default:
			s.Holidays = append(s.Holidays, fmt.Sprintf("%d-%02d-%02d", 2000+random.IntN(100), 1+random.IntN(12), 1+random.IntN(28)))
		}
	}
	return s
}

func randomCron(random *rand.Rand) string {
	field := func(least, most int, stars int) string {
		if random.IntN(10) < stars {
			if random.IntN(3) == 0 {
				return fmt.Sprintf("*/%d", 1+random.IntN(most))
			}
			return "*"
		}
		var parts []string
		for range 1 + random.IntN(2) {
			a := least + random.IntN(most-least+1)
			b := a + random.IntN(most-a+1)
			switch random.IntN(4) {
			case 0:
				parts = append(parts, fmt.Sprintf("%d-%d", a, b))
			case 1:
				parts = append(parts, fmt.Sprintf("%d-%d/%d", a, b, 1+random.IntN(5)))
			case 2:
				parts = append(parts, fmt.Sprintf("%d/%d", a, 1+random.IntN(9)))
			default:
				parts = append(parts, fmt.Sprint(a))
			}
		}
		return strings.Join(parts, ",")
	}
	pick := func(text string, names ...string) string {
		if random.IntN(6) == 0 {
			return names[random.IntN(len(names))]
		}
		return text
	}
	cron := strings.Join([]string{field(0, 59, 3), field(0, 23, 6), field(1, 31, 8),
		pick(field(1, 12, 8), "jan-mar", "Sept", "october,dec"), pick(field(0, 7, 8), "mon-fri", "Sun", "tu,thurs")}, " ")
	switch random.IntN(6) {
	case 0:
		cron += " " + field(2000, 2100, 5)
	case 1:
		cron = field(0, 59, 2) + " " + cron + " " + field(2000, 2100, 5)
	case 2:
		cron = []string{"@hourly", "@daily", "@weekly", "@monthly", "@yearly"}[random.IntN(5)]
	}
	return cron
}
