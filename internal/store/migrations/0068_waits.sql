-- +goose Up
-- topic: who awaited an event in vain is found by what it awaited, and forgotten by age.
create index topic_wait_ended on topic_wait (topic, key, ended_at) where ended_at is not null;
create index topic_wait_age on topic_wait (coalesce(ended_at, until));

-- +goose Down
drop index topic_wait_age, topic_wait_ended;
