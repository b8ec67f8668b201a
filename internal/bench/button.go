package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// button presses over HTTP, as an app does: Patchbay's API, or what answers in
// the same form.
type button struct {
	url    string
	key    string // bearer key; empty: none
	prefer string // header Prefer; empty: none
	http   *http.Client
}

func newButton(url string) *button {
	return &button{url: url, http: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: most}}}
}

// of is the button of a flow.
func of(address, flow, key string) *button {
	b := newButton(address + "/v1/flows/" + flow + "/runs")
	b.key = key
	return b
}

// answer is what a press is judged by: the rows of the product that was asked for.
type answer struct {
	Result struct {
		Count int             `json:"count"`
		Rows  []specification `json:"rows"`
	} `json:"result"`
}

func (a answer) is(product string) bool {
	for _, row := range a.Result.Rows {
		if row.Product != product {
			return false
		}
	}
	return len(a.Result.Rows) > 0 && a.Result.Count == len(a.Result.Rows)
}

// press returns when the answer is there, and fails unless it is the right one.
func (b *button) press(ctx context.Context, product string) error {
	status, body, err := b.send(ctx, product)
	if err != nil {
		return err
	}
	var got answer
	if err := json.Unmarshal(body, &got); err != nil || status != http.StatusOK || !got.is(product) {
		return fmt.Errorf("no answer for %s: %d %.120s", product, status, body)
	}
	return nil
}

func (b *button) send(ctx context.Context, product string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(fmt.Appendf(nil, `{"product_id":%q}`, product)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if b.key != "" {
		req.Header.Set("Authorization", "Bearer "+b.key)
	}
	if b.prefer != "" {
		req.Header.Set("Prefer", b.prefer)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
