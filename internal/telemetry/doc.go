// Package telemetry is what an operator sees of a process: its metrics, served
// for Prometheus, and its log.
//
// App builds one Metrics and one logger a process and hands them on. The package
// may import fault, OpenTelemetry, the Prometheus client, zap and the SDK's
// metrics handler.
//
// Invariants: labels have few values, all of them names an engineer has written
// (flows, routes, outcomes), never a key, an ID or a parameter (promise 5); of an
// error the log holds what fault.Describe tells, so that no message of a driver
// or a vendor reaches it (promise 9).
package telemetry
