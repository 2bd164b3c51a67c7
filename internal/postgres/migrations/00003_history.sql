-- +goose Up
-- The numbers that stand for entities in history. One entity may have several:
-- one from before its registry entry was known, one from its registry entry.
create table history_entity (
    home_id     bigint not null references home on delete cascade,
    entity_key  bigint not null,
    entity_id   text not null,
    registry_id text not null default '',
    primary key (home_id, entity_key)
);
create index on history_entity (home_id, entity_id);
comment on column history_entity.entity_id is 'what the entity is called now: history follows a rename';

create table attributes (
    home_id       bigint not null references home on delete cascade,
    attributes_id bigint not null,
    attributes    jsonb not null,
    seen_on       date not null,
    primary key (home_id, attributes_id)
);
comment on table attributes is 'each distinct set of attributes once';
comment on column attributes.seen_on is 'the last day on which a history row came to refer to it; kept as long as those rows';

create table history (
    home_id           bigint not null,
    entity_key        bigint not null,
    last_updated      timestamptz not null,
    last_changed      timestamptz not null,
    value             double precision,
    attributes_id     bigint not null,
    clock_epoch       integer not null default 0,
    source            smallint not null default 0,
    state             text not null,
    context_id        text,
    context_parent_id text,
    context_user_id   text,
    primary key (home_id, entity_key, last_updated, clock_epoch)
) partition by range (last_updated);
comment on table history is 'every change that a home sent, once; one partition a day (UTC)';
comment on column history.value is 'the state as a number, when it is one';
comment on column history.clock_epoch is 'how often the home''s clock was seen to step back before';
comment on column history.source is '0 heard live, 1 in a snapshot after a reconnect, 2 from the home''s own history';

-- Rows of a clock that is far off: nothing a home says blocks the writer.
create table history_other partition of history default;

alter table spool_position
    add column clock_epoch integer not null default 0,
    add column clock_time  timestamptz,
    add column away_from   timestamptz,
    add column away_since  timestamptz;
comment on column spool_position.clock_time is 'by the home''s clock: everything before it was heard';
comment on column spool_position.away_from is 'clock_time when the present connection was opened';
comment on column spool_position.away_since is 'Concord''s time of the last write before the present connection';

create table gap (
    gap_id     bigint generated always as identity,
    home_id    bigint not null references home on delete cascade,
    entity_key bigint,
    from_time  timestamptz not null,
    to_time    timestamptz not null,
    reason     text not null,
    created_at timestamptz not null default now(),
    primary key (home_id, gap_id)
);
create index on gap (home_id, to_time);
comment on table gap is 'times of which nobody knows what happened; entity_key null is the whole home';

create table backfill (
    backfill_id bigint generated always as identity,
    home_id     bigint not null references home on delete cascade,
    entity_id   text not null,
    entity_key  bigint not null,
    from_time   timestamptz not null,
    to_time     timestamptz not null,
    known       boolean not null,
    attempts    integer not null default 0,
    due_at      timestamptz not null default now(),
    primary key (home_id, backfill_id)
);
create index on backfill (home_id, due_at);
comment on table backfill is 'what is still to be asked from the home''s own history';
comment on column backfill.known is 'the entity was known before the time that is missing';

-- +goose Down
drop table backfill, gap, history, attributes, history_entity;
alter table spool_position drop column clock_epoch, drop column clock_time, drop column away_from, drop column away_since;
