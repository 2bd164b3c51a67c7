-- +goose Up
-- PostgreSQL counts no serialization failures, so Concord does.
create table write_ledger (
    minute       timestamptz not null,
    endpoint     text not null,
    instance     text not null,
    transactions bigint not null,
    conflicted   bigint not null,
    retried      bigint not null,
    lost         bigint not null,
    retries      bigint not null,
    failures     bigint not null,
    deadlocks    bigint not null,
    seconds      double precision not null,
    slowest      double precision not null,
    last_failure timestamptz,
    primary key (minute, instance, endpoint)
) with (fillfactor = 70);
comment on table write_ledger is 'write transactions by the minute they ended in; one row per process, so that instances do not conflict';

create table write_ledger_total (
    endpoint     text primary key,
    transactions bigint not null,
    conflicted   bigint not null,
    lost         bigint not null,
    failures     bigint not null,
    deadlocks    bigint not null
);
comment on table write_ledger_total is 'sums of the minutes that are no longer kept';

create table incident (
    kind      text primary key,
    opened_at timestamptz not null default now()
);
comment on table incident is 'what people were told of and has not ended';

create view serialization_conflict_stats as
select d.datname,
       d.deadlocks,
       (coalesce((select sum(failures - deadlocks) from write_ledger), 0)
        + coalesce((select sum(failures - deadlocks) from write_ledger_total), 0))::bigint as serialization_failures,
       d.conflicts as recovery_conflicts,
       (select count(*) from pg_stat_activity a where a.datid = d.datid and a.state = 'active') as active_connections,
       d.temp_files,
       d.temp_bytes
from pg_stat_database d
where d.datname = current_database();
comment on view serialization_conflict_stats is 'serialization_failures are those of Concord''s own transactions; the rest is PostgreSQL''s count for everybody';

-- +goose Down
drop view serialization_conflict_stats;
drop table incident, write_ledger_total, write_ledger;
