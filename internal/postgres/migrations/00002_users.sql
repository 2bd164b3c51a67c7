-- +goose Up
create table app_user (
    user_id       bigint generated always as identity primary key,
    login         text not null unique,
    name          text not null,
    role          text not null check (role in ('admin', 'user', 'viewer')),
    password_hash text not null,
    active        boolean not null default true,
    created_at    timestamptz not null default now()
);

create table web_session (
    token_hash bytea primary key check (length(token_hash) = 32),
    user_id    bigint not null references app_user on delete cascade,
    home_id    bigint not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
create index on web_session (expires_at);

-- +goose Down
drop table web_session, app_user;
