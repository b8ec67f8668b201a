// Package store owns the way to PostgreSQL: the pool, the schema and its roles,
// transactions, LISTEN, and the values that belong to one installation. The
// packages run, ledger, journal and their like own the tables and speak pgx
// through it; nobody else imports pgx. It may import fault, pgx and goose.
//
// Two roles. Migrate connects as the owner of the database and leaves behind an
// application role that owns nothing but the tables it makes in schema stage, passes no row security, deletes
// nothing but what events and consolidations leave behind, and may only insert into plan, seal and journal. Open is meant for that role.
// A managed database often grants no right to create roles: Migrate then leaves
// the roles alone and the application works as the role of the URL it was given.
//
// Every failure leaves as a fault: store.unavailable when nobody answered, decided
// within two seconds; store.commit-unknown when nobody knows if a commit took effect;
// store.statement when a statement is to blame, a bug. All else, a wrong password or
// a missing grant, is Unavailable: people put it right, and runs wait. No text ever
// holds a URL, a row or PostgreSQL's own message (promises 5 and 9). Only
// pgx.ErrNoRows and errors of the caller's context pass as they are.
package store
