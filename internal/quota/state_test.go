package quota

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// provider is the plain sequential model of a provider's own counter: it knows when each
// request came and how long it took, and looks back over the whole window each time.
type provider struct {
	quotas []flow.Quota
	came   []int64 // µs
	took   []int64 // of those that are answered
	ended  []int64
}

// refuses says which quota a request breaks that comes now.
func (p *provider) refuses(at int64) flow.QuotaKind {
	for _, q := range p.quotas {
		since := at - q.Per.Microseconds()
		var n int64
		switch q.Kind {
		case flow.QuotaRequests, flow.QuotaMessages:
			for _, came := range p.came {
				if came > since && came <= at {
					n++
				}
			}
		case flow.QuotaExecution:
			for i, ended := range p.ended {
				if ended > since && ended <= at {
					n += p.took[i] / 1000
				}
			}
		case flow.QuotaConcurrent:
			continue
		}
		if n >= q.Most {
			return q.Kind
		}
	}
	return ""
}

// process is one that takes tokens and sends requests at times of its own.
type process struct {
	amends map[amendKey]int64
	tokens []held
}

type held struct {
	token
	until int64
	again []int64 // when it is charged anew while it is under way, by rule
}

func (p *process) order(s *state, r []rule, ahead time.Duration, entering, spare int, took time.Duration, now int64) {
	u := Use{Messages: 1}
	b := &bill{rules: r, ahead: ahead, amends: p.amends, spare: map[Use]int64{u: int64(spare)}, cost: func(u Use) []int64 {
		cost := make([]int64, len(r))
		for i := range r {
			cost[i] = r[i].cost(u.Messages, took)
		}
		return cost
	}}
	for range entering {
		b.orders = append(b.orders, &order{enters: true, use: u})
	}
	b.against(s, now)
	p.amends = map[amendKey]int64{}
	for _, o := range b.outcomes {
		if o.token != nil {
			p.tokens = append(p.tokens, held{token: *o.token, until: now + ahead.Microseconds()})
		}
	}
	for _, t := range b.extra[u] {
		p.tokens = append(p.tokens, held{token: t, until: now + ahead.Microseconds()})
	}
}

func (p *process) void(t token) {
	for i, c := range t.cost {
		p.amends[amendKey{t.names[i], t.ends[i]}] -= c
	}
}

func TestInNoWindowHoweverLaidIsMoreUsedThanStated(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quotas := []flow.Quota{{Kind: flow.QuotaMessages, Most: rapid.Int64Range(1, 10).Draw(t, "messages"), Per: time.Minute}}
		if rapid.Bool().Draw(t, "several windows") {
			quotas = append(quotas, flow.Quota{Kind: flow.QuotaRequests, Most: rapid.Int64Range(1, 20).Draw(t, "requests"), Per: 5 * time.Minute})
		}
		rules, _, ahead := rulesOf(quotas, 1)
		vendor, s := &provider{quotas: quotas}, &state{}
		processes := []*process{{amends: map[amendKey]int64{}}, {amends: map[amendKey]int64{}}}
		now := int64(1_800_000_000_000_000)
		late := rules[0].latency.Microseconds()
		one := []int64{1, 1}[:len(rules)]
		var arrivals []int64
		var underway []held
		for range 200 {
			switch rapid.IntRange(0, 3).Draw(t, "pass") {
			case 0: // as early as anything is free, to the microsecond
				s.prune(rules, now, ahead)
				if _, wait := s.room(rules, one, false, 1, now); wait > 0 {
					now += wait.Microseconds()
				}
			case 1: // as late as a token is good
				for _, p := range processes {
					if len(p.tokens) > 0 {
						now = max(now, p.tokens[0].until-1)
					}
				}
			case 2:
				now += rapid.SampledFrom([]int64{0, 1000, 50_000, 250_000, 1_000_000, 9_000_000, 59_000_000}).Draw(t, "time")
			default: // where a step ends when a token does
				now = rules[0].end(now) + rules[0].step.Microseconds() - ahead.Microseconds()
			}
			underway = slices.DeleteFunc(underway, func(h held) bool {
				for i := range rules {
					for r := &rules[i]; h.again[i] <= min(now, h.until); h.again[i] += r.renewed().Microseconds() {
						s.add(r.name, r.end(h.again[i]), h.cost[i])
					}
					if h.until <= now { // it is told when it ends
						s.add(rules[i].name, h.ends[i], -h.cost[i])
						s.add(rules[i].name, rules[i].end(h.until), h.cost[i])
					}
				}
				return h.until <= now
			})
			p := processes[rapid.IntRange(0, 1).Draw(t, "process")]
			for len(p.tokens) > 0 && p.tokens[0].until <= now {
				p.void(p.tokens[0].token)
				p.tokens = p.tokens[1:]
			}
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0:
				p.order(s, rules, ahead, rapid.IntRange(0, 9).Draw(t, "enter"), rapid.IntRange(0, 5).Draw(t, "spare"), 0, now)
			default:
				for range min(len(p.tokens), rapid.IntRange(0, 9).Draw(t, "send")) {
					tok := p.tokens[0]
					p.tokens = p.tokens[1:]
					took := rapid.SampledFrom([]int64{0, late - 1, 20_000_000, 200_000_000}).Draw(t, "on the way") // the last: longer than a window
					arrivals = append(arrivals, now+took)
					if took >= late {
						h := held{token: tok.token, until: now + took, again: make([]int64, len(rules))}
						for i := range rules {
							h.again[i] = now + rules[i].renewed().Microseconds()
						}
						underway = append(underway, h)
					}
				}
			}
		}
		slices.Sort(arrivals)
		for _, at := range arrivals {
			if kind := vendor.refuses(at); kind != "" {
				t.Fatalf("the provider refuses a request for its quota of %s", kind)
			}
			vendor.came = append(vendor.came, at)
		}
	})
}

func TestExecutionTimeIsChargedAsItWasAndNeverRunsOver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quotas := []flow.Quota{{Kind: flow.QuotaExecution, Most: 20_000, Per: time.Minute}}
		rules, _, ahead := rulesOf(quotas, 1)
		vendor, s := &provider{quotas: quotas}, &state{}
		p := &process{amends: map[amendKey]int64{}}
		now := int64(1_800_000_000_000_000)
		for range 300 {
			now += rapid.SampledFrom([]int64{1000, 100_000, 3_000_000}).Draw(t, "pass")
			p.order(s, rules, ahead, 1, 0, time.Duration(rapid.IntRange(1, 4000).Draw(t, "estimate"))*time.Millisecond, now)
			if len(p.tokens) == 0 {
				continue
			}
			tok := p.tokens[0]
			p.tokens = nil
			require.Empty(t, vendor.refuses(now))
			took := int64(rapid.IntRange(1, 4000).Draw(t, "took")) * 1000
			now += took
			vendor.ended, vendor.took = append(vendor.ended, now), append(vendor.took, took)
			p.void(tok.token)
			p.amends[amendKey{rules[0].name, nowEnd}] += took
		}
	})
}

func TestWhatIsStatedIsUsedButForAFewPerCent(t *testing.T) {
	t.Parallel()
	for _, q := range []flow.Quota{
		{Kind: flow.QuotaMessages, Most: 100, Per: time.Minute},
		{Kind: flow.QuotaRequests, Most: 6000, Per: 5 * time.Minute},
		{Kind: flow.QuotaMessages, Most: 2000, Per: 24 * time.Hour},
	} {
		rules, _, ahead := rulesOf([]flow.Quota{q}, 1)
		s, p := &state{}, &process{amends: map[amendKey]int64{}}
		now := int64(1_800_000_000_000_000)
		span := 20 * q.Per.Microseconds()
		sent := int64(0)
		for end := now + span; now < end; now += q.Per.Microseconds() / 1200 {
			p.order(s, rules, ahead, 50, 0, 0, now)
			sent += int64(len(p.tokens))
			p.tokens = nil
		}
		require.Greater(t, float64(sent)/float64(20*q.Most), 0.95, "%v", q)
		look := Look{rules: rules, ahead: ahead, state: s, now: now}
		require.InEpsilon(t, float64(sent)/(float64(span)/1e6), look.Rate(1), 0.06)
	}
}

func TestDrainIsWhenTheLastOfManyMayGo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		quotas := []flow.Quota{{Kind: flow.QuotaMessages, Most: rapid.Int64Range(5, 100).Draw(t, "most"), Per: time.Minute, Reserve: 10}}
		rules, _, ahead := rulesOf(quotas, 1)
		s, p := &state{}, &process{amends: map[amendKey]int64{}}
		now := int64(1_800_000_000_000_000)
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			now += rapid.Int64Range(0, 8_000_000).Draw(t, "pass")
			p.order(s, rules, ahead, rapid.IntRange(0, 9).Draw(t, "enter"), 0, 0, now)
		}
		s.prune(rules, now, ahead)
		n := rapid.Int64Range(1, 6*quotas[0].Most).Draw(t, "waiting")
		forecast, _ := Look{rules: rules, ahead: ahead, state: s, now: now}.Drain(1, n)
		begun, left := now, n
		for ; ; now += 200_000 {
			p.tokens = nil
			p.order(s, rules, ahead, int(min(left, 200)), 0, 0, now)
			if left -= int64(len(p.tokens)); left == 0 {
				break
			}
		}
		took := time.Duration(now-begun) * time.Microsecond
		require.InDelta(t, took.Seconds(), forecast.Seconds(), 0.03*took.Seconds()+1)
	})
}

func TestTheReserveIsForTheInteractiveAlone(t *testing.T) {
	t.Parallel()
	rules, places, ahead := rulesOf([]flow.Quota{{Kind: flow.QuotaRequests, Most: 20, Per: time.Minute, Reserve: 25}, {Kind: flow.QuotaConcurrent, Most: 8, Reserve: 50}}, 1)
	s, now := &state{}, int64(1_800_000_000_000_000)
	s.prune(rules, now, ahead)
	n, wait := s.room(rules, []int64{1}, false, 100, now)
	require.EqualValues(t, 15, n)
	require.Zero(t, wait)
	s.charge(rules, []int64{1}, n, now)
	n, wait = s.room(rules, []int64{1}, false, 100, now)
	require.Zero(t, n)
	require.Greater(t, wait, time.Minute)
	n, _ = s.room(rules, []int64{1}, true, 100, now)
	require.EqualValues(t, 5, n)

	require.Equal(t, lease{Common: 4, Until: 9}, s.hold(places, "a", 6, 0, false, 9))
	require.Equal(t, lease{Common: 4, Urgent: 2, Until: 9}, s.hold(places, "a", 6, 0, true, 9))
	require.Equal(t, lease{Until: 9}, s.hold(places, "b", 6, 0, false, 9))
	require.Equal(t, lease{Urgent: 2, Until: 9}, s.hold(places, "b", 6, 0, true, 9))
	require.Equal(t, lease{Common: 1, Until: 9}, s.hold(places, "a", 1, 0, true, 9), "what is not wanted goes back")
	s.prune(rules, 10, ahead)
	require.Empty(t, s.Leases, "a lease lapses")
}

func TestSpeedDividesWindowsAndExecution(t *testing.T) {
	t.Parallel()
	rules, places, ahead := rulesOf([]flow.Quota{{Kind: flow.QuotaExecution, Most: 1_200_000, Per: 5 * time.Minute},
		{Kind: flow.QuotaMessages, Most: 100, Per: time.Minute}, {Kind: flow.QuotaConcurrent, Most: 52}}, 10)
	require.Equal(t, 30*time.Second, rules[0].per)
	require.EqualValues(t, 120_000_000, rules[0].most)
	require.Equal(t, 6*time.Second, rules[1].per)
	require.EqualValues(t, 100, rules[1].most)
	require.EqualValues(t, 52, places.most)
	require.Equal(t, 100*time.Millisecond, ahead)
}

func TestAClockThatWasPutBackHoldsNothingUpForLong(t *testing.T) {
	t.Parallel()
	rules, _, ahead := rulesOf([]flow.Quota{{Kind: flow.QuotaRequests, Most: 5, Per: time.Minute}}, 1)
	s, now := &state{}, int64(1_800_000_000_000_000)
	s.prune(rules, now, ahead)
	s.charge(rules, []int64{1}, 5, now)
	now -= time.Hour.Microseconds()
	s.prune(rules, now, ahead)
	_, wait := s.room(rules, []int64{1}, false, 1, now)
	require.Less(t, wait, 65*time.Second)
}

func TestTheWorstCaseIsNotRefusedEither(t *testing.T) {
	t.Parallel()
	// All at once, used as late and on the way as long as goes unreported, and all again
	// as soon as there is anything, used at once.
	rapid.Check(t, func(t *rapid.T) {
		quotas := []flow.Quota{{Kind: flow.QuotaMessages, Most: 10, Per: rapid.SampledFrom([]time.Duration{6 * time.Second, time.Minute, 24 * time.Hour}).Draw(t, "per")}}
		rules, _, ahead := rulesOf(quotas, 1)
		vendor, s, p := &provider{quotas: quotas}, &state{}, &process{amends: map[amendKey]int64{}}
		now := rules[0].end(1_800_000_000_000_000) - ahead.Microseconds() + rapid.SampledFrom([]int64{0, 1, rapid.Int64Range(0, rules[0].step.Microseconds()).Draw(t, "off")}).Draw(t, "begun")
		arrive := func(at int64) {
			for range p.tokens {
				if vendor.refuses(at) != "" {
					t.Fatalf("refused")
				}
				vendor.came = append(vendor.came, at)
			}
			p.tokens = nil
		}
		for range 3 {
			p.order(s, rules, ahead, 10, 0, 0, now)
			require.NotEmpty(t, p.tokens)
			arrive(p.tokens[0].until - 1 + rules[0].latency.Microseconds() - 1)
			s.prune(rules, now, ahead)
			_, wait := s.room(rules, []int64{1}, false, 1, now)
			now += wait.Microseconds()
			p.order(s, rules, ahead, 10, 0, 0, now)
			require.NotEmpty(t, p.tokens)
			arrive(now)
			s.prune(rules, now, ahead)
			_, wait = s.room(rules, []int64{1}, false, 1, now)
			now += wait.Microseconds()
		}
	})
}

func TestTheRowOfAConnectionIsSmallAndReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rules, _, ahead := rulesOf([]flow.Quota{{Kind: flow.QuotaRequests, Most: 6000, Per: 5 * time.Minute}, {Kind: flow.QuotaMessages, Most: 9, Per: time.Minute}}, 1)
	s, now := &state{Leases: map[string]lease{"a": {Common: 3, Until: 1 << 60}}, Silent: 7}, int64(1_800_000_000_000_000)
	for range 300 {
		s.prune(rules, now, ahead)
		s.charge(rules, []int64{1, 1}, 20, now)
		now += time.Second.Microseconds()
	}
	body, err := json.Marshal(s)
	require.NoError(t, err)
	require.Less(t, len(body), 4000, "of 8 kB that a page has")
	again, err := stateOf(body)
	require.NoError(t, err)
	require.Equal(t, s, again)
	for _, bad := range []string{`{"windows":{"x":[1]}}`, `{"windows":{"x":["a",1]}}`, `[`} {
		_, err = stateOf([]byte(bad))
		require.Equal(t, "quota.decode", fault.Of(err).Code, bad)
	}
}
