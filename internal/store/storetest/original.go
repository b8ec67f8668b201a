package storetest

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Original is a database that is filled once per process, since its first rows take long to
// make, and whose copies tests get.
type Original struct {
	fill func(ctx context.Context, url string) error
	once sync.Once
	name string // empty: not made
	err  error
}

// NewOriginal makes nothing yet; fill gets the owner's URL of an empty database, and leaves
// no connection to it.
func NewOriginal(fill func(ctx context.Context, url string) error) *Original {
	return &Original{fill: fill}
}

// Copy gives the owner's URL of a copy, which ends with the test.
func (o *Original) Copy(t testing.TB) string {
	t.Helper()
	o.once.Do(o.make)
	if o.err != nil {
		t.Fatalf("filling a database for tests: %v", o.err)
	}
	return copied(t, o.name)
}

func (o *Original) make() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // for all tests, so of none
	defer cancel()
	base, err := cluster()
	if err != nil {
		o.err = err
		return
	}
	name := "original_" + strings.ToLower(rand.Text()[:16])
	if o.err = admin(ctx, func(c *pgx.Conn) error { return copyTemplate(ctx, c, name, "template0") }); o.err != nil {
		return
	}
	o.name = name
	o.err = o.fill(ctx, withDatabase(base.url, name))
}

// Drop removes the original. TestMain calls it once all tests have ended.
func (o *Original) Drop() {
	if o.name != "" {
		_ = dropDatabase(context.Background(), o.name) // a cluster that has ended took it along
	}
}
