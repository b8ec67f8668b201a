-- +goose Up
-- Dead letters: runs that failed for good, until a person has dealt with each.

-- run: written by the transaction that closes the run. What the run was asked for is
-- in its row, what it has written in the ledger: neither changes while it is dead.
create table dead (
    run_id     text primary key references work (run_id),
    flow       text not null,
    reason     text not null,                 -- the final reason of the run
    code       text not null,                 -- of its problem
    problem    jsonb not null,                -- {"code", "detail", "retry"}
    died_at    timestamptz not null default now(),
    times      int not null default 1,        -- how often it has died
    state      text not null default 'dead' check (state in ('dead', 'redriven', 'dismissed')),
    decided_at timestamptz,
    decided_by text,
    note       text,                          -- why it was dismissed
    into_run   text references work (run_id)  -- that a redrive goes on as: itself, or a new one
) with (fillfactor = 70);
create index dead_state on dead (state, died_at, run_id);
create index dead_flow on dead (flow, state, died_at, run_id);
create index dead_into on dead (into_run) where into_run <> run_id;

-- A redrive accepts a run again, and each acceptance has one final reason.
alter table work
    add column round      smallint not null default 0,  -- how often it was accepted again
    add column redrive_of text references work (run_id); -- the dead letter that this run was made of
alter table journal add column round smallint not null default 0;
drop index journal_final;
create unique index journal_final on journal (run, round) where final;

insert into dead (run_id, flow, reason, code, problem, died_at)
select w.run_id, w.flow, j.reason, w.problem->>'code', w.problem, w.closed_at
from work w join journal j on j.run = w.run_id and j.final
where w.state = 'failed' and w.leader is null and w.problem is not null and w.problem->>'code' <> 'source.not_found';

-- +goose Down
drop index journal_final;
update journal j set final = false where final and exists (select from journal n where n.run = j.run and n.final and n.round > j.round);
create unique index journal_final on journal (run) where final;
alter table journal drop column round;
alter table work drop column round, drop column redrive_of;
drop table dead;
