-- +goose Up
create table statistics_5m (
    home_id    bigint not null,
    entity_key bigint not null,
    bucket     timestamptz not null,
    count      integer not null,
    min        double precision,
    mean       double precision,
    max        double precision,
    last       double precision,
    last_state text not null,
    states     jsonb,
    primary key (home_id, entity_key, bucket)
) partition by range (bucket);
create table statistics_5m_other partition of statistics_5m default;
comment on table statistics_5m is 'changes summed up by 5 minutes; a bucket without a change has no row, its state is the last one before';
comment on column statistics_5m.mean is 'each number weighed by how long it held within the bucket';
comment on column statistics_5m.states is 'seconds in each state that is not a number';

create table statistics_1h (like statistics_5m including all);
comment on table statistics_1h is 'changes summed up by the hour, kept for ever';

create table rollup (
    home_id bigint primary key references home on delete cascade,
    done    timestamptz not null
);
comment on table rollup is 'statistics are made up to here; history that arrives later for a time before moves it back';

create view state_history_named as
select h.home_id, e.entity_id, h.last_updated, h.last_changed, h.state, h.value, a.attributes,
       coalesce(nullif(r.name, ''), nullif(r.original_name, ''), a.attributes ->> 'friendly_name', e.entity_id) as entity_name,
       d.name as device_name, ar.name as area_name, h.clock_epoch,
       (array['live', 'snapshot', 'backfill'])[h.source + 1] as source, h.context_id, h.context_user_id
from history h
join history_entity e using (home_id, entity_key)
left join attributes a using (home_id, attributes_id)
left join entity r on r.home_id = h.home_id and r.entity_id = e.entity_id
left join device d on d.home_id = h.home_id and d.device_id = r.device_id
left join area ar on ar.home_id = h.home_id and ar.area_id = coalesce(nullif(r.area_id, ''), nullif(d.area_id, ''));
comment on view state_history_named is 'history with today''s names: filter by home_id, entity_id and a range of last_updated';

create view statistics_named as
select s.home_id, e.entity_id, s.bucket, s.width, s.count, s.min, s.mean, s.max, s.last, s.last_state, s.states
from (select '5 minutes'::interval as width, f.* from statistics_5m f
      union all
      select '1 hour'::interval, o.* from statistics_1h o) s
join history_entity e using (home_id, entity_key);

create view gap_named as
select g.home_id, e.entity_id, g.from_time, g.to_time, g.reason, g.created_at
from gap g
left join history_entity e using (home_id, entity_key);

-- +goose Down
drop view gap_named, statistics_named, state_history_named;
drop table rollup, statistics_1h, statistics_5m;
