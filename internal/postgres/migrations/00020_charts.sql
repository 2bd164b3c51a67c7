-- +goose Up
-- A chart reads one entity's rows, which lie far apart in tables filled in the
-- order of time. With the values in the index it reads a few pages of that.
alter table statistics_5m drop constraint statistics_5m_pkey;
alter table statistics_5m add constraint statistics_5m_pkey
    primary key (home_id, entity_key, bucket) include (min, max, last, last_state);
alter table statistics_1h drop constraint statistics_1h_pkey;
alter table statistics_1h add constraint statistics_1h_pkey
    primary key (home_id, entity_key, bucket) include (min, max, last, last_state);
-- The index alone serves where vacuum has been.
alter table statistics_1h set (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);

-- +goose Down
alter table statistics_1h reset (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold);
alter table statistics_1h drop constraint statistics_1h_pkey;
alter table statistics_1h add constraint statistics_1h_pkey primary key (home_id, entity_key, bucket);
alter table statistics_5m drop constraint statistics_5m_pkey;
alter table statistics_5m add constraint statistics_5m_pkey primary key (home_id, entity_key, bucket);
