-- +goose Up
-- paid_inquiry: what providers were asked for money. A question is known by an HMAC, never by its
-- text; the provider knows a repeated one by its reference, which stands here before it is sent.
create table paid_inquiry (
	question   bytea not null,
	n          integer not null,                  -- the how many-th payment for this question
	reference  text not null unique,
	connection text not null,
	flow       text not null,
	run_id     text not null,                     -- that it is paid for
	source     text not null default '',          -- of the flow
	state      text not null check (state in ('asking', 'doubt', 'answered', 'refused', 'spoiled')),
	price      numeric(16,4) not null check (price >= 0),
	currency   text not null,
	day        date not null,                     -- whose budget it is charged to
	part       integer not null default 0,        -- of the day, where days are divided
	asked_at   timestamptz not null default now(),
	until      timestamptz not null,              -- whoever asks has until then; others wait
	tries      integer not null default 1,        -- a later one has more: the fence
	unusable   integer not null default 0,        -- answers that could not be used
	why        text not null default '',          -- code of the last failure
	answer     bytea,
	as_of      timestamptz,                       -- of the answer
	keep_until timestamptz,                       -- the answer; then it is erased
	primary key (question, n)
);
create index paid_inquiry_day on paid_inquiry (day, connection);
create index paid_inquiry_erase on paid_inquiry (keep_until) where answer is not null;

-- paid_use: the runs that used an answer, the one that paid included.
create table paid_use (
	reference text not null references paid_inquiry (reference),
	run_id    text not null,
	flow      text not null,
	at        timestamptz not null default now(),
	primary key (reference, run_id)
);

-- paid_day: what is spent of a day's budget, what is in doubt included: the sum of the inquiries
-- charged to it.
create table paid_day (
	connection text not null,
	currency   text not null,
	day        date not null,
	part       integer not null,
	spent      numeric(16,4) not null,
	primary key (connection, currency, day, part)
);

-- +goose Down
drop table paid_day;
drop table paid_use;
drop table paid_inquiry;
