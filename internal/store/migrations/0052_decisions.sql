-- +goose Up
-- run: where what a task of a hybrid run gave is from: source and time, or calculator, seed and input.
alter table task add about json;

-- decision: what was decided about hybrid runs, each once, and what people who review said.
create table decision (
    run_id      text primary key references work (run_id) on delete cascade,
    flow        text not null,
    plan        text not null,                 -- digest
    rules       json not null ,                -- what the rules are, by themselves
    rules_sum   text not null,                 -- their digest
    state       text not null check (state in ('open', 'decided')),
    facts       json not null ,                -- the case: parameters, inputs, computations, gaps
    ruling      json not null ,                -- what the rules said
    summary     text not null default '',
    four_eyes   boolean not null default false,
    conflicts   text[] not null default '{}',  -- who may not decide
    shown       json not null  default '{}',
    late        text not null default '',
    due_at      timestamptz,
    workflow_id text not null,                 -- whom to wake
    opened_at   timestamptz not null default now(),
    outcome     text check (outcome in ('approve', 'decline', 'refuse', 'expire')),
    reasons     json,
    decided_by  text,
    decided_at  timestamptz,
    woken_at    timestamptz,                   -- the run knows
    capsule     bytea,                         -- sealed with the decision
    check ((state = 'decided') = (outcome is not null)),
    check ((outcome is null) = (capsule is null))
);
create index decision_open on decision (due_at, run_id) where state = 'open';
create index decision_wake on decision (run_id) where state = 'decided' and woken_at is null;
create index decision_decided on decision (decided_at) where state = 'decided';

create table opinion (
    run_id   text not null references decision (run_id) on delete cascade,
    by       text not null,
    decision text not null check (decision in ('approve', 'decline')),
    reason   text not null,
    at       timestamptz not null default now(),
    primary key (run_id, by)                   -- a person speaks once
);

-- +goose Down
drop table opinion;
drop table decision;
alter table task drop about;
