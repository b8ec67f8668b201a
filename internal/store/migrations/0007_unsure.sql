-- +goose Up
-- When the attempt was made whose outcome is unknown: a target that shows what it
-- holds only after a while is asked again until that is over.
alter table effect add column unsure_at timestamptz;

-- +goose Down
alter table effect drop column unsure_at;
