-- +goose Up
set local lock_timeout = '500ms';
alter table spool_position add column away_open boolean not null default false;
comment on column spool_position.away_open is 'no states of a connection were written since away_from: nothing was asked yet of the time away';

-- +goose Down
alter table spool_position drop column away_open;
