package advice

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
)

// plain is the one way to write a number that is read here: two readers cannot take
// it for different ones, as they could 1,250.
var plain = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?$`)

// exact reads a number of a row: of JSON, or a decimal as text, which systems send so
// that nobody rounds it.
func exact(v any) (*big.Rat, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
		if strings.ContainsAny(text, "eE") {
			if len(text) > 60 {
				return nil, false
			}
			return new(big.Rat).SetString(text)
		}
	case string:
		text = v
	case int64:
		return new(big.Rat).SetInt64(v), true
	default:
		return nil, false
	}
	if !plain.MatchString(text) {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// number is r in plain digits; what is read here is a finite decimal.
func number(r *big.Rat) json.Number {
	n, _ := r.FloatPrec()
	return json.Number(r.FloatString(n))
}
