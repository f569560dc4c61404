-- The image runs this once, when it makes the data folder: the role that the gateway works as, which owns its database and may do nothing else.
\getenv password GATEWAY_DATABASE_PASSWORD
create role gateway login password :'password';
create database assistant owner gateway encoding 'UTF8' template template0;
