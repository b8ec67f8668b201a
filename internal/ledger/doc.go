// Package ledger owns the tables effect and seal: every write to an outside
// system, from intent to a known outcome (promise 2), and the seal that lets no
// new attempt of a cancelled cause begin (promise 3).
//
// An activity asks Attempt before it sends, and is told which members to send
// and which of those an earlier attempt may already have written. What it learns
// comes back as Outcomes, compared and set on the fence of the attempt, so that a
// zombie's news about an attempt that has been superseded changes nothing. States:
// intent → attempt → confirmed or refused; attempt ⇄ in_doubt → settled.
//
// Invariants: an effect is known by (cause, step, target key) and nothing else,
// so retries, resets and redrives meet the same row; its body is frozen at
// intent; confirmed, refused and settled never change. Attempt holds a shared
// advisory lock on the cause and Seal the exclusive one: after a Seal has
// committed no attempt begins, and one that had begun is in the certificate.
// Package run settles and seals in its own transactions, hence the functions that
// take a pgx.Tx. It may import store, flow, fault and pgx.
package ledger
