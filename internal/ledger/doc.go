// Package ledger owns the tables effect and seal: every write to an outside
// system, from intent to a known outcome (promise 2), and the seal that lets no
// new attempt of a cancelled cause begin (promise 3).
//
// An activity asks, through package run, before it sends (Begin), and is told which
// members to send and which of those an earlier attempt may already have written.
// What it learns comes back as Outcomes, compared and set on the fence of the
// attempt, so a zombie's news of a superseded attempt changes nothing. States:
// intent → attempt → confirmed or refused; attempt ⇄ in_doubt → settled.
//
// Members of one call that fare alike are one row, split when they fare differently.
//
// Invariants: an effect is known by (cause, step, target key) and nothing else, so
// retries, resets and redrives meet the same row; its body is frozen at intent;
// confirmed and settled never change, refused only by Reopen. Whoever begins, settles
// or seals holds the cause: the one row of package run that all of them lock. After a
// Seal has committed no attempt begins, and one that had begun is in the certificate.
// All functions work in the owner's transaction. It may import store, flow, fault and pgx.
package ledger
