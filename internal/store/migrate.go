package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"patchbay/internal/fault"
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
	conn, err := Connect(ctx, ownerURL, "patchbay migrate")
	if err != nil {
		return "", err
	}
	cfg := conn.Config()
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

// Connect opens one connection of an owner, for what makes tables and roles. The caller
// closes it; its errors are classified, those of what is done with it are not.
func Connect(ctx context.Context, ownerURL, application string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(ownerURL)
	if err != nil {
		return nil, malformedURL()
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, Classify(err)
	}
	return conn, nil
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

// Schema gives the version of the schema, which is the number of the latest
// migration, as it is in the database and as this build knows it.
func (s *Store) Schema(ctx context.Context) (have, want int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil || len(names) == 0 {
		panic("store: no migrations")
	}
	if want, err = goose.NumericComponent(names[len(names)-1]); err != nil {
		return 0, 0, fault.New(fault.Bug, "store.migration", "a migration has no number", err)
	}
	err = s.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&have)
	})
	return have, want, err
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
