-- +goose Up
-- slot: what ran about a time is found without reading all that ever ran.
create index slot_started on slot (flow, started_at) where started_at is not null;
create index slot_run_closed on slot_run (flow, closed_at);

-- +goose Down
drop index slot_run_closed, slot_started;
