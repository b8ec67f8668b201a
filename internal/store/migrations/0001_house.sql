-- +goose Up
-- The house: what every pattern stands on. Each table names the package that
-- owns it; no other package writes it.

-- store: values of this installation, for example the key of the run_id HMAC.
create table setting (
    name       text primary key,
    value      bytea not null,
    created_at timestamptz not null default now()
);

-- run: compiled plans, append-only, by digest (promise 6).
create table plan (
    digest     text primary key,
    flow       text not null,
    body       json not null,                 -- as it was digested: jsonb would rewrite numbers
    created_at timestamptz not null default now()
);

-- run: which plan a new press of a flow gets.
create table flow_current (
    flow       text primary key,
    digest     text not null references plan (digest),
    applied_at timestamptz not null default now(),
    applied_by text not null
);

-- run: how each connection is reached; references, never secrets (promise 9).
create table connection (
    name       text primary key,
    body       jsonb not null,
    applied_at timestamptz not null default now()
);

-- run: the one way in. A press is a row here before Temporal hears of it (promise 1).
create table work (
    run_id      text primary key,             -- base32 HMAC of (principal, flow, key)
    flow        text not null,
    pattern     text not null,                -- of the plan: with flow and batch_id the workflow ID
    principal   text not null,
    body_sha256 bytea not null,               -- of the canonical parameters: same key, other body is a conflict
    params      json not null,                -- json, not jsonb: numbers and NUL characters stay as they are
    digest      text not null references plan (digest),
    class       smallint not null default 0,  -- priority class: 0 interactive, 1 batch
    state       text not null default 'accepted'
                check (state in ('accepted', 'running', 'parked', 'completed', 'failed', 'cancelled')),
    order_at    timestamptz not null default now(), -- place in the queue
    timeout     interval not null,            -- of the plan: how long the answer may take
    deadline_at timestamptz not null,
    batch_id    text,                         -- of the workflow that has it
    lease_until timestamptz,                  -- when it lapses unrelayed, the same batch is sent again
    relayed_at  timestamptz,                  -- Temporal has accepted the start
    fence       bigint not null default 0,    -- of the attempt that has it; outcomes of an older one find no row
    tries       int not null default 0,
    answer      json,                         -- {"rows": […], "count": n}
    answered_at timestamptz,                  -- the answer may be shown
    problem     jsonb,                        -- {"code", "detail", "retry"} of a failed run
    progress    jsonb not null default '[]',  -- at most five steps
    waiting     text,                         -- what the run waits for, in words
    certificate jsonb,                        -- the answer to the cancel, once
    accepted_at timestamptz not null default now(),
    closed_at   timestamptz
);
-- work_step adds a transition to a progress, once
create function work_step(progress jsonb, name text, note text) returns jsonb
    language sql stable
    return case
        when progress @> jsonb_build_array(jsonb_build_object('name', name)) then progress
        else progress || jsonb_build_array(jsonb_strip_nulls(
            jsonb_build_object('name', name, 'at', now(), 'note', nullif(note, ''))))
    end;
-- rows that the relay has to hand over, in order
create index work_due on work (flow, class, order_at) where state = 'accepted' and relayed_at is null;
create index work_batch on work (batch_id);
create index work_recent on work (accepted_at, run_id);
create index work_open on work (flow) where state in ('accepted', 'running', 'parked');

-- ledger: every write to an outside system (promise 2).
create table effect (
    cause        text not null,               -- the run_id, window or slot; never a batch or a try
    step         text not null,
    target_key   text not null,               -- canonical JSON array of the key's values
    ordinal      int not null,                -- order within the cause, for people
    target       text not null,               -- connection.table
    label        text not null,               -- the key in words
    state        text not null default 'intent'
                 check (state in ('intent', 'attempt', 'confirmed', 'in_doubt', 'settled', 'refused')),
    body_sha256  bytea not null,              -- of the frozen row: a retry sends the same
    call_id      text,                        -- the bulk call it was sent with
    fence        bigint not null default 0,   -- of the attempt; confirming an older one changes nothing
    attempts     int not null default 0,
    unsure       boolean not null default false, -- the outcome of the attempt before this one is unknown
    reason       text,                        -- why refused or in doubt, safe to show
    intended_at  timestamptz not null default now(),
    attempted_at timestamptz,
    settled_at   timestamptz,
    primary key (cause, step, target_key)
);
create sequence effect_fence;

-- ledger: a cancel has been asked; no new attempt of the cause after it (promise 3).
create table seal (
    cause     text primary key,
    sealed_at timestamptz not null default now(),
    sealed_by text not null
);

-- journal: what happened to what, by business key (promise 4). Append-only.
create table journal (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default now(),
    flow   text not null,
    run    text not null,
    what   text not null,                     -- accepted, answered, effect, closed, …
    reason text not null,                     -- the vocabulary of package journal
    final  boolean not null default false,
    keys   text[] not null,                   -- business keys it is found by
    detail jsonb not null default '{}'
);
create index journal_keys on journal using gin (keys);
create index journal_run on journal (run, id);
-- exactly one final reason a run
create unique index journal_final on journal (run) where final;

-- +goose Down
drop table journal, seal, effect, work, connection, flow_current, plan, setting;
drop sequence effect_fence;
drop function work_step;
