-- +goose Up
set local lock_timeout = '500ms';
comment on column spool_position.away_open is 'no reconciliation was written since away_from: not all was asked yet of the time away';
create table backfilled (
    home_id    bigint not null references home on delete cascade,
    entity_key bigint not null,
    from_time  timestamptz not null,
    to_time    timestamptz not null,
    changes    integer not null,
    created_at timestamptz not null default now()
);
create index on backfilled (home_id, entity_key, to_time);
create index on backfilled (created_at);
comment on table backfilled is 'what of an entity''s history came from the home''s own: from the first change to the last';

-- +goose Down
drop table backfilled;
