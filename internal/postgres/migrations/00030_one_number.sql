-- +goose Up
-- Others queue behind who waits for a table; see migrate.
set local lock_timeout = '500ms';
-- In the order in which writers of the version before lock them.
lock table history_entity, history, rollup, quarantine in access exclusive mode;

-- home_id leads every key.
alter table quarantine drop constraint quarantine_pkey;
alter table quarantine add constraint quarantine_pkey primary key (home_id, quarantine_id);

-- Changes under a name that a registered entity had just given up are another's,
-- until the registry says whose.
alter table history_entity add column after_epoch bigint, add column after_seq bigint;
comment on column history_entity.after_epoch is 'with after_seq, where in the stream the name''s former entity was removed; null once the registry said whose the number is';

create view history_number as
select h.home_id, h.entity_key, h.entity_id,
       first_value(h.entity_key) over (
           partition by h.home_id, h.entity_id
           order by coalesce(h.registry_id <> '' and h.registry_id = r.registry_id, false) desc, h.registry_id = '', h.entity_key) as chosen
from history_entity h
left join entity r using (home_id, entity_id);
comment on view history_number is 'of several numbers of an entity, chosen is the one whose statistics count: its registry entry''s, else the least';

alter table rollup add column kept timestamptz not null default '-infinity';
comment on column rollup.kept is 'raw history before this is gone: statistics of that time are never made again';
update rollup
set kept = coalesce((
    select min(to_date(right(c.relname, 8), 'YYYYMMDD'))::timestamp at time zone 'UTC'
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'history'::regclass and c.relname ~ '_p[0-9]{8}$'), '-infinity');

-- Rows of a clock that is far off are kept as long as others, by Concord's clock.
-- A default of a partition does not count for rows that come through its table.
-- This one is for the rows that are there: it rewrites none of them.
alter table history add column stored_at timestamptz default now();
alter table history alter column stored_at drop default;
comment on column history.stored_at is 'by the clock of PostgreSQL; only in history_other';
-- +goose StatementBegin
create function stamp_history_other() returns trigger language plpgsql as $$
begin
    new.stored_at := now();
    return new;
end
$$;
-- +goose StatementEnd
create trigger stamp before insert on history_other for each row execute function stamp_history_other();

create or replace view statistics_named as
select distinct on (s.home_id, n.entity_id, s.width, s.bucket)
       s.home_id, n.entity_id, s.bucket, s.width, s.count, s.min, s.mean, s.max, s.last, s.last_state, s.states
from (select '5 minutes'::interval as width, f.* from statistics_5m f
      union all
      select '1 hour'::interval, o.* from statistics_1h o) s
join history_number n using (home_id, entity_key)
order by s.home_id, n.entity_id, s.width, s.bucket, s.entity_key = n.chosen desc, s.entity_key;

-- +goose StatementBegin
create or replace function time_in_state(home bigint, entity text, wanted text, from_time timestamptz, to_time timestamptz, step interval default '1 day')
returns table (at timestamptz, seconds double precision)
language sql stable as $$
    with numbers as (
        select entity_key, chosen from history_number where home_id = home and entity_id = entity
    ), summed as (
        select date_bin('1 hour', done, '2000-01-01Z') as until from rollup where home_id = home
    ), chosen as (
        select distinct on (h.bucket) h.bucket, h.last_state, h.states
        from numbers
        join statistics_1h h on h.home_id = home and h.entity_key = numbers.entity_key
        where h.bucket < to_time
          and h.bucket >= coalesce((select max(b.bucket) from numbers n join statistics_1h b on b.home_id = home and b.entity_key = n.entity_key
                                    where b.bucket < from_time), from_time)
        order by h.bucket, h.entity_key = numbers.chosen desc, h.entity_key
    ), hours as (
        select h.bucket, h.last_state, coalesce((h.states ->> wanted)::double precision, 0) as held,
               lead(h.bucket, 1, least(to_time, (select until from summed))) over (order by h.bucket) as next
        from chosen h
    ), unknown as (
        select coalesce(range_agg(tstzrange(g.from_time, g.to_time)), '{}') as times
        from gap g
        where g.home_id = home and (g.entity_key is null or g.entity_key in (select entity_key from numbers)) and g.from_time <= g.to_time
    ), pieces as (
        select bucket as begins, bucket + interval '1 hour' as ends, held / 3600 as share from hours
        union all
        select lower(known), upper(known), 1
        from hours, unknown, unnest(tstzmultirange(tstzrange(bucket + interval '1 hour', next)) - times) as known
        where last_state = wanted and next > bucket + interval '1 hour'
    )
    select s.at, coalesce(sum(share * extract(epoch from least(ends, s.at + step, to_time) - greatest(begins, s.at))), 0)::double precision
    from generate_series(from_time, to_time - interval '1 microsecond', step) as s (at)
    left join pieces on begins < least(s.at + step, to_time) and ends > s.at
    group by s.at
    order by s.at
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function time_in_state(home bigint, entity text, wanted text, from_time timestamptz, to_time timestamptz, step interval default '1 day')
returns table (at timestamptz, seconds double precision)
language sql stable as $$
    with numbers as (
        select entity_key from history_entity where home_id = home and entity_id = entity
    ), summed as (
        select date_bin('1 hour', done, '2000-01-01Z') as until from rollup where home_id = home
    ), hours as (
        select h.bucket, h.last_state, coalesce((h.states ->> wanted)::double precision, 0) as held,
               lead(h.bucket, 1, least(to_time, (select until from summed))) over (order by h.bucket) as next
        from numbers
        join statistics_1h h on h.home_id = home and h.entity_key = numbers.entity_key
        where h.bucket < to_time
          and h.bucket >= coalesce((select max(b.bucket) from numbers n join statistics_1h b on b.home_id = home and b.entity_key = n.entity_key
                                    where b.bucket < from_time), from_time)
    ), unknown as (
        select coalesce(range_agg(tstzrange(g.from_time, g.to_time)), '{}') as times
        from gap g
        where g.home_id = home and (g.entity_key is null or g.entity_key in (select entity_key from numbers)) and g.from_time <= g.to_time
    ), pieces as (
        select bucket as begins, bucket + interval '1 hour' as ends, held / 3600 as share from hours
        union all
        select lower(known), upper(known), 1
        from hours, unknown, unnest(tstzmultirange(tstzrange(bucket + interval '1 hour', next)) - times) as known
        where last_state = wanted and next > bucket + interval '1 hour'
    )
    select s.at, coalesce(sum(share * extract(epoch from least(ends, s.at + step, to_time) - greatest(begins, s.at))), 0)::double precision
    from generate_series(from_time, to_time - interval '1 microsecond', step) as s (at)
    left join pieces on begins < least(s.at + step, to_time) and ends > s.at
    group by s.at
    order by s.at
$$;
-- +goose StatementEnd
create or replace view statistics_named as
select s.home_id, e.entity_id, s.bucket, s.width, s.count, s.min, s.mean, s.max, s.last, s.last_state, s.states
from (select '5 minutes'::interval as width, f.* from statistics_5m f
      union all
      select '1 hour'::interval, o.* from statistics_1h o) s
join history_entity e using (home_id, entity_key);
drop trigger stamp on history_other;
drop function stamp_history_other;
alter table history drop column stored_at;
alter table rollup drop column kept;
drop view history_number;
alter table history_entity drop column after_epoch, drop column after_seq;
alter table quarantine drop constraint quarantine_pkey;
alter table quarantine add constraint quarantine_pkey primary key (quarantine_id);
