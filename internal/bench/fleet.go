package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// applications is a hybrid flow whose decisions cost a simulation, and nothing else to speak of.
const applications = "bench-applications"

const (
	applied     = 10_000 // applications that nobody waits for
	awaited     = 30     // that somebody waits for, one after the other
	applyLimit  = 3 * time.Minute
	application = `
flow: ` + applications + `
pattern: hybrid
summary: Applications that are decided by a simulation
params: { product_id: { type: string }, income: { type: int } }
collect:
  item: { from: oracle-plm.items, where: { ItemNumber: params.product_id }, select: [ItemDescription], deadline: 30s, refuse: We do not know this product. }
calculate:
  stress:
    function: risk.stress v1
    deadline: 5m
    with:
      question.household.income: params.income
      question.household.living: 1700
      question.household.debts: 150
      question.household.savings: 30000
      question.loan.amount: 20000
      question.loan.months: 60
      question.loan.margin: 0.018
      question.loan.fixed: 4
      question.economy.rate: 0.025
      question.economy.rate_mean: 0.03
      question.economy.rate_reversion: 0.3
      question.economy.rate_vol: 0.01
      question.economy.income_growth: 0.02
      question.economy.income_vol: 0.08
      question.economy.cost_growth: 0.02
      question.economy.job_loss: 0.012
      question.economy.job_find: 0.35
      question.economy.benefit: 0.6
      question.economy.correlation.rate_income: 0.1
      question.economy.correlation.rate_work: -0.15
      question.economy.correlation.income_work: 0.4
      question.stress.rate_rise: 0.02
      question.stress.income_cut: 0
      question.stress.loss_factor: 2
      question.horizon: 12
      paths: 100000
      level: 0.95
decide:
  - { rule: certain, when: steps.stress.row.distress.value > 1.0, then: decline, reason: It cannot be. }
  - { rule: otherwise, then: decline, reason: This is a measurement. }
limits: { timeout: 10d, queue: 20000 }
`
)

// writeApplications puts the flow of this section into the directory of flows.
func writeApplications(dir string) error {
	return os.WriteFile(filepath.Join(dir, applications+".yaml"), []byte(application), 0o644)
}

// apply presses; urgent says that somebody waits, and the answer is then the decision.
func (e *environment) apply(ctx context.Context, c *http.Client, income int, urgent bool) error {
	body := fmt.Appendf(nil, `{"product_id":%q,"income":%d}`, e.products[income%len(e.products)], income)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.api+"/v1/flows/"+applications+"/runs", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if urgent {
		req.Header.Set("Prefer", "wait=60")
	} else {
		req.Header.Set("Priority", "u=5") // RFC 9218: nobody waits
		req.Header.Set("Prefer", "respond-async")
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var got struct{ Result struct{ Decision string } }
	switch {
	case urgent && (json.Unmarshal(text, &got) != nil || got.Result.Decision != "decline"):
		return fmt.Errorf("no decision: %d %.200s", resp.StatusCode, text)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("not accepted: %d %.200s", resp.StatusCode, text)
	}
	return nil
}

// fleet lets applications pile up that nobody waits for, and measures those that somebody
// waits for beside the same ones on an idle system.
func fleet(ctx context.Context, env *environment) error {
	c := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: most}}
	n := 3000
	turns := func() (took []time.Duration, err error) {
		for range awaited {
			n++
			began := time.Now()
			if err := env.apply(ctx, c, n, true); err != nil {
				return nil, err
			}
			took = append(took, time.Since(began))
		}
		return took, nil
	}
	if _, err := turns(); err != nil { // connections and caches
		return err
	}
	idle, err := turns()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := env.pile(ctx, c); err != nil {
		return err
	}
	piled := time.Since(began)
	before, err := env.open(ctx)
	if err != nil {
		return err
	}
	busy, err := turns()
	if err != nil {
		return err
	}
	after, err := env.open(ctx)
	if err != nil {
		return err
	}
	note := ""
	if after == 0 {
		note = " THE APPLICATIONS ENDED BEFORE THE MEASUREMENT;"
	}
	fmt.Printf("\n%d applications of 100,000 paths that nobody waits for, accepted in %s, and %d that somebody waits for, one after the other\n", applied, piled.Round(100*time.Millisecond), awaited)
	fmt.Printf("  idle p50 %.0f, p95 %.0f ms; with the others p50 %.0f, p95 %.0f ms; ratio of p95s %.2f, goal at most 2;%s open %d at the first, %d after the last\n",
		milliseconds(quantile(idle, 0.5)), milliseconds(quantile(idle, 0.95)), milliseconds(quantile(busy, 0.5)), milliseconds(quantile(busy, 0.95)),
		float64(quantile(busy, 0.95))/float64(quantile(idle, 0.95)), note, before, after)
	return nil
}

// pile presses until all applications are accepted.
func (e *environment) pile(ctx context.Context, c *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	var next atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for {
				i := next.Add(1)
				if i > applied {
					return
				}
				if err := e.apply(ctx, c, 10_000+int(i), false); err != nil {
					once.Do(func() { failed = err; cancel() })
					return
				}
			}
		})
	}
	all.Wait()
	return failed
}
