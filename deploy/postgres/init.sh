#!/bin/sh
# Runs once, on an empty cluster, as its owner: a role and databases for Temporal and for the sandbox, and a role that may
# read the core banking of the sandbox and nothing else; its password is known to everybody, as what it opens is made up.
# Patchbay's own
# database is the image's; its role is made by `patchbay apply`.
set -eu

# psql's \set reads a password itself: it stands in no argument list and in no log.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\set temporal_password `cat "$TEMPORAL_PASSWORD_FILE"`
\set sandbox_password `cat "$SANDBOX_PASSWORD_FILE"`
set password_encryption = 'scram-sha-256';
create role temporal login password :'temporal_password';
create role sandbox login password :'sandbox_password';
create database temporal owner temporal;
create database temporal_visibility owner temporal;
create database patchbay_sandbox owner sandbox;
revoke connect on database temporal, temporal_visibility, patchbay_sandbox from public;
create role bank_reader login noinherit password 'sandbox-secret';
alter role bank_reader set default_transaction_read_only = on;
grant connect on database patchbay_sandbox to bank_reader;
\connect patchbay_sandbox
create schema bank authorization sandbox;
grant usage on schema bank to bank_reader;
alter default privileges for role sandbox in schema bank grant select on tables to bank_reader;
SQL
