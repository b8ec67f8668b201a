-- +goose Up
-- replica: what a comparison found, by kind. Drift is the sum of the last three.
alter table replica_compared
    add pending bigint not null default 0,       -- not where they should be yet, for a reason that is known
    add changed bigint not null default 0,       -- other values
    add missing bigint not null default 0,       -- not there
    add added   bigint not null default 0;       -- there, and nobody told of it
create index replica_record_dead on replica_record (tbl, uid) where dead;

-- egress: a region that wants to compare asks for digests of what this region knows, and
-- gets those that were made after it asked. Digests are of the columns of egress.border
-- and of nothing else. Other regions have these functions, and no right on the tables.
create table egress.published (
    flow     text not null,
    "table"  text not null,
    asked    timestamptz not null,
    answered timestamptz,                        -- the question that was the last when they were made
    parts    integer,                            -- in how many the records lie
    last     bigint,                             -- all batches up to this one are in them,
    received jsonb,                              -- and so is what came from other regions up to these
    columns  text[],
    primary key (flow, "table")
);
create table egress.digest (
    flow    text not null,
    "table" text not null,
    part    integer not null,
    rows    bigint not null,                     -- records that are there
    digest  bigint not null,                     -- of them
    entries bytea not null,                      -- of each, deleted ones included: eight bytes of its name, eight of its values
    primary key (flow, "table", part)
);
-- +goose StatementBegin
create function egress.ask(of_flow text, of_table text) returns timestamptz
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    begin atomic
        insert into egress.published as p (flow, "table", asked)
        select a.flow, a."table", clock_timestamp() from egress.acknowledged a
        where a.flow = of_flow and a."table" = of_table and a.role = session_user
        on conflict (flow, "table") do update set asked = excluded.asked
        returning p.asked;
    end;
-- +goose StatementEnd
-- +goose StatementBegin
create function egress.answer(of_flow text, of_table text)
    returns table (answered timestamptz, parts integer, last bigint, received jsonb, columns text[])
    language sql stable security definer set search_path = pg_catalog, pg_temp
    begin atomic
        select p.answered, p.parts, p.last, p.received, p.columns from egress.published p join egress.acknowledged a using (flow, "table")
        where p.flow = of_flow and p."table" = of_table and a.role = session_user and p.answered is not null;
    end;
-- +goose StatementEnd
-- The digests of all parts, without entries, or those of some, with them.
-- +goose StatementBegin
create function egress.digests(of_flow text, of_table text, wanted integer[])
    returns table (part integer, rows bigint, digest bigint, entries bytea)
    language sql stable security definer set search_path = pg_catalog, pg_temp
    begin atomic
        select d.part, d.rows, d.digest, case when wanted is not null then d.entries end
        from egress.digest d join egress.acknowledged a using (flow, "table")
        where d.flow = of_flow and d."table" = of_table and a.role = session_user and (wanted is null or d.part = any (wanted));
    end;
-- +goose StatementEnd
revoke execute on function egress.ask, egress.answer, egress.digests from public;

-- +goose Down
drop function egress.ask, egress.answer, egress.digests;
drop table egress.published, egress.digest;
drop index replica_record_dead;
alter table replica_compared drop pending, drop changed, drop missing, drop added;
