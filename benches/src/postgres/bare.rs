//! Bare connections, each on a task of its own.

use futures::future::{join3, try_join_all};
use tokio_postgres::{Client, NoTls, Statement};

use crate::Outcome;

/// A connection that is driven in the background until the client is dropped.
pub(super) async fn connect(url: &str) -> Outcome<Client> {
    let (client, driver) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(driver);
    Ok(client)
}

/// A transaction of these statements in one round trip; all share their arguments' lifetime.
pub(super) async fn transaction(
    client: &Client,
    statements: &[(Statement, Vec<&(dyn tokio_postgres::types::ToSql + Sync)>)],
) -> Outcome<()> {
    let inserts = statements.iter().map(|(statement, arguments)| client.execute(statement, arguments));
    let all = async {
        // Polled in order, so they are sent in order, before the first answer is waited for.
        let (begun, inserted, ended) =
            join3(client.batch_execute("BEGIN"), try_join_all(inserts), client.batch_execute("COMMIT")).await;
        begun?;
        inserted?;
        ended
    };
    Ok(all.await?)
}
