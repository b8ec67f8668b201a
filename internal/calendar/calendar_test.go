package calendar_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return v.UTC()
}

func slots(t *testing.T, s flow.Schedule, after, until string) []string {
	t.Helper()
	times, err := calendar.Compile(s)
	require.NoError(t, err)
	var list []string
	for _, v := range times.Between(at(t, after), at(t, until), 1000) {
		list = append(list, v.In(times.Zone).Format("2006-01-02 15:04:05 MST"))
	}
	return list
}

func TestAnIntervalCountsFromTheEpochAndHasAPhase(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"2026-11-30 10:07:00 UTC", "2026-11-30 10:22:00 UTC"},
		slots(t, flow.Schedule{Every: 15 * time.Minute, Phase: 7 * time.Minute}, "2026-11-30T10:00:00Z", "2026-11-30T10:30:00Z"))
	require.Equal(t, []string{"1971-01-01 00:00:00 UTC", "1972-01-01 00:00:00 UTC"},
		slots(t, flow.Schedule{Every: 365 * 24 * time.Hour}, "1960-01-01T00:00:00Z", "1972-06-01T00:00:00Z"))
}

func TestATimeThatAChangeOfClocksLeavesOutDoesNotComeAndOneThatItRepeatsComesAsTemporalHasIt(t *testing.T) {
	t.Parallel()
	s := flow.Schedule{Cron: []string{"30 2 * * *"}, Zone: "Europe/Berlin"}
	require.Equal(t, []string{"2027-03-27 02:30:00 CET", "2027-03-29 02:30:00 CEST"}, slots(t, s, "2027-03-26T12:00:00Z", "2027-03-29T12:00:00Z"))
	require.Equal(t, []string{"2027-10-31 02:30:00 CET"}, slots(t, s, "2027-10-30T12:00:00Z", "2027-10-31T12:00:00Z"),
		"east of Greenwich the server's walk meets the second of the two only")
	s = flow.Schedule{Cron: []string{"30 1 * * *"}, Zone: "America/New_York"}
	require.Equal(t, []string{"2027-11-07 01:30:00 EDT", "2027-11-07 01:30:00 EST"}, slots(t, s, "2027-11-06T12:00:00Z", "2027-11-07T12:00:00Z"))
}

func TestAHolidayLeavesOutTheWholeDayOfItsZone(t *testing.T) {
	t.Parallel()
	s := flow.Schedule{Every: 12 * time.Hour, Zone: "Asia/Tokyo", Holidays: []string{"12-25", "2026-12-27"}}
	require.Equal(t, []string{"2026-12-24 09:00:00 JST", "2026-12-24 21:00:00 JST", "2026-12-26 09:00:00 JST", "2026-12-26 21:00:00 JST"},
		slots(t, s, "2026-12-23T12:00:00Z", "2026-12-27T12:00:00Z"))
	times, err := calendar.Compile(s)
	require.NoError(t, err)
	require.Equal(t, []calendar.Left{{First: at(t, "2026-12-25T00:00:00Z"), Count: 2}, {First: at(t, "2026-12-27T00:00:00Z"), Count: 2}, {First: at(t, "2027-12-25T00:00:00Z"), Count: 2}},
		times.LeftOut(at(t, "2026-01-01T00:00:00Z"), at(t, "2028-01-01T00:00:00Z")))
	require.Equal(t, []calendar.Left{{First: at(t, "2026-12-25T00:00:00Z"), Count: 2}}, times.LeftOut(at(t, "2026-12-25T05:00:00Z"), at(t, "2026-12-25T13:00:00Z")),
		"a day is told of as a whole, however little of it is asked for")
}

func TestNamedHolidaysMoveWithEasterAndTheWeek(t *testing.T) {
	t.Parallel()
	for list, days := range map[string][]string{
		"target":     {"2027-01-01", "2027-03-26", "2027-03-29", "2027-05-01", "2027-12-25", "2027-12-26"},
		"de":         {"2027-01-01", "2027-03-26", "2027-03-29", "2027-05-01", "2027-05-06", "2027-05-17", "2027-10-03", "2027-12-25", "2027-12-26"},
		"fr":         {"2027-01-01", "2027-03-29", "2027-05-01", "2027-05-06", "2027-05-08", "2027-05-17", "2027-07-14", "2027-08-15", "2027-11-01", "2027-11-11", "2027-12-25"},
		"us-federal": {"2027-01-01", "2027-01-18", "2027-02-15", "2027-05-31", "2027-06-19", "2027-07-04", "2027-09-06", "2027-10-11", "2027-11-11", "2027-11-25", "2027-12-25"},
	} {
		times, err := calendar.Compile(flow.Schedule{Cron: []string{"@daily"}, Holidays: []string{list}})
		require.NoError(t, err)
		var got []string
		for _, left := range times.LeftOut(at(t, "2026-12-31T00:00:00Z"), at(t, "2027-12-31T00:00:00Z")) {
			got = append(got, left.First.Format(time.DateOnly))
		}
		require.Equal(t, days, got, list)
	}
	require.Equal(t, []string{"de", "fr", "target", "us-federal"}, calendar.Lists())
}

func TestEachMistakeOfAScheduleIsNamedWithItsField(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-11-30T10:00:00Z")
	for _, c := range []struct {
		schedule flow.Schedule
		field    string
		text     string
	}{
		{flow.Schedule{}, "schedule", "no times"},
		{flow.Schedule{Every: 500 * time.Millisecond}, "every", "too short"},
		{flow.Schedule{Every: 1500 * time.Millisecond}, "every", "whole seconds"},
		{flow.Schedule{Every: 367 * 24 * time.Hour}, "every", "longer than a year"},
		{flow.Schedule{Every: -time.Second}, "every", "too short"},
		{flow.Schedule{Every: time.Hour, Phase: time.Hour}, "phase", "within the interval"},
		{flow.Schedule{Cron: []string{"0 0 30 2 *"}}, "cron", "never fires"},
		{flow.Schedule{Cron: []string{"@hourly", "0 0 29 2 * 2027"}}, "cron", "never fires"},
		{flow.Schedule{Cron: []string{"0 0 * * * 2019"}}, "cron", "never fires"},
		{flow.Schedule{Cron: []string{"61 * * * *"}}, "cron", "not between 0 and 59"},
		{flow.Schedule{Cron: []string{"* * * *"}}, "cron", "4 fields"},
		{flow.Schedule{Cron: []string{"* * * foo *"}}, "cron", "is no month"},
		{flow.Schedule{Cron: []string{"*/0 * * * *"}}, "cron", "step"},
		{flow.Schedule{Cron: []string{"5-1 * * * *"}}, "cron", "ends before it begins"},
		{flow.Schedule{Cron: []string{"@every 5m"}}, "cron", "is not one of"},
		{flow.Schedule{Cron: []string{"CRON_TZ=UTC 0 0 * * *"}}, "cron", "time zone does not stand"},
		{flow.Schedule{Cron: []string{"@daily"}, Zone: "Europe/Berlim"}, "timezone", "IANA"},
		{flow.Schedule{Cron: []string{"@daily"}, Zone: "Local"}, "timezone", "IANA"},
		{flow.Schedule{Cron: []string{"@daily"}, Holidays: []string{"13-01"}}, "holidays", "neither a day"},
		{flow.Schedule{Cron: []string{"@daily"}, Holidays: []string{"taget"}}, "holidays", "did you mean target"},
		{flow.Schedule{Cron: []string{"0 0 25 12 *"}, Holidays: []string{"12-25"}}, "holidays", "every slot"},
		{flow.Schedule{Every: time.Hour, Jitter: 2 * time.Hour}, "jitter", "more than the 1h0m0s"},
		{flow.Schedule{Cron: []string{"0,5 * * * *"}, Jitter: 6 * time.Minute}, "jitter", "more than the 5m0s"},
		{flow.Schedule{Every: time.Hour, Overlap: "skipp"}, "overlap", "no overlap policy"},
		{flow.Schedule{Every: time.Hour, CatchUp: time.Second}, "catch_up", "Temporal's least"},
		{flow.Schedule{Every: time.Hour, WarnAt: 120}, "warn_at", "share"},
	} {
		problems := calendar.Check(c.schedule, now)
		require.Len(t, problems, 1, "%+v", c.schedule)
		require.Equal(t, c.field, problems[0].Field)
		require.Contains(t, problems[0].Text, c.text)
		require.False(t, problems[0].Warning)
	}
	both := calendar.Check(flow.Schedule{Cron: []string{"0 0 13 * 5"}}, now)
	require.Len(t, both, 1)
	require.True(t, both[0].Warning, "Friday the thirteenth may be meant")
	require.Len(t, calendar.Check(flow.Schedule{Every: 1, Zone: "Nowhere", Holidays: []string{"x"}, WarnAt: -1, Overlap: "?"}, now), 5, "all in one pass")
	require.Empty(t, calendar.Check(flow.Schedule{Every: 366 * 24 * time.Hour, Holidays: calendar.Lists()}, now))
}

func TestSpeedShortensIntervalsToNoLessThanASecond(t *testing.T) {
	t.Parallel()
	s := calendar.Scale(flow.Schedule{Every: time.Hour, Phase: 10 * time.Minute, Jitter: 5 * time.Minute, CatchUp: time.Hour}, 600)
	require.Equal(t, flow.Schedule{Every: 6 * time.Second, Phase: time.Second, Jitter: 500 * time.Millisecond, CatchUp: 10 * time.Second}, s)
	require.Equal(t, time.Second, calendar.Scale(flow.Schedule{Every: time.Minute}, 1e6).Every)
}

func TestWordsSayTheScheduleInALine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "every 1h at 5m and cron 0 6 * * 1-5 in Europe/Berlin, not on de, 12-24, up to 1m30s later; overlap buffer_one", calendar.Words(flow.Schedule{
		Every: time.Hour, Phase: 5 * time.Minute, Cron: []string{"0 6 * * 1-5"}, Zone: "Europe/Berlin", Holidays: []string{"de", "12-24"}, Jitter: 90 * time.Second, Overlap: flow.OverlapBufferOne}))
	require.Equal(t, "2d", calendar.Short(48*time.Hour))
}

func TestTheShortestGapIsFoundAmongTheNextSlots(t *testing.T) {
	t.Parallel()
	times, err := calendar.Compile(flow.Schedule{Cron: []string{"0 6 * * *", "30 6 * * 1"}})
	require.NoError(t, err)
	require.Equal(t, 30*time.Minute, times.Interval(at(t, "2026-11-30T10:00:00Z")))
	require.Equal(t, 24*time.Hour, times.Gap(at(t, "2026-12-01T06:00:00Z")))
}

func FuzzCron(f *testing.F) {
	for _, seed := range []string{"* * * * *", "0 0 29 2 *", "*/5 1-3 1,15 jan-mar mon-fri", "0 0 0 1 1 0 2026-2100/3", "@daily", "1-7/2 * * * 7"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		times, err := calendar.Compile(flow.Schedule{Cron: []string{text}, Zone: "America/Havana"})
		if err != nil {
			return
		}
		last := now
		for _, at := range times.Between(now, now.AddDate(80, 0, 0), 20) {
			if !at.After(last) {
				t.Fatalf("%q: %s after %s", text, at, last)
			}
			last = at
		}
	})
}
