// Package mail is the sandbox's mail server: it takes mail by SMTP as RFC 5321 and
// its extensions say, sends nothing on, and keeps what it took for people and tests
// to look at.
//
// The sandbox makes a Drop on its store, serves it on a port of its own and asks it
// for the mails. It imports storage (rows) and record (what each transaction came
// to), nothing else of Patchbay.
//
// Invariants: a mail is committed before its 250 is sent, and one that was not
// committed never gets a 250; n counts the mails without gaps; a fault of the state
// "dot" without a status has the mail stored and its answer lost; a mail beyond the
// limit of a minute is refused, and stands in the record as a violation.
package mail
