-- +goose Up
alter table backfill add column heard_time timestamptz, add column last_time timestamptz;
update backfill set last_time = to_time - interval '1 microsecond' where ends;
alter table backfill drop column ends;
comment on column backfill.heard_time is 'the last change that was heard before the time that is missing';
comment on column backfill.last_time is 'the first change that was heard after the time that is missing; the earlier one when the clock was set back in between';

-- +goose Down
alter table backfill add column ends boolean not null default true;
update backfill set ends = last_time is not null and last_time = to_time - interval '1 microsecond';
alter table backfill drop column heard_time, drop column last_time;
comment on column backfill.ends is 'the entity changed a microsecond before to_time';
