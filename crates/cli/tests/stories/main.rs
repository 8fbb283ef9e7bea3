//! What Libra promises, told as stories and checked on the real binary; most of them with a real Spark behind it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod adoption;
mod artifacts;
mod authorisation;
mod bad_input;
mod cancelling;
mod command_line;
mod connect_server;
mod database;
mod events_feed;
mod external_server;
mod failpoints;
mod given_up;
mod in_cluster;
mod kills;
mod kinds;
mod listing;
mod logs;
mod openapi;
mod progress;
mod python_ends;
mod python_in_cluster;
mod references;
mod replicas;
mod replicas_chaos;
mod replicas_tell;
mod result_formats;
mod retention;
mod sail;
mod same_sql;
mod server_care;
mod spark_submit;
mod starting;
mod surroundings;
mod turns;
mod webhooks;
