-- +goose Up
-- Of records that were written to our system together it is kept once which state of theirs
-- that made: writing each of their rows again for it took longer than to write the system.

-- written is the rev of what is, or was, to be written of a record, as long as nothing else
-- became of it.
alter table replica_record add column written bigint;

-- replica_written: what became of records of one rev, those from first to last: each has at
-- least this version.
create table replica_written (
    tbl     integer not null references replica_table,
    rev     bigint not null,
    first   text collate "C" not null,
    last    text collate "C" not null,
    version bigint not null,
    primary key (tbl, rev, first)
);

-- What waits is looked for each time records were written that it may refer to.
create index replica_pending_outcome on replica_pending (tbl, outcome) where outcome <> '';

-- +goose Down
drop index replica_pending_outcome;
drop table replica_written;
alter table replica_record drop column written;
