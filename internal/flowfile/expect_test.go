package flowfile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func TestWhatAFlowExpectsIsChangedWhereItStands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after string }{
		"on one line": {
			"on:\n  - source: a.b # c\nexpect: { per_day: 20000, per_month: 400000 }   # normal\nspike: [queue]\n",
			"on:\n  - source: a.b # c\nexpect: { per_day: 7, per_month: 123456789 }   # normal\nspike: [queue]\n",
		},
		"the month first": {
			"expect: { per_month: 1, per_day: 1 }\n",
			"expect: { per_month: 123456789, per_day: 7 }\n",
		},
		"on several lines": {
			"expect:\n  per_day: 20000 # a day\n  per_month: 1 # a month\nspike: [queue]\n",
			"expect:\n  per_day: 7 # a day\n  per_month: 123456789 # a month\nspike: [queue]\n",
		},
		"half of it": {
			"expect: { per_day: 20000 }  # normal\nspike: [queue]\n",
			"expect: { per_day: 7, per_month: 123456789 }  # normal\nspike: [queue]\n",
		},
		"not at all": {
			"flow: a\non:\n  - where: |\n      row.a\n      && row.b\n\n# Read it.\nread: { from: a.b }\n",
			"flow: a\non:\n  - where: |\n      row.a\n      && row.b\n\nexpect: { per_day: 7, per_month: 123456789 }\n# Read it.\nread: { from: a.b }\n",
		},
		"not at all, and nothing behind it": {
			"flow: a\nsweep: 5m\n",
			"flow: a\nsweep: 5m\nexpect: { per_day: 7, per_month: 123456789 }\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := flowfile.SetExpect([]byte(c.before), flow.Expect{PerDay: 7, PerMonth: 123456789})
			require.NoError(t, err)
			require.Equal(t, c.after, string(got))
		})
	}
}
