// Package strictjson reads JSON that came from outside: request bodies, webhook
// payloads, stored captures of either.
//
// It refuses what encoding/json forgives and two readers could understand
// differently: duplicate keys, keys that match only without regard to case,
// trailing data, a byte order mark, bad UTF-8, lone surrogates, NaN, numbers
// beyond the range of a double, and nesting deeper than 64. Numbers stay text
// (json.Number), so nothing is rounded.
//
// Every error is a *fault.Fault of class Invalid that names the byte offset,
// line and column, or the path of every wrong field; never a value.
//
// Anyone may import it; it imports fault and the standard library only. Its
// functions hold no state and are safe for concurrent use.
package strictjson
