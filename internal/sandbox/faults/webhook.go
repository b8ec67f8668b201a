package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// spread is over how long webhooks are scattered that come out of order.
const spread = 400 * time.Millisecond

type (
	// Webhook is what goes wrong with what a system sends by itself: each is sent
	// Duplicate times at once, Reorder scatters them, the share Drop is not sent.
	Webhook struct {
		Duplicate int     `json:"duplicate,omitempty"`
		Reorder   bool    `json:"reorder,omitempty"`
		Drop      float64 `json:"drop,omitempty"`
		// BadSignature signs it with something else than was agreed.
		BadSignature bool `json:"bad_signature,omitempty"`
	}

	// Strike is what to do with one webhook.
	Strike struct {
		Copies int // 0: one, as usual
		Delay  time.Duration
		Drop   bool
		// BadSignature is that of Webhook.
		BadSignature bool
	}
)

// UnmarshalJSON refuses fields that it does not know.
func (w *Webhook) UnmarshalJSON(text []byte) error {
	type plain Webhook
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode((*plain)(w)); err != nil {
		return fmt.Errorf("reading a webhook fault: %w", err)
	}
	return nil
}

// Webhook says what to do with the next webhook of a system.
func (b *Board) Webhook(system string) Strike {
	if !b.any.Load() {
		return Strike{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.rules[system] {
		if s.Webhook == nil || s.Count > 0 && s.Struck >= s.Count {
			continue
		}
		s.Matched++
		if s.Rate > 0 && s.Rate < 1 && b.draw(system, i, s.Matched) >= s.Rate {
			continue
		}
		s.Struck++
		x := Strike{Copies: s.Webhook.Duplicate, BadSignature: s.Webhook.BadSignature, Drop: s.Webhook.Drop > 0 && b.draw(system+"/drop", i, s.Matched) < s.Webhook.Drop}
		if s.Webhook.Reorder {
			x.Delay = max(1, time.Duration(b.draw(system+"/order", i, s.Matched)*float64(spread)))
		}
		return x
	}
	return Strike{}
}
