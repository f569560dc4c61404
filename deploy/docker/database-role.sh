#!/bin/sh
# Gives the gateway a role of its own that owns its database and may do nothing else in the server, with the password that the secret has now.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD
# psql reads the password itself: on a command line every process could see it.
psql --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/database_password`
select 'create role gateway login' where not exists (select from pg_roles where rolname = 'gateway') \gexec
alter role gateway password :'password';
select 'create database assistant owner gateway encoding ''UTF8'' template template0'
  where not exists (select from pg_database where datname = 'assistant') \gexec
SQL
