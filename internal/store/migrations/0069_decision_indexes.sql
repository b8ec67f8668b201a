-- +goose Up
-- decision: what rules decided waits for nobody, and is not looked through each second.
drop index decision_open;
drop index decision_wake;
create index decision_open on decision (due_at, run_id) where state = 'open' and due_at is not null;
create index decision_wake on decision (run_id) where state = 'decided' and woken_at is null and due_at is not null;

-- +goose Down
drop index decision_open;
drop index decision_wake;
create index decision_open on decision (due_at, run_id) where state = 'open';
create index decision_wake on decision (run_id) where state = 'decided' and woken_at is null;
