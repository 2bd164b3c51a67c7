-- +goose Up
alter table spool_position add column term bigint not null default 0;
comment on column spool_position.term is 'counts the Concords that came to write this home; one of an earlier term is refused';

-- +goose Down
alter table spool_position drop column term;
