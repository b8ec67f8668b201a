-- +goose Up
-- computed: what a calculator made of an input, known by an HMAC of function, version, model, seed
-- and input.
create table computed (
	question   bytea primary key,
	function   text not null,
	version    text not null,
	run_id     text not null,                     -- that it was computed for
	at         timestamptz not null default now(),
	output     bytea,
	keep_until timestamptz not null               -- the output; then it is erased
);
create index computed_erase on computed (keep_until) where output is not null;

create table computed_use (
	question bytea not null references computed (question),
	run_id   text not null,
	at       timestamptz not null default now(),
	primary key (question, run_id)
);

-- +goose Down
drop table computed_use;
drop table computed;
