package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/devenv"
	"patchbay/internal/fault"
	"patchbay/internal/store"
)

// sandboxSecret is the client secret that the sandbox's token endpoint knows. It
// guards nothing but made-up products.
const sandboxSecret = "sandbox-secret"

// sandboxHook is what the sandbox signs its callbacks with where a subscriber has to bring
// bytes in base64.
const sandboxHook = "c2FuZGJveC1jYWxsYmFjay1zZWNyZXQtMzItYnl0ZXM="

// sandboxed are the variables by which the example connections name the sandbox of an
// environment.
func sandboxed(info devenv.Info) map[string]string {
	told := map[string]string{
		"PATCHBAY_SANDBOX": info.Sandbox, "PATCHBAY_SANDBOX_SECRET": sandboxSecret, "PATCHBAY_SANDBOX_HOOK": sandboxHook, "PATCHBAY_SANDBOX_SMTP": info.SMTP,
	}
	if bank, err := url.Parse(info.Bank); err == nil && bank.User != nil {
		told["PATCHBAY_SANDBOX_BANK"] = bank.Host + bank.Path
		told["PATCHBAY_SANDBOX_BANK_USER"] = bank.User.Username()
		told["PATCHBAY_SANDBOX_BANK_PASSWORD"], _ = bank.User.Password()
	}
	return told
}

// lendBank makes the role by which flows read the core banking of the sandbox, its tables
// in the schema bank and nothing else, and records it. deploy/postgres/init.sh does the
// same. On a server where nobody may make roles, flows read as its owner.
func lendBank(ctx context.Context, env *devenv.Env) error {
	owner, err := env.SandboxDatabase()
	if err != nil {
		return err
	}
	address, err := url.Parse(owner)
	if err != nil {
		return fault.New(fault.Invalid, "devenv.database", "the sandbox's database has no URL", err)
	}
	conn, err := pgx.Connect(ctx, owner)
	if err != nil {
		return fault.New(fault.Unavailable, "devenv.database", "the sandbox's database does not answer", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	name, password := strings.Trim(address.Path, "/"), rand.Text()
	role := store.RoleOf(env.Dir(), owner) + "_bank"
	made, err := store.Login(ctx, conn, role, password, map[string]string{"default_transaction_read_only": "on"})
	if err == nil && made {
		address.User = url.UserPassword(role, password)
		database, reader := pgx.Identifier{name}.Sanitize(), pgx.Identifier{role}.Sanitize()
		_, err = conn.Exec(ctx, "create schema if not exists bank; grant connect on database "+database+" to "+reader+
			"; grant usage on schema bank to "+reader+"; grant select on all tables in schema bank to "+reader+
			"; alter default privileges in schema bank grant select on tables to "+reader)
	}
	if err != nil {
		return fmt.Errorf("letting flows read the core banking of the sandbox: %w", store.Classify(err))
	}
	return env.Bank(address.String())
}
