-- +goose Up
-- replica: what a record says of others that are not known yet, by column: the system's IDs
-- of those. It is told when they are known.
alter table replica_refused
    add awaits     jsonb,
    add changed_at timestamptz,                  -- when the system changed the record to that; null: it does not say
    add fills      boolean not null default false; -- it was there when its columns were allowed to cross

-- +goose Down
alter table replica_refused drop awaits, drop changed_at, drop fills;
