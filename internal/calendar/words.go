package calendar

import (
	"strings"
	"time"

	"patchbay/internal/flow"
)

// Words says a schedule in a line, for people.
func Words(s flow.Schedule) string {
	var parts []string
	if s.Every > 0 {
		text := "every " + Short(s.Every)
		if s.Phase > 0 {
			text += " at " + Short(s.Phase)
		}
		parts = append(parts, text)
	}
	for _, c := range s.Cron {
		parts = append(parts, "cron "+c)
	}
	text := strings.Join(parts, " and ")
	if s.Zone != "" {
		text += " in " + s.Zone
	}
	if len(s.Holidays) > 0 {
		text += ", not on " + strings.Join(s.Holidays, ", ")
	}
	if s.Jitter > 0 {
		text += ", up to " + Short(s.Jitter) + " later"
	}
	return text + "; overlap " + string(s.Policy())
}

// Short writes a duration without the parts that are zero: 1h, 90s as 1m30s, 2d.
func Short(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strings.TrimSuffix((d/24).String(), "h0m0s") + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
