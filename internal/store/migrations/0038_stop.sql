-- +goose Up
-- stop: what is not to be started now: flows and connections that a person holds, and
-- connections whose system answers nobody (the circuit breaker of all processes).
create table stop (
	kind     text not null check (kind in ('flow', 'connection')),
	name     text not null,
	cause    text not null check (cause in ('held', 'resting')),
	since    timestamptz not null default now(),
	until    timestamptz,                        -- of a rest: then one start and one request try
	times    integer not null default 0,         -- rests in a row, without an answer between them
	trying   timestamptz,                        -- somebody tries, and has until then
	by       text not null default '',           -- who holds it
	reason   text not null,                      -- safe to show
	primary key (kind, name, cause),
	check (cause = 'held' or kind = 'connection' and until is not null)
);

-- +goose Down
drop table stop;
