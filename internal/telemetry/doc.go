// Package telemetry is what a process tells of itself: the metrics behind
// /metrics and the logger.
//
// App builds one of each and hands them down. It wraps OpenTelemetry, its
// Prometheus exporter and zap; nothing else of Patchbay.
//
// Invariants: labels are flows, outcomes, routes and statuses, a set that the
// applied flows bound; no key, no principal and no value of a row is ever a
// label or a log field (promise 5).
package telemetry
