-- +goose Up
-- quota: what of the limits that the provider of a connection states is used, a row
-- each. Whoever changes it holds its lock; it has few fields that are short-lived, and
-- no index besides its key, so that an update touches one page.
create table quota (
    connection text primary key,
    state      json not null               -- windows, leases, silence: package quota
) with (fillfactor = 50);

-- +goose Down
drop table quota;
