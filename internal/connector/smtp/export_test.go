package smtp

import (
	"time"

	"patchbay/internal/connector"
)

// Compose is the wire form of a row's mail.
func Compose(row connector.Row) ([]byte, error) {
	m, err := sender{from: "service@example.com", domain: "example.com"}.mail(row, time.Unix(0, 0))
	return m.body, err
}
