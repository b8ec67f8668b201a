package calendar_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/calendar"
	"patchbay/internal/flow"
)

func TestADeadlineAtNightEndsWithTheNextWorkingMorning(t *testing.T) {
	t.Parallel()
	h := flow.Hours{Zone: "Europe/Berlin", From: "09:00", To: "17:30", Holidays: []string{"de"}}
	for given, want := range map[string]string{
		"2026-12-01T08:00:00Z": "2026-12-01T08:00:00Z", // Tuesday, 09:00
		"2026-12-01T16:30:00Z": "2026-12-01T16:30:00Z", // 17:30
		"2026-12-01T16:30:01Z": "2026-12-02T08:00:00Z",
		"2026-12-01T02:13:00Z": "2026-12-01T08:00:00Z", // the night before
		"2026-12-04T22:00:00Z": "2026-12-07T08:00:00Z", // Friday night
		"2026-12-24T20:00:00Z": "2026-12-28T08:00:00Z", // Christmas, and the weekend after it
		"2027-03-28T10:00:00Z": "2027-03-30T07:00:00Z", // Easter, and clocks have changed
	} {
		got, err := calendar.Within(h, at(t, given))
		require.NoError(t, err)
		require.Equal(t, at(t, want), got, given)
	}
	for _, wrong := range []flow.Hours{
		{From: "9", To: "17:00"}, {From: "17:00", To: "09:00"}, {From: "09:00", To: "17:00", Zone: "Mars/Olympus"}, {From: "09:00", To: "17:00", Days: []string{"friday13"}},
		{From: "09:00", To: "17:00", Holidays: []string{"nowhere"}},
	} {
		_, err := calendar.Within(wrong, at(t, "2026-12-01T08:00:00Z"))
		require.ErrorContains(t, err, "flow.schedule")
	}
}
