-- +goose Up
-- topic: runs that events started, and flows that an event could not start.
create table topic_run (
    event   bigint not null references topic_event on delete cascade,
    flow    text not null,
    run_id  text,                              -- that it started
    code    text,                              -- or why it started none
    detail  text,
    at      timestamptz not null default now(),
    primary key (event, flow),
    check ((run_id is null) <> (code is null))
);
create index topic_run_run on topic_run (run_id);
alter table topic_event drop constraint topic_event_state_check;
alter table topic_event add constraint topic_event_state_check check (state in ('kept', 'taken', 'delivered', 'dead', 'expired'));

-- +goose Down
drop table topic_run;
alter table topic_event drop constraint topic_event_state_check;
alter table topic_event add constraint topic_event_state_check check (state in ('kept', 'taken', 'expired'));
