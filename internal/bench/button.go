package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// button presses product-specs over the API, as an app does.
type button struct {
	url  string
	http *http.Client
}

func newButton(env *environment) *button {
	return &button{url: env.HTTP + "/v1/flows/product-specs/runs", http: &http.Client{}}
}

// press returns when the answer is there.
func (b *button) press(ctx context.Context, product string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(fmt.Appendf(nil, `{"product_id":%q}`, product)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var run struct {
		Result *struct {
			Count int `json:"count"`
		} `json:"result"`
	}
	if err := json.Unmarshal(body, &run); err != nil || resp.StatusCode != http.StatusOK || run.Result == nil || run.Result.Count == 0 {
		return fmt.Errorf("no answer for %s: %s %.300s", product, resp.Status, body)
	}
	return nil
}
