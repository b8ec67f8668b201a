-- What one picture is made of and what is made of it, in a schema of its own. The database itself keeps how often each
-- row was written, and refuses one customer's picture and another one's plan.
create table customer (id text primary key, name text not null);
create table invoice (number text primary key, customer text, amount numeric(18, 2) not null, changed_at timestamptz not null default now());
create table address (customer text primary key, mail text);
create table picture (id text primary key, name text, invoices bigint, total numeric(18, 2), mail text, constraint too_rich check (total < 1000000));
create table plan (id text primary key, action text, source text, constraint unwanted check (id <> 'C2' or not :spoilt));

create table written (what text, id text, times bigint not null, primary key (what, id));
create function note() returns trigger language plpgsql set search_path from current as $$
begin
    insert into written values (tg_table_name, new.id, 1) on conflict (what, id) do update set times = written.times + 1;
    return new;
end $$;
create trigger noted after insert or update on picture for each row execute function note();
create trigger noted after insert or update on plan for each row execute function note();

-- A source that for a while does not answer (away), is not there (gone), or has no rows (empty).
create table trouble (what text not null, until timestamptz not null);
create function answers() returns boolean language plpgsql stable set search_path from current as $$
declare
    now_in text := (select what from trouble where until > clock_timestamp() order by until limit 1);
begin
    case now_in
        when 'away' then raise exception 'away' using errcode = '53300';
        when 'gone' then raise exception 'gone' using errcode = '42P01';
        else return now_in is null;
    end case;
end $$;
create view contact as select customer, mail from address where answers();

insert into customer select 'C' || n, 'Customer "' || n || '" & Söhne' from generate_series(1, 12) n;
insert into invoice (number, customer, amount) select 'I' || n, case when mod(n, 9) = 0 then null else 'C' || mod(n, 14) + 1 end, n * 1.01 from generate_series(1, 30) n;
insert into address select 'C' || n, 'c' || n || '@example.com' from generate_series(1, 14, 2) n;
update invoice set amount = 2000000 where customer = 'C1' and :spoilt;
