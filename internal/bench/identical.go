package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"patchbay/internal/devenv"
)

// together is how many press the same at the same time.
const together = 200

// bucket is share_identical of product-specs. A round begins soon after a border
// of it, so that none runs across the next.
const bucket = 5 * time.Second

// identical has many press the same product at once. The judge is the record of
// calls that a sandbox with a database keeps; the lean one keeps none.
func identical(ctx context.Context, env *environment, _ options) error {
	base, recording, err := env.recorder(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = interrupt(recording) }()
	in, err := env.install(ctx, base)
	if err != nil {
		return err
	}
	defer in.stop()
	b := of(in.api, "product-specs", crowdKey)
	var reads, writes, slowest, right []float64
	for n := range 3 {
		product := env.products[n]
		if err := pause(ctx, time.Until(time.Now().Truncate(bucket).Add(bucket+100*time.Millisecond))); err != nil {
			return err
		}
		before, err := calls(ctx, base, "dataverse", "UpsertMultiple")
		if err != nil {
			return err
		}
		took, failure := sameInstant(ctx, b, product)
		if failure != nil {
			fmt.Printf("\nA PRESS WITHOUT A RIGHT ANSWER: %v\n", failure)
		}
		if err := in.quiet(ctx, time.Minute); err != nil {
			return err
		}
		after, err := calls(ctx, base, "dataverse", "UpsertMultiple")
		if err != nil {
			return err
		}
		read, err := calls(ctx, base, "oracle", product)
		if err != nil {
			return err
		}
		reads, writes = append(reads, read), append(writes, after-before)
		slowest, right = append(slowest, milliseconds(quantile(took, 1))), append(right, float64(len(took)))
	}
	fmt.Printf("\n%d identical presses at once, %d times, by the record of a sandbox on PostgreSQL, median (min … max)\n", together, len(reads))
	fmt.Printf("  right answers %s, slowest after %s ms; calls that read Oracle %s, goal 1; that wrote to Dataverse %s\n",
		spread(right, 0), spread(slowest, 0), spread(reads, 0), spread(writes, 0))
	return nil
}

// sameInstant has all press one product and gives how long the right answers took.
func sameInstant(ctx context.Context, b *button, product string) (took []time.Duration, failure error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			began := time.Now()
			err := b.press(ctx, product)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
				return
			}
			took = append(took, time.Since(began))
		})
	}
	all.Wait()
	return took, failure
}

// recorder starts a sandbox that records, in the database that the lean one has
// no use for.
func (e *environment) recorder(ctx context.Context) (base string, cmd *exec.Cmd, err error) {
	database, err := url.Parse(e.database)
	if err != nil {
		return "", nil, err
	}
	database.Path = "/sandbox"
	ports, err := devenv.FreePorts(ctx, 1)
	if err != nil {
		return "", nil, err
	}
	at := fmt.Sprintf("127.0.0.1:%d", ports[0])
	cmd, err = e.launch("sandbox", nil, "sandbox", "--listen", at, "--database", database.String())
	if err != nil {
		return "", nil, err
	}
	base = "http://" + at
	if err := await(ctx, "the recording sandbox", time.Minute, func() bool { return answers(base + "/_sandbox/") }); err != nil {
		_ = interrupt(cmd)
		return "", nil, fmt.Errorf("%w; its log ends with\n%s", err, e.logged("sandbox"))
	}
	return base, cmd, nil
}

// calls counts what the sandbox has on record of a system, as far as path or
// query name something.
func calls(ctx context.Context, base, system, something string) (float64, error) {
	var total, since float64
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/_sandbox/calls/%s?since=%.0f&limit=10000", base, system, since), nil)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		var page []struct {
			N     float64 `json:"n"`
			Path  string  `json:"path"`
			Query string  `json:"query"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil {
			return 0, fmt.Errorf("reading the record of %s: %w", system, err)
		}
		if len(page) == 0 {
			return total, nil
		}
		for _, call := range page {
			since = call.N
			if strings.Contains(call.Path+"?"+call.Query, something) {
				total++
			}
		}
	}
}
