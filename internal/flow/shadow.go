package flow

import "time"

type (
	// Shadow is a calculator that computes from the same figures as the one of a step, and has no effect.
	Shadow struct {
		Function string `json:"function"`
		Version  string `json:"version"`
		Contract string `json:"contract"` // digest
	}

	// ShadowRun is how a run's calculator and the one in its shadow compare.
	ShadowRun struct {
		Run    string    `json:"run"`
		Flow   string    `json:"flow"`
		Step   string    `json:"step"`
		Live   string    `json:"live"`   // name and version of the calculator that decided
		Beside string    `json:"beside"` // of the one in its shadow
		Equal  bool      `json:"equal"`  // digit for digit
		Differ []string  `json:"differ"` // paths of the output
		Fault  string    `json:"fault"`  // code of why the shadow gave nothing
		At     time.Time `json:"at"`
	}

	// ShadowTotal is how far two calculators agree, over runs.
	ShadowTotal struct {
		Flow     string `json:"flow"`
		Step     string `json:"step"`
		Live     string `json:"live"`
		Beside   string `json:"beside"`
		Compared int    `json:"compared"` // runs
		Equal    int    `json:"equal"`
		Failed   int    `json:"failed"` // in which the shadow gave nothing
	}

	// ShadowList is what is known of calculators in the shadow of others, and the newest runs in
	// which they do not agree.
	ShadowList struct {
		Shadows   []ShadowTotal `json:"shadows"`
		Differing []ShadowRun   `json:"differing"`
	}
)
