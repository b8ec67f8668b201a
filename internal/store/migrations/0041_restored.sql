-- +goose Up
-- replica_home: the database that this is, by what PostgreSQL knows it by. A copy, or one that
-- was restored from a backup, is another.
create table replica_home (
    one      boolean primary key default true check (one),
    identity text not null
);

-- restored is since when a table is known to be as it was at an earlier time; null: it is
-- not. Until all is told again nothing of our system is taken for an edit, or written.
alter table replica_table add restored timestamptz;

-- replica_told: what another region tells a restored table again.
create table replica_told (
    tbl   integer not null references replica_table,
    peer  text not null,
    asked timestamptz not null,                  -- by the clock of the other region
    had   bigint not null,                       -- up to which batch we had it before
    done  boolean not null default false,
    primary key (tbl, peer)
);

-- replica_passed: values that our system may still have of a record without anybody's edit,
-- because another region replaced them.
create table replica_passed (
    tbl    integer not null references replica_table,
    uid    text collate "C" not null,
    col    text not null,
    region text not null,
    n      bigint not null,                      -- the writing that replaced them
    late   boolean not null,                     -- we never had that writing
    sums   bigint[] not null                     -- of the values, see flow.SyncCell
);
create index replica_passed_of on replica_passed (tbl, uid);

-- egress.resend: a region that asked to be told all of a table, and the last batch of that.
create table egress.resend (
    flow    text not null,
    "table" text not null,
    peer    text not null,
    asked   timestamptz not null,
    upto    bigint,                              -- null: it is not told yet
    primary key (flow, "table", peer)
);
-- +goose StatementBegin
create function egress.resend(of_flow text, of_table text) returns timestamptz
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    begin atomic
        insert into egress.resend as r (flow, "table", peer, asked)
        select a.flow, a."table", a.peer, clock_timestamp() from egress.acknowledged a
        where a.flow = of_flow and a."table" = of_table and a.role = session_user
        on conflict (flow, "table", peer) do update set asked = excluded.asked, upto = null
        returning r.asked;
    end;
-- +goose StatementEnd
-- Up to which batch what was asked for is told; null: it is not yet.
-- +goose StatementBegin
create function egress.resent(of_flow text, of_table text, since timestamptz) returns bigint
    language sql stable security definer set search_path = pg_catalog, pg_temp
    begin atomic
        select r.upto from egress.resend r join egress.acknowledged a using (flow, "table", peer)
        where r.flow = of_flow and r."table" = of_table and a.role = session_user and r.asked >= since;
    end;
-- +goose StatementEnd
revoke execute on function egress.resend, egress.resent from public;

-- +goose Down
drop function egress.resend, egress.resent;
drop table egress.resend, replica_passed, replica_told, replica_home;
alter table replica_table drop column restored;
