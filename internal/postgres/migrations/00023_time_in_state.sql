-- +goose Up
-- +goose StatementBegin
create function time_in_state(home bigint, entity text, wanted text, from_time timestamptz, to_time timestamptz, step interval default '1 day')
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
comment on function time_in_state is 'seconds that an entity spent in a state that is no number, by steps of whole hours, up to the last hour that is summed up; quiet hours count, gaps do not';

-- +goose Down
drop function time_in_state;
