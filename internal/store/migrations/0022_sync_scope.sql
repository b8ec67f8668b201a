-- +goose Up
-- Of which columns a table is read, and of which all that was there has been: the reader's
-- own, as the cursor is.
alter table replica_table add column scope jsonb;

-- +goose Down
alter table replica_table drop column scope;
