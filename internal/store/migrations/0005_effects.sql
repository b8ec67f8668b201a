-- +goose Up
-- What is sent by one call mostly fares alike: its members are one row, which is
-- written once when they are intended and once when their fate is known, and split
-- only when they fare differently.
alter table effect rename to member;
alter table member rename constraint effect_pkey to member_pkey;
create table effect (
    cause        text not null,               -- the run_id, window or slot; never a batch or a try
    step         text not null,
    ordinal      int not null,                -- of the first member
    target       text not null,               -- connection.table
    call_id      text,                        -- the call they were frozen in
    ordinals     int[] not null,              -- of the members: their order within the cause, for people
    keys         text[] not null,             -- their target keys, each a canonical JSON array of the key's values
    labels       text[] not null,             -- the keys in words
    sums         bytea[] not null,            -- SHA-256 of the frozen rows: a retry sends the same
    state        text not null default 'intent'
                 check (state in ('intent', 'attempt', 'confirmed', 'in_doubt', 'settled', 'refused')),
    fence        bigint not null default 0,   -- of the attempt; confirming an older one changes nothing
    whole        boolean not null default true, -- nobody else has the fence
    attempts     int not null default 0,
    unsure       boolean not null default false, -- the outcome of the attempt before this one is unknown
    reason       text,                        -- why refused or in doubt, safe to show
    intended_at  timestamptz not null default now(),
    attempted_at timestamptz,
    settled_at   timestamptz,
    primary key (cause, step, ordinal)
) with (fillfactor = 60);
insert into effect (cause, step, ordinal, target, call_id, ordinals, keys, labels, sums, state, fence, attempts, unsure, reason, intended_at, attempted_at, settled_at)
select cause, step, ordinal, target, call_id, array[ordinal], array[target_key], array[label], array[body_sha256],
       state, fence, attempts, unsure, reason, intended_at, attempted_at, settled_at
from member;
drop table member;

-- +goose Down
alter table effect rename to calls;
alter table calls rename constraint effect_pkey to calls_pkey;
create table effect (
    cause        text not null,
    step         text not null,
    target_key   text not null,
    ordinal      int not null,
    target       text not null,
    label        text not null,
    state        text not null default 'intent'
                 check (state in ('intent', 'attempt', 'confirmed', 'in_doubt', 'settled', 'refused')),
    body_sha256  bytea not null,
    call_id      text,
    fence        bigint not null default 0,
    attempts     int not null default 0,
    unsure       boolean not null default false,
    reason       text,
    intended_at  timestamptz not null default now(),
    attempted_at timestamptz,
    settled_at   timestamptz,
    primary key (cause, step, target_key)
) with (fillfactor = 50);
insert into effect (cause, step, target_key, ordinal, target, label, state, body_sha256, call_id, fence, attempts, unsure, reason, intended_at, attempted_at, settled_at)
select cause, step, m.key, m.ordinal, target, m.label, state, m.sum, call_id, fence, attempts, unsure, reason, intended_at, attempted_at, settled_at
from calls, unnest(ordinals, keys, labels, sums) as m(ordinal, key, label, sum);
drop table calls;
