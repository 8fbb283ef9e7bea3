//! What PostgreSQL's errors mean to Libra.

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::error::StoreError;
use crate::url::PgUrl;

/// The whole story of an error: tokio-postgres says the half of it.
pub(super) fn story(e: &Error) -> String {
    if let Some(db) = e.as_db_error() {
        let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
        return format!("{}{detail}, SQLSTATE {}", db.message(), db.code().code());
    }
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// A failed statement.
pub(super) fn failed(e: &Error) -> StoreError {
    let text = story(e);
    let Some(code) = e.code() else {
        return StoreError::Interrupted(text);
    };
    if lost(code) {
        StoreError::Interrupted(text)
    } else if *code == SqlState::DISK_FULL {
        StoreError::Full(text)
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        StoreError::ReadOnly(text)
    } else if class(code) == "23" {
        StoreError::Constraint(text)
    } else {
        StoreError::Database(text)
    }
}

/// The server ends the connection, or can't work at present.
fn lost(code: &SqlState) -> bool {
    // 57P01–57P05: shutdown, crash, starting up, database dropped, idle too long; 08: connection exceptions.
    code.code().starts_with("57P") || class(code) == "08"
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// True for failures of a batch that its members, one by one, may not have.
pub(super) fn perhaps_one_by_one(e: &Error) -> bool {
    e.code().is_some_and(|code| {
        class(code) == "23"
            || class(code) == "22"
            || *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
            || *code == SqlState::LOCK_NOT_AVAILABLE
    })
}

/// True when a row with the same key is there already.
pub(super) fn is_unique_violation(e: &Error) -> bool {
    e.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// True when the connection is of no more use.
pub(super) fn is_lost(e: &Error) -> bool {
    e.code().is_none_or(lost)
}

/// A connection that was not made: what to do about it, where trying again would not help.
pub(super) fn not_connected(e: &Error, url: &PgUrl) -> StoreError {
    let refused = |problem: String, hint: &str| StoreError::setup(problem, hint);
    let story = story(e);
    let Some(code) = e.code() else {
        if story.contains("error performing TLS handshake") || story.contains("server does not support TLS") {
            return refused(
                format!("no TLS connection to {url}: {story}"),
                "sslmode= in libra.store.url says how far the connection is protected, sslrootcert= which authority \
                 signed the server's certificate",
            );
        }
        if story.contains("invalid configuration") || story.contains("password missing") {
            return refused(
                format!("{url} asks for a password and libra.store.url has none"),
                "write postgres://user:password@host:5432/database",
            );
        }
        return StoreError::Unreachable(format!("{url}: {story}"));
    };
    if class(code) == "28" {
        return refused(
            format!("{url} does not let us in: {story}"),
            "check user and password in libra.store.url, and the server's pg_hba.conf",
        );
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        let database = url.config().get_dbname().or(url.config().get_user()).unwrap_or_default();
        return refused(
            format!("{url}: there is no database {database}"),
            &format!("make it: createdb {database}"),
        );
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return refused(
            format!("{url}: {story}"),
            "the user needs CONNECT on the database and CREATE on its schema",
        );
    }
    // Too many connections, starting up, shutting down: all of them pass.
    StoreError::Unreachable(format!("{url}: {story}"))
}
