-- +goose Up
alter table spool_position
    add column heard_epoch bigint not null default 0,
    add column heard_seq   bigint not null default 0;
comment on column spool_position.heard_epoch is 'of the last change that is written; with heard_seq its place in what the home said';

-- +goose Down
alter table spool_position drop column heard_epoch, drop column heard_seq;
