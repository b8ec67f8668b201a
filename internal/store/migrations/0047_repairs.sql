-- +goose Up
-- run: tasks of services that could not be taken back, each a task for a person.
alter table task
    add was text,                              -- its state before its run was abandoned; null: it was tried to take it back
    add stands_at timestamptz,                 -- since when it stands
    add settled_note text;                     -- what the person did

-- topic: what people decide of events that are dead or expired.
alter table topic_event
    add redriven int not null default 0,       -- how often it was offered again
    add decided_at timestamptz,                -- it was put aside
    add decided_by text,                       -- who did that, or offered it again last
    add note text;                             -- why it was put aside
create index topic_event_dead on topic_event (id) where state in ('dead', 'expired') and decided_at is null;
create index topic_run_dead on topic_run (event) where code is not null;

-- +goose Down
drop index topic_run_dead, topic_event_dead;
alter table topic_event drop redriven, drop decided_at, drop decided_by, drop note;
alter table task drop was, drop stands_at, drop settled_note;
