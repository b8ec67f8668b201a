package flow

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

type (
	// Money is an exact amount of one currency. As text, and in JSON, it is "2.50 EUR". The zero
	// value is no money, of no currency.
	Money struct {
		Units    int64  // ten-thousandths
		Currency string // ISO 4217: three capital letters
	}

	// Budget is what may be spent on a connection.
	Budget struct {
		PerDay Money  `json:"per_day"`
		Zone   string `json:"zone,omitempty"` // whose days they are, as the IANA names it; empty: UTC
	}
)

// perUnit is how many Units an amount of 1 has.
const perUnit = 10_000

var money = regexp.MustCompile(`^(\d{1,12})(?:\.(\d{1,4}))? ([A-Z]{3})$`)

// ParseMoney reads an amount such as "2.50 EUR", of at most four decimal places.
func ParseMoney(text string) (Money, bool) {
	m := money.FindStringSubmatch(text)
	if m == nil {
		return Money{}, false
	}
	whole, _ := strconv.ParseInt(m[1], 10, 64) // twelve digits
	part, _ := strconv.ParseInt((m[2] + "0000")[:4], 10, 64)
	return Money{Units: whole*perUnit + part, Currency: m[3]}, true
}

// Amount is the amount alone, with two decimal places or as many as it needs.
func (m Money) Amount() string {
	sign, units := "", m.Units
	if units < 0 {
		sign, units = "-", -units
	}
	part := fmt.Sprintf("%04d", units%perUnit)
	part = part[:2] + strings.TrimRight(part[2:], "0")
	return sign + strconv.FormatInt(units/perUnit, 10) + "." + part
}

func (m Money) String() string { return m.Amount() + " " + m.Currency }

// MarshalText implements encoding.TextMarshaler.
func (m Money) MarshalText() ([]byte, error) {
	if m == (Money{}) {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Money) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = Money{}
		return nil
	}
	read, ok := ParseMoney(string(text))
	if !ok {
		return fmt.Errorf("an amount of money is written such as 2.50 EUR")
	}
	*m = read
	return nil
}
