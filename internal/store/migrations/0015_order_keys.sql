-- +goose Up
-- The open rows of an order key are found by the key. An index that begins with the flow
-- seemed no better than the others that do, until statistics said how long the queue is:
-- each row of a claim then read all open rows of its flow.
drop index work_ordered;
create index work_ordered on work (order_key, flow, accepted_at) where order_key is not null and closed_at is null;

-- +goose Down
drop index work_ordered;
create index work_ordered on work (flow, order_key, accepted_at) where order_key is not null and closed_at is null;
