// Package storetest gives tests a real PostgreSQL: an own, migrated database per
// test, opened as the application role, so that a missing grant fails here and
// not in production.
//
// PATCHBAY_TEST_DATABASE may name a running cluster (the URL of a superuser);
// `make test` sets it, so that all packages share one. When it is empty the first
// test of a process starts a private cluster from the local binaries, which ends
// and vanishes with the process, however that ends. The schema is migrated once
// into a template database; each test gets a copy, dropped at its end.
//
// A machine without PostgreSQL fails the tests, it never skips them. Only tests
// import this package.
package storetest
