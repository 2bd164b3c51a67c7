-- +goose Up
set local lock_timeout = '500ms';
alter table spool_position
    add column heard_epoch bigint not null default 0,
    add column heard_seq   bigint not null default 0,
    add column lost_from   timestamptz,
    add column away_lost   boolean not null default false;
comment on column spool_position.heard_epoch is 'of the last change that is written; with heard_seq its place in what the home said';
comment on column spool_position.lost_from is 'clock_time when a spooled message could not be read, until a connection is opened';
comment on column spool_position.away_lost is 'away_from is such a time: changes after it may be missing among those that are written';

-- +goose Down
alter table spool_position drop column heard_epoch, drop column heard_seq, drop column lost_from, drop column away_lost;
