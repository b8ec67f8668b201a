-- +goose Up
-- egress: the border of a region. What the other regions may fetch of a table lies in a
-- table of this schema, which apply makes as the owner: its name is relation, its columns
-- are the key, what may cross, and ours, whose names begin with a colon.
create schema egress;

-- egress: a table of a flow whose rows cross.
create table egress.border (
    flow     text not null,
    "table"  text not null,
    relation text not null unique,
    key      text[] not null,                    -- the source's names
    columns  text[] not null,                    -- all of relation that may be selected
    last     bigint not null default 0,          -- the latest batch; its row lock is the order of batches
    primary key (flow, "table")
);

-- egress: a batch that somebody has still to fetch. IDs follow the clock, so that a
-- database that was restored gives none again that was fetched before.
create table egress.batch (
    flow    text not null,
    "table" text not null,
    batch   bigint not null,
    key     text[] not null,                     -- that its rows are known by
    rows    bigint not null,
    bytes   bigint not null,
    made_at timestamptz not null default clock_timestamp(),
    oldest  timestamptz not null,                -- of its changes, by their sources' clocks
    primary key (flow, "table", batch)
);

-- egress: how far each other region has come.
create table egress.acknowledged (
    flow    text not null,
    "table" text not null,
    peer    text not null,                       -- the region
    role    name not null,                       -- as which it comes
    batch   bigint not null default 0,
    at      timestamptz,                         -- when it said so last
    primary key (flow, "table", peer)
);

-- egress: how far the region of this session has come; never back, and never beyond what
-- there is. Null: it has no part in this table.
-- +goose StatementBegin
create function egress.acknowledge(of_flow text, of_table text, upto bigint) returns bigint
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    begin atomic
        update egress.acknowledged a
        set batch = greatest(a.batch, least(upto, (select b.last from egress.border b where b.flow = of_flow and b."table" = of_table))),
            at = clock_timestamp()
        where a.flow = of_flow and a."table" = of_table and a.role = session_user
        returning a.batch;
    end;
-- +goose StatementEnd
-- +goose StatementBegin
create function egress.acknowledged(of_flow text, of_table text) returns bigint
    language sql stable security definer set search_path = pg_catalog, pg_temp
    begin atomic
        select a.batch from egress.acknowledged a where a.flow = of_flow and a."table" = of_table and a.role = session_user;
    end;
-- +goose StatementEnd
revoke execute on function egress.acknowledge, egress.acknowledged from public;

-- +goose Down
drop schema egress cascade;
