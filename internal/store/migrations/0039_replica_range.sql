-- +goose Up
-- Records that came together and that our system does not have need no row each that says so
-- in replica_pending: their range does, until it is written.

-- A range without a version is to be written: the records of this rev from first to last that
-- have no row in replica_pending are absent in our system.
alter table replica_written alter column version drop not null;
alter table replica_written add column rows bigint not null default 0; -- how many are to be written, or were,
alter table replica_written add column since timestamptz;              -- since when,
alter table replica_written add column peer text not null default '';  -- and the region that they came from
-- Which of our system's transactions are ours and known, is found by what they made.
create index replica_written_made on replica_written (tbl, version);

-- +goose Down
insert into replica_pending (tbl, absent, rev, seen, due, since, uid)
select w.tbl, true, w.rev, w.rev, now(), w.since, r.uid
from replica_written w join replica_record r on r.tbl = w.tbl and r.written = w.rev and r.uid between w.first and w.last
where w.version is null on conflict do nothing;
update replica_written set version = 0 where version is null;
drop index replica_written_made;
alter table replica_written alter column version set not null, drop column rows, drop column since, drop column peer;
