// Package conformance is the suite that every connector passes: what a flow may
// rely on whatever the system behind a connection is.
//
// A connector's test describes in a Harness how its vendor answers well, and
// calls Run; the suite plays a vendor that answers badly. Sheets asks the same of
// sheets, Versions of writes by version, RunDatabase of a real system behind a bad line. It is used in tests
// only and imports connector, fault and testify.
//
// It asks: are pages complete and in order, does only what was asked for leave
// the connector, is every failure the right class of fault, does no fault show a
// value, a secret or an address, is nothing sent while a system wants silence or
// rests because it is away, is a caller that our own limits hold up told so, does
// a dying token cost one call, is a write whose answer was lost in doubt and sent
// once, and is one not sent whose sender may not send any more.
package conformance
