-- +goose Up
-- replica_page: records that came together, as long as nothing became of them: some hundred in
-- one row, in place of a row of replica_record for each. A record is in a page or has a row,
-- never both; what is pending of one by itself it has a row for. No two pages of one size of keys overlap.
create table replica_page (
    tbl     integer not null,
    size    integer not null,                    -- bytes of each of its uids
    first   text collate "C" not null,           -- and the first and the last of them
    last    text collate "C" not null,
    layout  integer not null,
    version bigint,                              -- of all of them, as in replica_record,
    written bigint,                              -- and so is this
    records integer not null,
    away    integer[] not null default '{}',     -- the places, from 1, of those that have a row by now
    uids    text not null,                       -- in ascending order, with U+001E between
    cells   text not null,                       -- as in replica_record, with U+001E between
    ver     text,                                -- of all of them, or
    vers    text,                                -- of each, with U+001E between
    primary key (tbl, size, first)
);
-- They are read whole and go soon: to compress them is not worth the time.
alter table replica_page alter uids set storage external, alter cells set storage external, alter vers set storage external;
create index replica_page_written on replica_page (tbl, written) where written is not null;

-- replica_paged: the records of the pages, as replica_record would have them.
create view replica_paged as
    select p.tbl, p.layout, false as dead, p.version, u.uid, null::text collate "C" as key, null::text collate "C" as id, u.cells, coalesce(p.ver, u.ver) as ver,
        null::jsonb as vers, null::text as gone, null::text as moved, p.written, p.first, p.last
    from replica_page p
    cross join lateral rows from (string_to_table(p.uids, E'\x1e'), string_to_table(p.cells, E'\x1e'), string_to_table(p.vers, E'\x1e')) with ordinality as u (uid, cells, ver, n)
    where u.n <> all (p.away);

-- +goose Down
insert into replica_record (tbl, layout, version, uid, cells, ver, written) select tbl, layout, version, uid, cells, ver, written from replica_paged;
drop view replica_paged;
drop table replica_page;
