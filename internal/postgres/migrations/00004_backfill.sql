-- +goose Up
alter table backfill add column ends boolean not null default true;
comment on column backfill.ends is 'the entity changed a microsecond before to_time';
create index on gap (home_id, entity_key, to_time);

-- +goose Down
alter table backfill drop column ends;
drop index gap_home_id_entity_key_to_time_idx;
