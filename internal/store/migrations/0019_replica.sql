-- +goose Up
-- replica: what this region knows of the records that regions share.

create sequence replica_id; -- of tables, layouts, conflicts, fences and revisions

-- replica_table: a table of a synchronization. Its row is locked by whoever changes what is
-- known of its records.
create table replica_table (
    id           integer primary key,
    flow         text not null,
    name         text not null,
    records      bigint not null default 0,      -- that are known, deleted ones included
    fence        bigint not null default 0,      -- of the attempt that observes it
    cursor       text not null default '',       -- how far it was observed; the reader's own
    load         jsonb,                          -- of the initial load; null: there is none
    observed_at  timestamptz,
    writer       bigint not null default 0,      -- fence of the attempt that writes what is pending
    writer_until timestamptz not null default '-infinity',
    unique (flow, name)
);

-- replica_layout: the columns by which values of records are kept. An edit of the
-- allow-list makes another layout; records take it when they change.
create table replica_layout (
    id      integer primary key,
    tbl     integer not null references replica_table,
    columns text[] not null
);
create index replica_layout_of on replica_layout (tbl);

-- replica_record: the registers of one record. Texts with several parts have U+001F
-- between them, which is in no JSON text; an empty part is an absent value. Versions are
-- stamp|region|region:count,…
create table replica_record (
    tbl     integer not null,
    layout  integer not null,
    dead    boolean not null default false,      -- it is deleted, and nothing was written later
    version bigint,                              -- its newest state in our system, where that has numbers
    uid     text collate "C" not null,           -- the key that it had first
    key     text collate "C",                    -- its key, where that is another one
    id      text collate "C",                    -- our system's own, where that is not the key
    cells   text not null,
    ver     text not null,                       -- of all values but
    vers    jsonb,                               -- these, and all writings of what is held
    gone    text,                                -- the version of its deletion
    moved   text,                                -- and of its key
    primary key (tbl, uid)
) with (fillfactor = 90);
create index replica_record_key on replica_record (tbl, key) where key is not null;
create index replica_record_id on replica_record (tbl, id) where id is not null;

-- replica_pending: a record of which our system holds something else than the
-- registers say, and what that is (base). Without a row it holds just that.
create table replica_pending (
    tbl      integer not null,
    absent   boolean not null,                   -- our system has no such record
    attempts integer not null default 0,
    rev      bigint not null,                    -- changes with what is pending
    seen     bigint not null,                    -- changes with what was observed
    due      timestamptz not null,               -- infinity: not by itself
    since    timestamptz not null,
    uid      text collate "C" not null,
    key      text collate "C",                   -- that our system has, where it is another one
    outcome  text not null default '',           -- '': to be written; held, waiting, rejected, truncated
    code     text not null default '',
    reason   text not null default '',
    base     jsonb,                              -- where values differ
    primary key (tbl, uid)
);
create index replica_pending_key on replica_pending (tbl, key) where key is not null;

-- replica_received: how far we have another region's batches.
create table replica_received (
    tbl   integer not null references replica_table,
    peer  text not null,
    upto  bigint not null,
    at    timestamptz not null,
    stamp bigint not null default 0,             -- the greatest that was received, microseconds
    primary key (tbl, peer)
);

-- replica_conflict: writings of a value that did not know of each other.
create table replica_conflict (
    id         bigint primary key,
    tbl        integer not null references replica_table,
    uid        text collate "C" not null,
    col        text not null,
    rule       jsonb not null,
    opened_at  timestamptz not null default now(),
    decided_at timestamptz,                      -- null: it is held, and the record has the values
    decided_by text not null default '',
    cells      jsonb,                            -- the values of one that was decided
    winner     jsonb
);
create unique index replica_conflict_open on replica_conflict (tbl, uid, col) where decided_at is null;
create index replica_conflict_of on replica_conflict (tbl, uid, id);
create index replica_conflict_new on replica_conflict (tbl, id);

-- replica_refused: records of our system that cannot be shared as they are.
create table replica_refused (
    tbl     integer not null references replica_table,
    key     text collate "C" not null,
    own     text collate "C" not null,           -- the system's ID
    at      timestamptz not null default now(),
    outcome text not null,
    code    text not null,
    primary key (tbl, key, own)
);

create table replica_pause (
    flow text not null,
    name text not null,                          -- of a table, or
    peer text not null,                          -- another region; the other one is ''
    by   text not null,
    why  text not null default '',
    at   timestamptz not null default now(),
    primary key (flow, name, peer)
);

-- replica_column: what the columns of a table are beyond their names.
create table replica_column (
    tbl      integer not null references replica_table,
    name     text not null,
    identity text not null,
    type     text not null default '',
    at       timestamptz not null default now(),
    primary key (tbl, name)
);

-- +goose Down
drop table replica_column, replica_pause, replica_refused, replica_conflict, replica_received, replica_pending, replica_record, replica_layout, replica_table;
drop sequence replica_id;
