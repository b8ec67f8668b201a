package calendar

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Within gives a time as it is where people work at it, else when they next begin to.
// Hours that cannot be read are an Invalid fault "flow.schedule".
func Within(h flow.Hours, at time.Time) (time.Time, error) {
	from, errFrom := time.Parse("15:04", h.From)
	to, errTo := time.Parse("15:04", h.To)
	if err := cmp.Or(errFrom, errTo); err != nil {
		return time.Time{}, fault.New(fault.Invalid, "flow.schedule", "from and to are times of the day, such as 09:00", err)
	}
	if !from.Before(to) {
		return time.Time{}, fault.Invalidf("flow.schedule", "people end before they begin: from has to be earlier than to")
	}
	days := "mon-fri"
	if len(h.Days) > 0 {
		days = strings.Join(h.Days, ",")
	}
	begins, err := Compile(flow.Schedule{Cron: []string{fmt.Sprintf("%d %d * * %s", from.Minute(), from.Hour(), days)}, Zone: h.Zone, Holidays: h.Holidays})
	if err != nil {
		return time.Time{}, err
	}
	local := at.In(begins.Zone)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, begins.Zone)
	ends := time.Date(local.Year(), local.Month(), local.Day(), to.Hour(), to.Minute(), 0, 0, begins.Zone)
	if today := begins.Next(midnight.Add(-time.Second)); !at.Before(today) && !at.After(ends) {
		return at.UTC(), nil
	}
	next := begins.Next(at)
	if next.IsZero() {
		return time.Time{}, fault.Invalidf("flow.schedule", "people never work")
	}
	return next.UTC(), nil
}
