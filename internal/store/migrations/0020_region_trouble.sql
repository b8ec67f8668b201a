-- +goose Up
-- What one table suffers from on its way out of a region or into it; a row goes when it is over.
create table replica_trouble (
    flow  text not null,
    part  text not null,                         -- export, import, compare
    peer  text not null,                         -- '': of none
    name  text not null,                         -- of the table, and of what of it
    code  text not null,
    text  text not null,                         -- safe to show
    since timestamptz not null default now(),
    last  timestamptz not null default now(),
    primary key (flow, part, peer, name)
);

-- The last comparison of a table with another region.
create table replica_compared (
    flow      text not null,
    peer      text not null,
    name      text not null,
    at        timestamptz not null default now(),
    records   bigint not null,
    in_flight bigint not null,
    held      bigint not null,
    drift     bigint not null,
    repaired  bigint not null,
    primary key (flow, peer, name)
);

-- +goose Down
drop table replica_compared;
drop table replica_trouble;
