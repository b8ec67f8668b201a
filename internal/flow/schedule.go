package flow

import "time"

type (
	// Schedule says when a flow starts by itself: at the union of the times of Every and
	// of Cron, without those on Holidays. Times are of whole seconds. The same words mean
	// the same times to Temporal; package calendar computes them and says what is wrong
	// with them. Durations are already divided by the speed of the environment.
	Schedule struct {
		// Every gives the times Phase + n × Every since the Unix epoch, whatever the zone.
		Every time.Duration `json:"every,omitempty"`
		Phase time.Duration `json:"phase,omitempty"`
		// Cron has five fields (minute, hour, day of month, month, day of week), six with
		// the year after them, or seven with the second before them; @daily and the like
		// too. Day of month and day of week must both match.
		Cron []string `json:"cron,omitempty"`
		// Zone is an IANA name; empty is UTC. A time that a change of clocks leaves out
		// does not come.
		Zone string `json:"timezone,omitempty"`
		// Holidays are days of Zone without a slot: "2026-12-24", "12-25" of every year,
		// or the name of a list; see calendar.Lists.
		Holidays []string `json:"holidays,omitempty"`
		// Jitter delays each slot by up to so much, never past the next one.
		Jitter  time.Duration `json:"jitter,omitempty"`
		Overlap Overlap       `json:"overlap,omitempty"` // empty: skip
		// CatchUp is how late a slot may still start that Temporal could not start in
		// time; 0: DefaultCatchUp.
		CatchUp time.Duration `json:"catch_up,omitempty"`
		// Paused is why the schedule is paused from the start; empty: it is not.
		Paused string `json:"paused,omitempty"`
		// WarnAt is the share of the interval, in per cent, after which a run that is not
		// over is told of; 0: DefaultWarnAt.
		WarnAt int `json:"warn_at,omitempty"`
	}

	// Overlap is what happens to a slot whose time comes while a run is open, by
	// Temporal's names.
	Overlap string

	// Slot is one time of a schedule and what became of it: exactly one outcome
	// (promise 4).
	Slot struct {
		Flow       string      `json:"flow"`
		At         time.Time   `json:"at"` // the time of the schedule, before jitter; with Flow the key
		Outcome    SlotOutcome `json:"outcome"`
		Reason     string      `json:"reason,omitempty"` // in words, safe to show
		RunID      string      `json:"run_id,omitempty"`
		Status     Status      `json:"status,omitempty"` // of the run
		StartedAt  *time.Time  `json:"started_at,omitempty"`
		EndedAt    *time.Time  `json:"ended_at,omitempty"`
		Rows       int64       `json:"rows"`
		Bytes      int64       `json:"bytes"`
		Backfilled bool        `json:"backfilled,omitempty"` // a backfill started its run, or is about to
	}

	// SlotOutcome is what became of a slot.
	SlotOutcome string

	// Pause is a time in which a schedule starts nothing, and why.
	Pause struct {
		Since  time.Time `json:"since"`
		By     string    `json:"by"`
		Reason string    `json:"reason"`
	}

	// Rhythm is a schedule as it stands: what comes next, and what became of the slots of
	// late.
	Rhythm struct {
		Flow     string                `json:"flow"`
		Schedule Schedule              `json:"schedule"`
		Words    string                `json:"words"`            // the schedule, for people
		Paused   *Pause                `json:"paused,omitempty"` // nil: it runs
		Next     []time.Time           `json:"next"`             // the next slots, as if it were not paused
		Interval time.Duration         `json:"interval_ns"`      // the shortest of the gaps between the next slots
		Open     []Slot                `json:"open"`             // whose run is under way
		Since    time.Time             `json:"since"`            // when the span of Outcomes begins
		Outcomes map[SlotOutcome]int64 `json:"outcomes"`
		Forecast *Forecast             `json:"forecast,omitempty"` // nil: too little is known
	}

	// Backfill asks for the slots between two times, both included, that have no run.
	Backfill struct {
		Flow     string
		From, To time.Time
		By       string
		Besides  []SlotOutcome // outcomes that count as missing too: paused, skipped: overlap
		Plan     bool          // say what would be started and start nothing
	}

	// Backfilled are the slots that a backfill starts, or would.
	Backfilled struct {
		Flow  string      `json:"flow"`
		From  time.Time   `json:"from"`
		To    time.Time   `json:"to"`
		Slots []time.Time `json:"slots"`
		Plan  bool        `json:"plan,omitempty"`
	}

	// Forecast is what the history of a flow's runs says of those to come.
	Forecast struct {
		Flow     string        `json:"flow"`
		Runs     int           `json:"runs"`        // that it is made of
		Interval time.Duration `json:"interval_ns"` // that a run has
		Typical  time.Duration `json:"typical_ns"`  // what a run takes now, by the trend
		PerDay   time.Duration `json:"per_day_ns"`  // by which a run gets longer each day; below 0: shorter
		RowsDay  float64       `json:"rows_per_day"`
		Breach   *time.Time    `json:"breach,omitempty"` // the slot whose run is not over before the next; nil: none within the horizon
		Warn     bool          `json:"warn"`             // the breach is near and certain enough to tell people
		Text     string        `json:"text"`             // schedule, trend and date in a sentence
	}
)

// The overlap policies.
const (
	OverlapSkip      Overlap = "skip"
	OverlapBufferOne Overlap = "buffer_one"
	OverlapBufferAll Overlap = "buffer_all"
	OverlapCancel    Overlap = "cancel_other"
	OverlapTerminate Overlap = "terminate_other"
	OverlapAllow     Overlap = "allow_all"
)

// Overlaps are all of them, the default first.
var Overlaps = []Overlap{OverlapSkip, OverlapBufferOne, OverlapBufferAll, OverlapCancel, OverlapTerminate, OverlapAllow}

// The outcomes of slots. Expected and Running are the ones that are not final.
const (
	SlotExpected SlotOutcome = "expected"         // its time has not come, or it waits for the run before it
	SlotRunning  SlotOutcome = "running"          // its run is under way
	SlotRan      SlotOutcome = "ran"              // Status says how the run ended
	SlotLate     SlotOutcome = "late"             // it ran, and began later than it had to
	SlotOverlap  SlotOutcome = "skipped: overlap" // a run was open at its time
	SlotStopped  SlotOutcome = "skipped: stopped" // what it needs was held, or answered nobody, for all of its catch-up window
	SlotMissed   SlotOutcome = "missed"           // nothing started it; a backfill takes it
	SlotPaused   SlotOutcome = "paused"           // the schedule was paused
	SlotHoliday  SlotOutcome = "holiday"          // the first of the times that a holiday leaves out on its day
)

// The defaults of schedules.
const (
	DefaultCatchUp = 10 * time.Minute
	DefaultWarnAt  = 80
)

// Final reports whether nothing more becomes of a slot by itself.
func (o SlotOutcome) Final() bool { return o != SlotExpected && o != SlotRunning }

// Policy is the overlap policy, the default filled in.
func (s Schedule) Policy() Overlap {
	if s.Overlap == "" {
		return OverlapSkip
	}
	return s.Overlap
}

// Window is the catch-up window, the default filled in. Temporal's shortest is ten
// seconds.
func (s Schedule) Window() time.Duration {
	if s.CatchUp <= 0 {
		return DefaultCatchUp
	}
	return max(s.CatchUp, 10*time.Second)
}

// Share is how much of an interval a run may take before it is told of.
func (s Schedule) Share(interval time.Duration) time.Duration {
	percent := s.WarnAt
	if percent <= 0 {
		percent = DefaultWarnAt
	}
	return interval * time.Duration(percent) / 100
}
