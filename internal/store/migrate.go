package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrateLock is the advisory lock that lets several processes start at once.
const migrateLock = 0x70617463686261 // "patchba"

// MigrateOptions say which role the application gets.
type MigrateOptions struct {
	Role     string // name of the application role; "": DefaultRole
	Password string // its password, printable ASCII; "": no role, the application uses the owner's URL
}

// DefaultRole is the role the application works as.
const DefaultRole = "patchbay_app"

// Migrate brings the schema of the owner's database up to date, creates or
// updates the application role, and returns the URL to Open: that of the
// application role, or ownerURL itself when no password is given or the owner
// has no right to create roles. Concurrent calls wait for each other.
func Migrate(ctx context.Context, ownerURL string, o MigrateOptions) (appURL string, err error) {
	cfg, err := pgx.ParseConfig(ownerURL)
	if err != nil {
		return "", malformedURL()
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = "patchbay migrate"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return "", Classify(err)
	}
	// The lock lives as long as this connection.
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return "", Classify(err)
	}
	if err := up(ctx, cfg); err != nil {
		return "", fmt.Errorf("migrating: %w", Classify(err))
	}
	if o.Password == "" {
		return ownerURL, nil
	}
	if o.Role == "" {
		o.Role = DefaultRole
	}
	created, err := ensureRole(ctx, conn, cfg.Database, o)
	if err != nil {
		return "", fmt.Errorf("preparing role %s: %w", o.Role, Classify(err))
	}
	if !created {
		return ownerURL, nil
	}
	return withUser(ownerURL, o)
}

func up(ctx context.Context, cfg *pgx.ConnConfig) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, sub)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// SchemaDigest is the hex SHA-256 of all migrations: equal digests, equal schema.
func SchemaDigest() string {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		panic("store: " + err.Error())
	}
	h := sha256.New()
	for _, name := range names {
		body, err := migrations.ReadFile(name)
		if err != nil {
			panic("store: " + err.Error())
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(body), body)
	}
	return hex.EncodeToString(h.Sum(nil))
}
