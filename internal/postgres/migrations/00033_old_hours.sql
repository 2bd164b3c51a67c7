-- +goose Up
set local lock_timeout = '500ms';
create table rollup_old (
    home_id  bigint not null references home on delete cascade,
    hour     timestamptz not null,
    noted_at timestamptz not null default now(),
    primary key (home_id, hour)
);
comment on table rollup_old is 'hours before the days that are kept, of which changes came since they were summed up';
comment on column rollup_old.noted_at is 'when the first of them came';
insert into rollup_old (home_id, hour)
select distinct home_id, date_bin('1 hour', last_updated, '2000-01-01Z')
from history_other
where last_updated between now() - interval '1 year' and now() and home_id in (select home_id from home);

-- Retention looks for what is due every minute.
create index on history_other (stored_at);

-- +goose Down
drop index history_other_stored_at_idx;
drop table rollup_old;
