-- +goose Up
-- replica_feed: what a system keeps for us so that a table can be followed: a slot and a
-- publication. It is noted before it is made, and goes when the table is not followed any
-- more.
create table replica_feed (
    flow       text not null,
    name       text not null,                    -- of the table
    connection text not null,
    feed       text not null,
    asked_at   timestamptz not null,             -- when somebody began to follow it last
    primary key (flow, name, connection)
);

-- Why a table was read from the beginning once more, the last time: when, a code and a text.
alter table replica_table add anew jsonb;

-- +goose Down
alter table replica_table drop anew;
drop table replica_feed;
