// Package stage keeps what consolidations read, what they made of it and what their
// targets took. It owns the schema stage and the tables stage_*; activities call it.
//
// A full read of a source fills a table of its own, a generation; completing it moves
// the pointer of the source (stage_source), so that what was read last and whole is
// always there. A read since a watermark is merged into the generation by identity.
// A join reads generations sorted, compares with what the target took (stage_level) and
// freezes what differs in chunks.
//
// Invariants: a page's rows, its cursor and its token are one transaction under the
// fence of the attempt, so that a kill costs one page and a zombie changes nothing; the
// next watermark is never later than what was certain when the read began; nothing is
// believed that the volume guard does not believe. It imports store, join, flow, fault.
package stage
