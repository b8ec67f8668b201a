// Package calendar knows the times of a schedule: it reads cron expressions, time
// zones and holidays, says what is wrong with them, and gives the slots of a span.
//
// flowfile checks schedules by it, starters makes Temporal's schedules of what it
// compiled, slot expects the times it gives. It may import flow and fault; it does no
// I/O but reading the time zone database, and no clock: whoever asks says when now is.
//
// Invariants: its times are Temporal's. A calendar is matched against the clock on the
// wall as the server does it: a time which a change of clocks leaves out does not come,
// one which it repeats comes twice west of Greenwich and once east of it; day of month and day of week must both match; an interval
// counts from the Unix epoch; nothing comes after the year 2100. Tests hold it against
// a real server, zone by zone.
package calendar
