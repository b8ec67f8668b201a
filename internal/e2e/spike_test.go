package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// perMinute is what the mail server of these tests takes, and what its connection states.
const perMinute = 100

// limitedFlows writes the flow of cases with a mail server that takes perMinute.
func limitedFlows(t *testing.T, dir, more string) {
	t.Helper()
	caseFlows(t, dir, "0s", more, "ask")
	text := strings.Replace(eventConnections, "    system: smtp\n", fmt.Sprintf("    system: smtp\n    limits: { concurrent: 4, timeout: 5s }\n    quotas: [{ messages: %d, per: 1m }]\n", perMinute), 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "flows", "connections.yaml"), []byte(text), 0o644))
}

// alertedFlows are limitedFlows, and somebody who is told of alerts.
func alertedFlows(t *testing.T, dir, more string) {
	t.Helper()
	limitedFlows(t, dir, more)
	path := filepath.Join(dir, "flows", "connections.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, "alerts:\n  mail: { connection: mail, to: [ops@example.com] }\n"...), 0o644))
}

// limitMails makes the drop refuse what is more than perMinute.
func (p *patchbay) limitMails() {
	p.t.Helper()
	resp := p.do(http.MethodPut, p.Sandbox+"/_sandbox/mail/limit", nil, fmt.Sprintf(`{"per_minute":%d}`, perMinute), nil)
	require.Equal(p.t, http.StatusOK, resp.StatusCode)
}

// unrefused requires that the mail server never had to say that it takes no more.
func (p *patchbay) unrefused() {
	p.t.Helper()
	taken := 0
	for _, c := range p.calls("mail", "SMTP", "") {
		require.NotEqual(p.t, 451, c.Status, "the mail server was asked for more than it takes")
		if c.Status == 250 && c.Path == "/message" {
			taken++
		}
	}
	require.Greater(p.t, taken, 2*perMinute, "it took what would have been too much at once")
}

type letter struct {
	To            []string
	Subject, Text string
	At            time.Time
}

// letters are the mails of the drop, in the order in which it took them.
func (p *patchbay) letters(to string) (list []letter) {
	p.t.Helper()
	p.do(http.MethodGet, p.Sandbox+"/_sandbox/mail?to="+to, nil, "", &list)
	return list
}

// alerts are the mails that people got of alerts, once the watcher has looked three times
// more: what it would tell again is told by then.
func (p *patchbay) alerts(code string, least int) []letter {
	p.t.Helper()
	about := func() []letter { // a canary of a busy machine may be told of besides
		return slices.DeleteFunc(p.letters("ops@example.com"), func(l letter) bool { return !strings.Contains(l.Subject, ": "+strings.TrimSuffix(code, "%")) })
	}
	p.await("told of "+code, 2*time.Minute, func() bool { return len(about()) >= least })
	for range 3 {
		seen := p.count(`select (extract(epoch from seen_at) * 1000000)::bigint from alert where code like $1`, code)
		p.await("looked at again: "+code, time.Minute, func() bool {
			return p.count(`select (extract(epoch from seen_at) * 1000000)::bigint from alert where code like $1`, code) > seen
		})
	}
	require.Zero(p.t, p.count(`select count(*) from notice where sent_at is null`), "nobody waits for a message")
	return about()
}

// Five times what the mail server takes comes within a minute of it. Some cases change
// again and again meanwhile.
func TestASpikeIsToldInTheOrderOfEachCaseAndAlertedOnce(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	alertedFlows(t, dir, "expect: { per_day: 400 }\nspike: [queue]")
	p := start(t, dir, "--speed", "10")
	p.limitMails()
	const cases, busy, changes = 5 * perMinute, 50, 4
	type timed struct {
		told
		at float64 // of the spike
	}
	var day []timed
	for n := range cases {
		name, at := fmt.Sprintf("CASE-%03d", n), float64(n)/cases
		day = append(day, timed{told{id: name + "-1", name: name, version: 1, status: 1, facing: true, create: true}, at})
		for status := 2; n%(cases/busy) == 0 && status < 2+changes; status++ {
			at += (1 - at) / (changes + 1)
			day = append(day, timed{told{id: fmt.Sprintf("%s-%d", name, status), name: name, version: status, status: status, facing: true}, at})
		}
	}
	slices.SortStableFunc(day, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	events := make([]told, len(day))
	for i, e := range day {
		events[i] = e.told
	}
	began := time.Now()
	pace := time.NewTicker(time.Minute / 10 / 20)
	defer pace.Stop()
	for part := range slices.Chunk(events, (len(events)+19)/20) {
		<-pace.C
		p.deliver(part)
	}
	t.Logf("%d events of %d cases in %s", len(events), cases, time.Since(began).Round(100*time.Millisecond))
	p.await("told of the whole spike", 3*time.Minute, p.quiet)
	t.Logf("drained after %s", time.Since(began).Round(100*time.Millisecond))
	p.unrefused()

	last, mails := map[string]int{}, 0
	for _, l := range p.letters("") {
		if l.To[0] == "ops@example.com" {
			continue
		}
		var name string
		var status int
		_, err := fmt.Sscanf(l.Subject, "%s is %d", &name, &status)
		require.NoError(t, err, l.Subject)
		require.Greater(t, status, last[name], "%s is told in its order, and of nothing twice", name)
		last[name] = status
		mails++
	}
	require.Len(t, last, cases, "each case was told of")
	require.GreaterOrEqual(t, mails, cases)
	require.LessOrEqual(t, mails, len(events))
	for n := range busy {
		name := fmt.Sprintf("CASE-%03d", n*(cases/busy))
		require.Equal(t, 1+changes, last[name], "%s: what was last is told", name)
	}
	fates := map[string]int{}
	for n := range cases {
		for _, reason := range p.fates(fmt.Sprintf("CASE-%03d", n)) {
			fates[reason]++
		}
	}
	require.Equal(t, map[string]int{"delivered": mails, "merged": len(events) - mails}, fates, "no event is lost")

	told := p.alerts("spike.queue", 1)
	require.Len(t, told, 1, "one alert, one mail: %+v", told)
	require.Equal(t, "[Patchbay] cases: spike.queue", told[0].Subject)
	require.Contains(t, told[0].Text, "where 400 are expected; the flow is in the mode queue, and what waits is gone by ")
	require.Equal(t, 1, p.count(`select count(*) from journal where what = 'spike'`), "the switch is journaled once")
}

func TestPeopleAreToldOnceOfEventsThatNobodyCouldCarryOut(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	alertedFlows(t, dir, "")
	p := start(t, dir, "--speed", "10")
	for n := range 3 {
		name := fmt.Sprintf("NOBODY-%d", n)
		p.deliver([]told{{id: name, name: name, version: 1, status: 2, facing: true, create: true, keyless: true}})
	}
	got := p.alerts("rejected:%", 1)
	require.Len(t, got, 1, "three of one cause are one alert: %+v", got)
	require.Contains(t, got[0].Subject, "[Patchbay] cases: rejected:key:")
	require.Contains(t, got[0].Text, "NOBODY-", "one of them, to look at")
	require.Equal(t, 3, p.count(`select count from alert where kind = 'events'`))

	p.deliver([]told{{id: "ok", name: "CASE-1", version: 1, status: 2, facing: true, create: true}})
	p.await("told", time.Minute, p.quiet)
	require.Equal(t, []string{"delivered"}, p.fates("CASE-1"), "they stall nobody")
}

// drillReport is the JSON of `patchbay drill`, as somebody else reads it.
type drillReport struct {
	Events   int            `json:"events"`
	Outcomes map[string]int `json:"outcomes"`
	Took     float64        `json:"took_s"`
	Drained  float64        `json:"drain_s"`
	Forecast float64        `json:"forecast_s"`
	Peak     int            `json:"peak"`
	Busiest  int            `json:"busiest_minute"`
	Modes    []string       `json:"modes"`
	Emptied  bool           `json:"emptied"`
	Quotas   []struct {
		Kind string  `json:"kind"`
		Per  float64 `json:"per_s"`
		Most int     `json:"most"`
		Peak int     `json:"peak"`
	} `json:"quotas"`
	Samples []struct {
		Sent      int `json:"sent"`
		Windows   int `json:"windows"`
		Runs      int `json:"runs"`
		Completed int `json:"completed"`
		Failed    int `json:"failed"`
	} `json:"samples"`
}

func TestADrillSaysHowLongASpikeTakesAndWhatItUsesOfTheQuota(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	limitedFlows(t, dir, "expect: { per_day: 200 }\nspike: [queue]")
	p := start(t, dir, "--speed", "5")
	p.limitMails()
	const recorded, times = perMinute, 5
	var events []told
	for n := range recorded {
		name := fmt.Sprintf("CASE-%03d", n)
		events = append(events, told{id: name, name: name, version: 1, status: 1 + n%4, facing: true, create: true})
	}
	p.deliver(events)
	p.await("told of a day", time.Minute, p.quiet)
	before := len(p.letters(""))
	require.Equal(t, recorded, before)

	out, note, status := p.cliWithin(3*time.Minute, "drill", "cases", "--data", p.dir, "--times", fmt.Sprint(times), "--speed", "1000", "--json")
	require.Zero(t, status, note)
	var r drillReport
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	t.Logf("%d events in %.1f s, drained in %.1f s, forecast %.1f s; %+v; %d waited at most", r.Events, r.Took, r.Drained, r.Forecast, r.Quotas, r.Peak)
	require.Equal(t, recorded*times, r.Events)
	require.True(t, r.Emptied)
	require.Equal(t, []string{string(flow.SpikeQueue)}, r.Modes)
	require.InEpsilon(t, r.Drained, r.Forecast, 0.15)
	require.Greater(t, r.Peak, perMinute, "more waited than may go at a time")
	require.Len(t, r.Quotas, 1)
	require.Equal(t, "messages", r.Quotas[0].Kind)
	require.InDelta(t, 12, r.Quotas[0].Per, 0.001)
	require.Equal(t, perMinute, r.Quotas[0].Most)
	require.LessOrEqual(t, r.Quotas[0].Peak, perMinute)
	require.GreaterOrEqual(t, r.Quotas[0].Peak, perMinute*9/10, "the quota is used")
	end := r.Samples[len(r.Samples)-1]
	require.Equal(t, []int{recorded * times, 0, 0, 0}, []int{end.Sent, end.Windows, end.Runs, end.Failed})
	p.unrefused()
	require.Len(t, p.letters(""), recorded*(1+times), "each was told of, in the drop of the sandbox")
}
