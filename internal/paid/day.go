package paid

import (
	"time"

	"patchbay/internal/flow"
)

// day is one whose budget is charged: a date of the budget's zone, and the part of it where a day
// has several budgets.
type day struct {
	date string // 2006-01-02
	part int
	ends time.Duration // from now
}

// dayOf is the day of a moment. A zone that is unknown here is UTC; check has refused it.
func dayOf(now time.Time, b flow.Budget, speed float64) day {
	zone, err := time.LoadLocation(b.Zone)
	if err != nil {
		zone = time.UTC
	}
	y, m, d := now.In(zone).Date()
	begun, next := time.Date(y, m, d, 0, 0, 0, 0, zone), time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	of := day{date: begun.Format(time.DateOnly), ends: next.Sub(now)}
	if speed > 1 {
		length := time.Duration(float64(24*time.Hour) / speed)
		of.part = int(now.Sub(begun) / length)
		of.ends = min(of.ends, length-now.Sub(begun)%length)
	}
	return of
}
