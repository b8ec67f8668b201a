-- +goose Up
-- A run is open until it has closed. The indexes of open rows say it by that column,
-- which changes once, and not by the state, which changes at every step: a step then
-- moves no index and finds room beside the row.
drop index work_open, work_waiting, work_order, work_ordered;
create index work_open on work (flow) where closed_at is null;
-- rows that wait to be claimed, in order
create index work_waiting on work (flow, class, order_at) where batch_id is null and leader is null and closed_at is null;
create unique index work_order on work (flow, order_key) where order_key is not null and batch_id is not null and closed_at is null;
create index work_ordered on work (flow, order_key, accepted_at) where order_key is not null and closed_at is null;
alter table work add constraint work_closed check ((closed_at is not null) = (state in ('completed', 'failed', 'cancelled')));

-- +goose Down
alter table work drop constraint work_closed;
drop index work_open, work_waiting, work_order, work_ordered;
create index work_open on work (flow) where state in ('accepted', 'running', 'parked');
create index work_waiting on work (flow, class, order_at)
    where batch_id is null and leader is null and state in ('accepted', 'running');
create unique index work_order on work (flow, order_key)
    where order_key is not null and batch_id is not null and state in ('accepted', 'running', 'parked');
create index work_ordered on work (flow, order_key, accepted_at) where order_key is not null and state in ('accepted', 'running', 'parked');
