-- +goose Up
-- topic: an event is found by the sender's ID alone, by whoever asks what became of it.
create index topic_event_id on topic_event (event_id);

-- +goose Down
drop index topic_event_id;
