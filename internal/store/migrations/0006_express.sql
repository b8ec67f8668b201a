-- +goose Up
-- A press that claimed itself ahead of others who wait.
alter table batch add column express boolean not null default false;

-- +goose Down
alter table batch drop column express;
