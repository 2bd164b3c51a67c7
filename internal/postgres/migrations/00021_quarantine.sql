-- +goose Up
alter table quarantine rename column seen_at to first_seen;
alter table quarantine add column last_seen timestamptz not null default now();
alter table quarantine add column count bigint not null default 1;
alter table quarantine add column digest bytea;

-- Reconciliations found the same records again and again: one row of each stays.
with same as (
    select max(quarantine_id) as quarantine_id, count(*) as count, min(first_seen) as first_seen, max(first_seen) as last_seen
    from quarantine
    group by home_id, entity_id, reason, sqlstate, regexp_replace(encode(record, 'escape'), ' epoch=\d+ seq=\d+ removed=', ' removed=')
), kept as (
    update quarantine q
    set count = s.count, first_seen = s.first_seen, last_seen = s.last_seen
    from same s
    where q.quarantine_id = s.quarantine_id
    returning q.quarantine_id
)
delete from quarantine where quarantine_id not in (select quarantine_id from kept);
update quarantine set digest = sha256(convert_to(quarantine_id::text, 'UTF8'));

alter table quarantine alter column digest set not null;
-- An older Concord, which knows no digest, can still write.
alter table quarantine alter column digest set default sha256(convert_to(gen_random_uuid()::text, 'UTF8'));
create unique index on quarantine (home_id, digest);
create index on quarantine (home_id, last_seen);
drop index quarantine_home_id_seen_at_idx;
comment on column quarantine.digest is 'of entity, reason and record without its position: the same record again counts, it is not kept twice';

-- +goose Down
drop index quarantine_home_id_digest_idx, quarantine_home_id_last_seen_idx;
alter table quarantine drop column digest, drop column count, drop column last_seen;
alter table quarantine rename column first_seen to seen_at;
create index on quarantine (home_id, seen_at);
