// Package httpapi is the way in over HTTP: the API, its descriptions (OpenAPI,
// Power Platform), live events, health, and the gate in front of the console.
//
// It owns everything a caller sees of HTTP: routes, authentication, limits, the
// mapping of faults to problem+json, and nothing else. What the routes do is
// behind the small interfaces of Options, filled by app from starters, run and
// journal. It imports flow, fault, strictjson, huma and zap.
//
// Invariants: every request passes the gate in the same order (host, path,
// method, principal, body) before a route sees it, and no route reads a body by
// itself; a 2xx for a press is written only after Trigger has returned, which is
// after the commit (promise 1); an answer holds nothing of an error but its
// fault (promise 5); somebody else's run is a run that does not exist. One
// function, statusOf, knows which failure is which HTTP status.
package httpapi
