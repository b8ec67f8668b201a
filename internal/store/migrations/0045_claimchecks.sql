-- +goose Up
-- claimcheck: the bytes of documents, once each, and who still needs them. The reference
-- from claim to content is what keeps a document that is needed from being removed.
create table content (
    id         bigint generated always as identity primary key,
    sha256     bytea unique,                  -- null while it is still being read
    size       bigint not null default 0,
    touched_at timestamptz not null default now()
);
create index content_touched on content (touched_at);

create table content_part (
    content bigint not null,
    n       int    not null,                  -- from 0; each but the last of one size
    bytes   bytea  not null,
    primary key (content, n)
);
alter table content_part alter column bytes set storage external; -- not to be compressed, what it holds mostly is

create table claim (
    content bigint not null references content (id),
    run_id  text,                             -- needed by this run, or
    event   bigint references topic_event (id) on delete cascade,
    made_at timestamptz not null default now(),
    check ((run_id is null) <> (event is null))
);
create unique index claim_run on claim (run_id, content) where run_id is not null;
create unique index claim_event on claim (event, content) where event is not null;
create index claim_content on claim (content);

-- +goose Down
drop table claim;
drop table content_part;
drop table content;
