package store

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/fault"
)

// Classify turns an error of pgx into a fault. Faults, pgx.ErrNoRows, errors of
// a context and errors that are not pgx's pass unchanged.
func Classify(err error) error {
	var f *fault.Fault
	var refused *pgconn.ConnectError
	switch {
	case err == nil, errors.As(err, &f), errors.Is(err, pgx.ErrNoRows):
		return err
	case sqlState(err) != "":
		return byState(sqlState(err), err)
	case errors.As(err, &refused): // may wrap the deadline of the connect itself
		return unavailable(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case broken(err):
		return unavailable(err)
	}
	return err
}

// byState classifies by SQLSTATE: the message may quote values, the state cannot.
// What a person can put right at the database, its passwords, rights and schema
// included, is Unavailable: an activity goes on trying meanwhile. Only what the
// statement itself brought about would fail for ever.
func byState(state string, err error) error {
	switch {
	case contended(err):
		return fault.New(fault.Unavailable, "store.contended", "the database is too contended at the moment", err)
	case state == "57014", state == "55P03", state == "25P03", state == "55006":
		return fault.New(fault.Unavailable, "store.timeout", "the database did not get to it in time", err)
	case state[:2] == "28":
		return fault.New(fault.Unavailable, "store.unauthorized", "the database refuses the role or its password", err)
	case state == "42501":
		return fault.New(fault.Unavailable, "store.forbidden", "the database role lacks a right; apply the migrations as the owner", err)
	case state == "3D000":
		return fault.New(fault.Unavailable, "store.missing", "the database of the URL does not exist", err)
	case state == "42P01", state == "42703", state == "42883", state == "3F000":
		return fault.New(fault.Unavailable, "store.schema", "the database lacks a table, column or function; apply the migrations as the owner", err)
	case state[:2] == "08", state[:2] == "53", state[:2] == "57", state[:2] == "58", state == "25006":
		return unavailable(err)
	case ofStatement[state[:2]]:
		return fault.New(fault.Bug, "store.statement", "the database refused a statement, SQLSTATE "+state, err)
	}
	return fault.New(fault.Unavailable, "store.refused", "the database could not do its work, SQLSTATE "+state, err)
}

// ofStatement are the classes of SQLSTATE that blame the statement or its values:
// cardinality, data, constraints, syntax and access rule, a check option, limits of
// the program, and what a function raises.
var ofStatement = map[string]bool{"21": true, "22": true, "23": true, "42": true, "44": true, "54": true, "P0": true}

func unavailable(err error) error {
	return fault.New(fault.Unavailable, "store.unavailable", "the database does not answer", err)
}

// broken reports whether the connection itself failed.
func broken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) ||
		pgconn.SafeToRetry(err)
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && len(pg.Code) == 5 {
		return pg.Code
	}
	return ""
}
