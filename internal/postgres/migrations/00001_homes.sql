-- +goose Up
create table home (
    home_id      bigint generated always as identity primary key,
    name         text not null,
    url          text not null unique,
    description  text not null default '',
    active       boolean not null default true,
    sequence     integer not null default 10,
    created_at   timestamptz not null default now(),
    last_sync_at timestamptz
);

create table floor (
    home_id  bigint not null references home on delete cascade,
    floor_id text not null,
    name     text not null,
    icon     text not null default '',
    level    integer,
    sort     integer not null,
    primary key (home_id, floor_id)
);

create table label (
    home_id  bigint not null references home on delete cascade,
    label_id text not null,
    name     text not null,
    icon     text not null default '',
    color    text not null default '',
    primary key (home_id, label_id)
);

create table area (
    home_id               bigint not null references home on delete cascade,
    area_id               text not null,
    key                   bigint not null,
    floor_id              text not null default '',
    name                  text not null,
    icon                  text not null default '',
    picture               text not null default '',
    labels                text[] not null default '{}',
    temperature_entity_id text not null default '',
    humidity_entity_id    text not null default '',
    sort                  integer not null,
    primary key (home_id, area_id)
);
comment on column area.key is 'the number that stands for the area in the JSON-RPC API';

create table device (
    home_id       bigint not null references home on delete cascade,
    device_id     text not null,
    key           bigint not null,
    area_id       text not null default '',
    name          text not null default '',
    name_by_user  text not null default '',
    manufacturer  text not null default '',
    model         text not null default '',
    sw_version    text not null default '',
    via_device_id text not null default '',
    disabled_by   text not null default '',
    labels        text[] not null default '{}',
    primary key (home_id, device_id)
);

create table entity (
    home_id         bigint not null references home on delete cascade,
    entity_id       text not null,
    key             bigint not null,
    registry_id     text not null default '',
    unique_id       text not null default '',
    platform        text not null default '',
    name            text not null default '',
    original_name   text not null default '',
    icon            text not null default '',
    device_class    text not null default '',
    category        text not null default '',
    hidden_by       text not null default '',
    disabled_by     text not null default '',
    translation_key text not null default '',
    labels          text[] not null default '{}',
    device_id       text not null default '',
    area_id         text not null default '',
    primary key (home_id, entity_id)
);
comment on table entity is 'the entity registry; device_id and area_id are set by the relations stage, area_id is the entity''s own';

-- One row an entity, updated in place several times a second: the free space
-- and the absence of further indexes keep those updates HOT.
create table entity_state (
    home_id      bigint not null references home on delete cascade,
    entity_id    text not null,
    state        text not null,
    attributes   jsonb not null,
    last_changed timestamptz not null,
    last_updated timestamptz not null,
    context_id   text not null default '',
    epoch        bigint not null,
    seq          bigint not null,
    primary key (home_id, entity_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on column entity_state.epoch is 'of the connection that heard it; (epoch, seq) orders what a home said';
comment on column entity_state.last_updated is 'by the home''s clock, which may step back: data, never order';

create table spool_position (
    home_id    bigint primary key references home on delete cascade,
    seq        bigint not null,
    updated_at timestamptz not null default now()
) with (fillfactor = 50);

create table quarantine (
    quarantine_id bigint generated always as identity primary key,
    home_id       bigint not null references home on delete cascade,
    entity_id     text not null,
    reason        text not null,
    sqlstate      text not null default '',
    record        bytea not null,
    seen_at       timestamptz not null default now()
);
create index on quarantine (home_id, seen_at);

-- +goose Down
drop table quarantine, spool_position, entity_state, entity, device, area, label, floor, home;
