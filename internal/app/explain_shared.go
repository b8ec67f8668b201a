package app

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// inFlight is the reason of a record that is on its way, and onHold of a table that a person
// has stopped.
const (
	inFlight = "in_flight"
	onHold   = "on_hold"
)

// explain tells of the shared records with a business key how each stands here, what all of
// its table suffers from, and what to do. A key of several columns has commas between them.
// Of a key that is known nowhere it tells what tables suffer from: that may be why.
func (r borders) explain(ctx context.Context, about string) ([]flow.Entry, error) {
	applied, err := r.plans.List(ctx)
	if err != nil || r.region == "" {
		return nil, err
	}
	var known, all []flow.Entry
	for _, a := range applied {
		if a.Plan.Sync == nil || a.Plan.Sync.Region(r.region) == nil {
			continue
		}
		for i := range a.Plan.Sync.Tables {
			t := &a.Plan.Sync.Tables[i]
			records, err := r.records(ctx, a.Plan, t, about)
			if err != nil {
				return nil, err
			}
			troubles, err := r.troubles(ctx, a.Plan, t)
			if err != nil {
				return nil, err
			}
			if len(records) > 0 {
				known = append(append(known, records...), troubles...)
			}
			all = append(all, troubles...)
		}
	}
	if known != nil {
		return known, nil
	}
	for i := range all {
		all[i].Detail["note"] = "nothing is known here of a record with this key; this may be why"
	}
	return all, nil
}

// records are those of a table that a key may mean.
func (r borders) records(ctx context.Context, plan *flow.Plan, t *flow.SyncTable, about string) (all []flow.Entry, err error) {
	for _, key := range writtenKeys(t, about) {
		account, err := r.replica.Account(ctx, r.place(plan), t.Name, key)
		if f := fault.Of(err); f != nil && f.Code == replica.CodeRecord {
			continue
		}
		if err != nil {
			return nil, err
		}
		reason := cmp.Or(string(account.Outcome), inFlight)
		detail := map[string]any{"table": t.Name, "region": r.region, "story": strings.Join(account.Words, " ")}
		if account.Code != "" {
			detail["code"], detail["why"] = account.Code, cmp.Or(account.Text, remedyOf(account.Code, reason).why)
		}
		if do := remedyOf(account.Code, reason).do; do != "" {
			detail["do"] = named(do, plan.Flow, t.Name)
		}
		all = append(all, flow.Entry{At: newest(account.Values), Flow: plan.Flow, What: "record", Reason: reason, Detail: detail})
		under, err := r.border.Underway(ctx, plan.Flow, t, account.Key)
		if err != nil {
			return nil, err
		}
		for _, w := range under {
			all = append(all, flow.Entry{At: w.Since.UTC(), Flow: plan.Flow, What: "record", Reason: inFlight, Detail: map[string]any{
				"table": t.Name, "region": r.region, "to": w.Peer, "why": "it is at the border of region " + r.region + ", and region " + w.Peer + " has not fetched it yet",
				"do": named("nothing, if that region is at work: patchbay regions FLOW", plan.Flow, t.Name)}})
		}
	}
	return all, nil
}

// writtenKeys are the JSON texts that a key may be written as.
func writtenKeys(t *flow.SyncTable, about string) (keys [][]string) {
	parts := []string{about}
	if len(t.Key) > 1 {
		if parts = strings.Split(about, ","); len(parts) != len(t.Key) {
			return nil
		}
	}
	texts, plain := make([]string, len(parts)), make([]string, len(parts))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		b, err := json.Marshal(part)
		if err != nil {
			return nil // no key is like this
		}
		texts[i], plain[i] = string(b), string(b)
		var n json.Number
		if json.Unmarshal([]byte(part), &n) == nil && part != "null" && part[0] != '"' {
			plain[i] = part
		}
	}
	if keys = [][]string{texts}; !slices.Equal(texts, plain) {
		keys = append(keys, plain)
	}
	return keys
}

// troubles are what all records of a table suffer from, the oldest first.
func (r borders) troubles(ctx context.Context, plan *flow.Plan, t *flow.SyncTable) (all []flow.Entry, err error) {
	p := r.place(plan)
	add := func(at time.Time, reason, code, why, peer string) {
		detail := map[string]any{"table": t.Name, "region": r.region, "code": code, "why": why}
		if peer != "" {
			detail["with"] = peer
		}
		if do := remedyOf(code, reason).do; do != "" {
			detail["do"] = named(do, plan.Flow, t.Name)
		}
		all = append(all, flow.Entry{At: at.UTC(), Flow: plan.Flow, What: "table", Reason: reason, Detail: detail})
	}
	found, err := r.replica.Troubles(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, x := range found {
		name, _, _ := strings.Cut(x.Table, " ")
		if name == t.Name || x.Table == "all tables" {
			add(x.Since, x.Code, x.Code, x.Text, x.Peer)
		}
	}
	pauses, err := r.replica.Pauses(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, x := range pauses {
		if x.Table == t.Name || x.Peer != "" {
			add(x.At, onHold, onHold, "put on hold by "+x.By+": "+x.Why, x.Peer)
		}
	}
	states, err := r.replica.Status(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.Table != t.Name {
			continue
		}
		if s.Anew != nil {
			add(s.Anew.At, s.Anew.Code, s.Anew.Code, s.Anew.Text, "")
		}
		if s.Loading {
			add(time.Now(), "loading", "sync.loading", "what was there before is still being read", "")
		}
	}
	return all, nil
}

// remedy is what a code means where nobody said it in words, and what a person can do.
type remedy struct{ why, do string }

const retry = "then: patchbay resume FLOW --table TABLE"

// remedies are by code; those of an outcome follow after codes.
var remedies = map[string]remedy{
	replica.CodeOversize:         {"its allowed values have more bytes than max_row of the flow", "make the record smaller, or raise max_row and apply the flow in each region"},
	replica.CodeKeyMissing:       {"a part of its key is missing", "give the record its key"},
	replica.CodeKeyTwice:         {"another record of this system has the same key", "change the key of one of them"},
	replica.CodeKeyTaken:         {"another record of this system has its key", "change the key of one of them; it follows within a minute"},
	replica.CodeParent:           {"it names a record that is not known yet", "nothing: it follows when that record does"},
	replica.CodeUnobserved:       {"it was edited here, and that is observed first", "nothing: it is tried again within seconds"},
	"connector.truncated":        {"the system keeps another value than it was given", "make the column longer, or take away what cuts the value; " + retry},
	"connector.cursor_expired":   {"the system lost our place in its changes", "nothing: the table is read from the beginning, beside what changes"},
	"sync.truncated":             {"", "nothing: the table is read from the beginning"},
	"sync.loading":               {"", "nothing: records follow in the order of their keys"},
	"sync.retold":                {"", "nothing: the system is read from the beginning, beside what changes"},
	replica.CodeRestored:         {"", "nothing, while the other regions answer; put one that is away for long on hold: patchbay hold FLOW --region REGION"},
	"sync.clock_ahead":           {"", "set the clock of the system"},
	"sync.clock_behind":          {"", "set the clock of the system"},
	"sync.column_changed":        {"", "put the column back, or allow it as it is now: patchbay resume FLOW --table TABLE"},
	"sync.column_new":            {"", "nothing, or allow it in the flow; patchbay resume FLOW --table TABLE says that it was seen"},
	"sync.key_changed":           {"", "put the key back, or allow it as it is now: patchbay resume FLOW --table TABLE"},
	"sync.gone_many":             {"", "delete once more what was deleted on purpose"},
	"connector.replica_identity": {"", "give the table a primary key, or a replica identity of the key"},
	"postgres.value":             {"", "give the column the same type in all regions, or mend the value; " + retry},
	"postgres.too_long":          {"", "make the column longer, or the value shorter; " + retry},
	egress.CodeUnavailable:       {"", "look after the other region; it goes on by itself"},
	egress.CodeDenied:            {"", "apply the flow in the other region, or mend the reference to its border"},
	egress.CodeMissing:           {"", "apply the flow in the other region"},
	egress.CodeColumns:           {"", "apply the same flow in both regions"},
	egress.CodeForgotten:         {"", "nothing: the other region is asked to tell all again"},
	onHold:                       {"", "patchbay resume FLOW --table TABLE, or --region REGION"},
	string(flow.SyncHeld):        {"", "decide: patchbay conflicts FLOW"},
	string(flow.SyncRejected):    {"", "mend the record, or the system that refuses it; " + retry},
	string(flow.SyncTruncated):   {"", "see why, mend it; " + retry},
	string(flow.SyncWaiting):     {"", "nothing: it is tried again"},
	inFlight:                     {"", "nothing: it is written within seconds, unless its table suffers from something"},
}

// remedyOf is that of a code, or else of an outcome.
func remedyOf(code, reason string) remedy {
	if a, ok := remedies[code]; ok {
		return a
	}
	return remedies[reason]
}

// named puts the names of a flow and a table into a remedy.
func named(do, name, table string) string {
	return strings.NewReplacer("FLOW", name, "TABLE", table).Replace(do)
}

// newest is when the last of the values was written.
func newest(values []flow.SyncCell) time.Time {
	var last int64
	for _, v := range values {
		last = max(last, v.Version.Stamp)
	}
	return time.UnixMicro(last).UTC()
}
