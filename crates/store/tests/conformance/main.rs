//! What every store must do, on SQLite and on a real PostgreSQL; and what only the one or the other can do wrong.
#![allow(missing_docs, clippy::unwrap_used, clippy::similar_names)]

mod artifact_versions;
mod deployment_turns;
mod deployments;
mod given;
mod hpc;
mod leases;
mod lists;
mod messages;
mod numbering;
mod plans;
mod replicas;
mod restart;
mod setup;
mod turns;
mod writes;

/// Makes a test for each store of every named function, which is given a [`given::Store`].
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::given::Store::sqlite()).await;
                }
            )*
        }
        mod inline {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::given::Store::inline()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::given::Store::postgres().await).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_store;
