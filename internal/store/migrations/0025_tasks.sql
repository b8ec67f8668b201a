-- +goose Up
-- run: the tasks of runs of the pattern service. Several of one run may be in hands at the
-- same time, each under a fence of its own.
create table task (
    run_id   text not null references work (run_id) on delete cascade,
    name     text not null,                   -- of the plan
    ordinal  int not null,                    -- in which they were begun
    state    text not null
             check (state in ('running', 'done', 'skipped', 'failed', 'undoing', 'undone', 'stands')),
    fence    bigint not null,                 -- of the attempt that has it; news of an older one finds no row
    gave     json,                            -- the rows that it gave
    child    text,                            -- run_id of the flow that it called
    note     text not null default '',
    waiting  text,                            -- what it waits for, in words
    problem  jsonb,                           -- {"code", "detail", "retry"}
    begun_at timestamptz not null default now(),
    ended_at timestamptz,
    settled_by text,                          -- who put right what could not be taken back
    settled_at timestamptz,
    primary key (run_id, name)
);
-- what a person has to put right
create index task_stands on task (begun_at) where state = 'stands' and settled_at is null;

-- +goose Down
drop table task;
