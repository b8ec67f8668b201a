-- +goose Up
-- egress: what a person has put on hold, of what the region of this session may fetch. It
-- is looked at once in a statement.
-- +goose StatementBegin
create function egress.held() returns table (flow text, "table" text)
    language sql stable security definer set search_path = pg_catalog, pg_temp
    begin atomic
        select a.flow, a."table" from egress.acknowledged a join public.replica_pause p on p.flow = a.flow
        where a.role = session_user and (p.name = a."table" or p.peer = a.peer);
    end;
-- +goose StatementEnd
revoke execute on function egress.held from public;

-- egress: a batch of what is on hold is shown to the application and to no region. It
-- stays until it was fetched, as any other.
alter table egress.batch enable row level security;
create policy held on egress.batch using ((flow, "table") not in (select h.flow, h."table" from egress.held() h)) with check (true);

-- replica_hook: where the system of our region tells of changes, as it was asked to last.
create table replica_hook (
    flow text primary key,
    url  text not null,
    at   timestamptz not null default now()
);

-- residency_report: what a deploy of a flow lets cross which border; of run, as plans are.
create table residency_report (
    id        bigint generated always as identity primary key,
    flow      text not null,
    digest    text not null,                     -- of the plan
    at        timestamptz not null default now(),
    by        text not null,
    crossings jsonb not null                     -- array of flow.Crossing
);
create index residency_report_of on residency_report (flow, id desc);

-- +goose Down
drop table residency_report, replica_hook;
drop policy held on egress.batch;
alter table egress.batch disable row level security;
drop function egress.held;
