-- +goose Up
-- What became of every row that a consolidation read; null for other runs.
alter table work add column completeness json;

-- +goose Down
alter table work drop column completeness;
