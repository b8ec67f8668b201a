package postgres

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
)

// verdict is what a SQLSTATE means.
type verdict struct {
	class  fault.Class
	reason string
	text   string
}

// verdicts are known by state, or by its class of two characters. The message, the
// detail and the context of an error stay here: they quote rows.
var verdicts = map[string]verdict{
	"23505": {fault.Rejected, "duplicate_key", "has another row with the same unique values"},
	"23502": {fault.Rejected, "null", "takes no null there"},
	"23503": {fault.Rejected, "reference", "lacks the row that this one refers to"},
	"23514": {fault.Rejected, "check", "refused the row by a check constraint"},
	"23":    {fault.Rejected, "constraint", "refused the row by a constraint"},
	"22001": {fault.Rejected, "too_long", "refused a value as too long"},
	"22003": {fault.Rejected, "out_of_range", "refused a number as out of range"},
	"22007": {fault.Rejected, "invalid_date", "refused a date that is none"},
	"22008": {fault.Rejected, "invalid_date", "refused a date that is none"},
	"22021": {fault.Rejected, "encoding", "refused a text that is not in its encoding"},
	"22":    {fault.Rejected, "value", "refused a value of the wrong form"},
	"21":    {fault.Rejected, "twice", "takes two of the rows for one"},
	"44":    {fault.Rejected, "check", "refused the row by the check of a view"},
	"P0":    {fault.Rejected, "raised", "refused the row by a rule of its own"},
	"42P10": {fault.Rejected, "no_key", "keeps no unique index on exactly the columns of the key"},
	"42P01": {fault.Rejected, "unknown_resource", "has no such table; check path of the connection"},
	"3F000": {fault.Rejected, "unknown_resource", "has no such schema; check path of the connection"},
	"42703": {fault.Rejected, "unknown_column", "has no such column; check columns of the connection"},
	"42":    {fault.Rejected, "statement", "does not take the statement"},
	"42501": {fault.Unauthorized, "forbidden", "does not allow this to the user of the connection"},
	"28":    {fault.Unauthorized, "unauthorized", "did not accept the credentials"},
	"3D000": {fault.Unauthorized, "no_database", "has no database of that name for this user"},
	"40":    {fault.Unavailable, "contended", "gave way to others who wrote the same rows"},
	"55P03": {fault.Unavailable, "contended", "has the rows locked"},
	"57014": {fault.Unavailable, "timeout", "did not get to it in time"},
	"25006": {fault.Unavailable, "read_only", "takes no writes at the moment"},
	"53":    {fault.Unavailable, "overloaded", "lacks connections, memory or disk"},
}

var failing = verdict{fault.Unavailable, "unavailable", "could not do its work"}

// ofTheRow are the reasons that may concern one row and not all that is sent now.
var ofTheRow = []string{"duplicate_key", "null", "reference", "check", "constraint", "too_long", "out_of_range", "invalid_date", "encoding", "value", "twice", "raised"}

// fault classifies an error once; sent says that a write may have taken effect.
func (p *Postgres) fault(outer, inner context.Context, sent bool, err error) error {
	var known *fault.Fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	var said *pgconn.PgError
	if errors.As(err, &said) && len(said.Code) == 5 {
		v := verdictOf(said.Code)
		text := p.config.Name + " " + v.text + " (SQLSTATE " + said.Code + ")"
		if sent {
			return fault.New(fault.InDoubt, System+"."+v.reason, text+"; the write may have been applied", nil)
		}
		return fault.New(v.class, System+"."+v.reason, text, nil)
	}
	var dialled *net.OpError
	if errors.As(err, &dialled) {
		err = dialled // without the words of the driver, which name host and user
	}
	return p.gate.Broken(outer, inner, sent, err)
}

func verdictOf(state string) verdict {
	v, ok := verdicts[state]
	if !ok {
		v, ok = verdicts[state[:2]]
	}
	if !ok {
		v = failing
	}
	return v
}

// lost reports whether a commit that was sent and failed may have taken effect: nobody answered,
// or what answered was the end of the server and not a word about the transaction.
func lost(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) && len(said.Code) == 5 {
		return slices.Contains([]string{"08", "57", "58", "XX"}, said.Code[:2])
	}
	// What pgx says of its being safe to try again is not true of a commit: when the
	// connection breaks behind it, that comes back as one that was closed before.
	return !errors.Is(err, pgx.ErrTxCommitRollback)
}

func aboutRows(err error) bool {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return false
	}
	for _, reason := range ofTheRow {
		if f.Code == System+"."+reason {
			return f.Class == fault.Rejected
		}
	}
	return false
}
