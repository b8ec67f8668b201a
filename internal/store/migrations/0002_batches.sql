-- +goose Up
-- Several presses under one workflow: what belongs to a claim moves from its rows
-- to a row of its own.

-- run: a claim, one workflow. Its items carry its batch_id until they are put back.
create table batch (
    batch_id    text primary key,
    flow        text not null,
    pattern     text not null,
    digest      text not null references plan (digest),
    class       smallint not null default 0,
    tier        smallint not null default 0,  -- of its items: 0 none was in trouble, 1 all were once, 2 it had to be alone
    size        int not null,
    claimed_at  timestamptz not null default now(),
    lease_until timestamptz not null,         -- when it lapses unrelayed, the same batch is sent again
    relayed_at  timestamptz,                  -- Temporal has accepted the start
    settled_at  timestamptz,                  -- it carries nothing any more
    done        int not null default 0        -- items that found their end in it
) with (fillfactor = 60);
-- the batches in flight of a flow, and those that settled lately
create index batch_flow on batch (flow, settled_at);
create index batch_open on batch (claimed_at) where settled_at is null;
create index batch_due on batch (lease_until) where relayed_at is null and settled_at is null;

insert into batch (batch_id, flow, pattern, digest, class, size, claimed_at, lease_until, relayed_at, settled_at, done)
select batch_id, min(flow), min(pattern), min(digest), min(class), count(*), min(order_at), coalesce(min(lease_until), now()), min(relayed_at),
       case when bool_and(state in ('completed', 'failed', 'cancelled')) then max(closed_at) end,
       count(*) filter (where state in ('completed', 'failed', 'cancelled'))
from work where batch_id is not null group by batch_id;

drop index work_due;
-- An update that moves no index finds room beside the row.
alter table work set (fillfactor = 70);
alter table effect set (fillfactor = 50);
alter table work
    drop column lease_until,
    drop column relayed_at,
    add column order_key   text,              -- rows with equal ones are carried out one after the other
    add column due_at      timestamptz,       -- not claimed before it: put back for later
    add column share       text,              -- digest of the request while identical ones may join it
    add column leader      text references work (run_id), -- whose answer this row gets; it is never claimed itself
    add column detached_at timestamptz,       -- its owner has left, the work goes on for its followers
    add column workflow_id text;              -- of a press that came by the second door; else it follows from the batch
-- rows that wait to be claimed, in order
create index work_waiting on work (flow, class, order_at)
    where batch_id is null and leader is null and state in ('accepted', 'running');
create unique index work_order on work (flow, order_key)
    where order_key is not null and batch_id is not null and state in ('accepted', 'running', 'parked');
create index work_ordered on work (flow, order_key, accepted_at) where order_key is not null and state in ('accepted', 'running', 'parked');
create unique index work_share on work (share) where share is not null;
create index work_followers on work (leader) where leader is not null;

-- +goose Down
alter table work
    add column lease_until timestamptz,
    add column relayed_at  timestamptz;
update work w set lease_until = b.lease_until, relayed_at = b.relayed_at from batch b where b.batch_id = w.batch_id;
drop index work_waiting, work_order, work_ordered, work_share, work_followers;
alter table work
    drop column order_key, drop column due_at, drop column share, drop column leader, drop column detached_at, drop column workflow_id;
alter table work reset (fillfactor);
alter table effect reset (fillfactor);
create index work_due on work (flow, class, order_at) where state = 'accepted' and relayed_at is null;
drop table batch;
