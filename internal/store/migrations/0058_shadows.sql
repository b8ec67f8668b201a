-- +goose Up
-- shadow: what a calculator beside the one that decided made of the same figures, compared.
create table shadow (
    run_id  text not null,
    task    text not null,
    flow    text not null,
    live    text not null,                      -- name and version of the calculator that decided
    beside  text not null,                      -- of the one in its shadow
    equal   boolean not null,
    differ  text[] not null default '{}',       -- paths of the output
    fault   text not null default '',           -- code of why the shadow gave nothing
    output  json,                               -- of the shadow
    at      timestamptz not null default now(),
    primary key (run_id, task)
);
create index shadow_flow on shadow (flow, at desc);
