-- +goose Up
-- topic: business events, each taken once at most by a run that awaits it, and who awaits what.
create table topic_event (
    id            bigint generated always as identity primary key,
    topic         text not null,               -- with its version
    event_id      text not null,               -- the sender's
    key           text not null,               -- the business key
    data          jsonb not null,              -- the fields that a contract names
    sum           bytea not null,              -- SHA-256 of data, to know a repetition
    source        text not null,               -- who sent it
    state         text not null default 'kept' check (state in ('kept', 'taken', 'expired')),
    why           text not null default '',
    run_id        text,                        -- who took it
    task          text,
    received_at   timestamptz not null default now(),
    expires_at    timestamptz not null,
    dispatched_at timestamptz,                 -- those who awaited it had been woken
    ended_at      timestamptz,
    unique (topic, event_id),
    check ((state = 'taken') = (run_id is not null))
);
create index topic_event_key on topic_event (key, topic);
create index topic_event_dispatch on topic_event (id) where dispatched_at is null;
create index topic_event_expiry on topic_event (expires_at) where state = 'kept';
create index topic_event_age on topic_event (ended_at) where ended_at is not null;

create table topic_wait (
    run_id      text not null,
    task        text not null,
    topic       text not null,
    key         text not null,
    match       jsonb not null,                -- equalities that an event has to meet
    workflow_id text not null,                 -- whom to wake
    since       timestamptz not null default now(),
    until       timestamptz not null,
    event       bigint,                        -- that it took
    ended_at    timestamptz,
    primary key (run_id, task)
);
create index topic_wait_key on topic_wait (topic, key) where ended_at is null;

-- +goose Down
drop table topic_wait;
drop table topic_event;
