-- +goose Up
-- What consolidations made of one business key is found by it.
create index stage_reject_key on stage_reject (key, id) where key <> '';
create index advice_of on advice (key, id);

-- What the target said of a plan that it did not take is kept before the ledger has the
-- outcome: whoever comes after a crash in between finds it.
alter table advice add column refusal text not null default '';

-- +goose Down
alter table advice drop column refusal;
drop index stage_reject_key, advice_of;
