package ibm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// search is what a token of a page has to know: which documents, and after which one.
type search struct {
	Repository string    `json:"r"`
	From       string    `json:"f,omitempty"`
	Where      string    `json:"w,omitempty"`
	Order      string    `json:"o,omitempty"`
	Options    string    `json:"c,omitempty"`
	Size       int       `json:"s"`
	After      []any     `json:"a,omitempty"` // of the order, of the document before the page
	Until      time.Time `json:"u"`
}

// tokenLife is how long the server keeps the place of a search, at speed 1.
const tokenLife = 10 * time.Minute

func (s *System) sign(body string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

func (s *System) token(x search, at time.Time) *string {
	x.Until = at.Add(time.Duration(float64(tokenLife) / s.speed))
	raw, _ := json.Marshal(x) // texts, numbers and times only
	body := base64.RawURLEncoding.EncodeToString(raw)
	token := body + "." + s.sign(body)
	return &token
}

func (s *System) searchOf(token string, at time.Time, expired bool) (search, error) {
	var x search
	body, signature, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if expired || err != nil || !hmac.Equal([]byte(signature), []byte(s.sign(body))) || json.Unmarshal(raw, &x) != nil || at.After(x.Until) {
		return x, refused("The continuation token is not valid or has expired.")
	}
	return x, nil
}

// after is the condition that a row comes later in the order than the last one.
// Nulls are behind everything, and before it where the order descends.
func after(order []storage.Order, last []any) storage.Expr {
	if len(order) == 0 {
		return storage.Or{}
	}
	o, v := order[0], last[0]
	rest := after(order[1:], last[1:])
	switch {
	case v == nil && o.Desc:
		return storage.Or{storage.Not{X: storage.Null{Column: o.Column}}, storage.And{storage.Null{Column: o.Column}, rest}}
	case v == nil:
		return storage.And{storage.Null{Column: o.Column}, rest}
	case o.Desc:
		return storage.Or{storage.Compare{Column: o.Column, Op: storage.Lt, Value: v}, storage.And{storage.Compare{Column: o.Column, Op: storage.Eq, Value: v}, rest}}
	}
	return storage.Or{storage.Compare{Column: o.Column, Op: storage.Gt, Value: v}, storage.Null{Column: o.Column},
		storage.And{storage.Compare{Column: o.Column, Op: storage.Eq, Value: v}, rest}}
}

// place is where a row stands in the order, in a form that JSON keeps.
func place(order []storage.Order, row storage.Row) []any {
	list := make([]any, len(order))
	for i, o := range order {
		list[i] = row[o.Column]
		if at, ok := row[o.Column].(time.Time); ok {
			list[i] = at.Format(time.RFC3339Nano)
		}
		if n, ok := row[o.Column].(json.Number); ok {
			list[i] = string(n)
		}
	}
	return list
}

// placed reads a place back.
func placed(order []storage.Order, list []any) []any {
	values := make([]any, len(order))
	for i, o := range order {
		column, _ := documents.Column(o.Column)
		values[i] = list[i]
		switch v := list[i].(type) {
		case string:
			switch column.Kind {
			case storage.Time:
				values[i], _ = time.Parse(time.RFC3339Nano, v) // it was written by place
			case storage.Decimal:
				values[i] = json.Number(v)
			}
		case float64:
			values[i] = int64(v) // a LONG, which is 32 bits
		}
	}
	return values
}
