-- +goose Up
-- slot: the schedules in force, one row a flow. Temporal's schedules are made equal to
-- them; times of slots are computed from them.
create table schedule (
    flow       text primary key,
    spec       jsonb not null,                  -- flow.Schedule
    since      timestamptz not null,            -- slots after it are expected
    filled_to  timestamptz not null,            -- slots up to it stand in table slot
    made       text not null default '',        -- what Temporal's schedule was last made of, as a digest; empty: it is to be made; lost: again
    dropped_at timestamptz,                     -- its flow is dead, or has no schedule any more: Temporal's is to be removed
    told       boolean not null default true,   -- Temporal knows whether it is paused
    silent_at  timestamptz,                     -- the first slot that nothing started or explained; null: it speaks
    nudged_at  timestamptz,                     -- when Temporal's schedule was last woken for it
    forecast   jsonb                            -- flow.Forecast, made when a run ended
);

-- slot: when a schedule was paused, and why.
create table schedule_pause (
    flow   text not null,
    since  timestamptz not null,
    until  timestamptz,                         -- null: it is
    by     text not null,
    reason text not null,
    primary key (flow, since)
);
create unique index schedule_paused on schedule_pause (flow) where until is null;

-- slot: one row for each time of a schedule, with what became of it.
create table slot (
    flow        text not null,
    at          timestamptz not null,           -- before jitter
    due_by      timestamptz not null,           -- a run that begins later is late
    outcome     text not null default 'expected',
    reason      text not null default '',
    run_id      text,
    taken_at    timestamptz,                    -- when Temporal started its workflow, if no worker told
    started_at  timestamptz,
    ended_at    timestamptz,
    backfill_at timestamptz,                    -- when a backfill asked for it
    backfill_by text not null default '',
    primary key (flow, at)
);
create index slot_undecided on slot (flow, at) where outcome in ('expected', 'running');
create index slot_missed on slot (flow, at) where outcome = 'missed';

-- slot: the runs of consolidations, of slots and by hand. One that is exclusive is the
-- only open one of its flow.
create table slot_run (
    run_id      text primary key,
    flow        text not null,
    at          timestamptz,                    -- its slot; null: a person asked for it
    workflow_id text not null,
    exclusive   boolean not null,
    opened_at   timestamptz not null default now(),
    closed_at   timestamptz,
    status      text not null default 'running', -- flow.Status
    rows        bigint not null default 0,      -- read from all sources
    bytes       bigint not null default 0
);
create unique index slot_run_open on slot_run (flow) where closed_at is null and exclusive;
create index slot_run_flow on slot_run (flow, opened_at);
create index slot_run_watched on slot_run (opened_at) where closed_at is null;

-- +goose Down
drop table slot_run, slot, schedule_pause, schedule;
