//! Reads what the server says went wrong.

use libra_core::failure::{ErrorClass, Failure};
use tonic::{Code, Status};

use super::result::ResultError;

/// What an answer other than a result means for the operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection or the stream broke: attach again.
    Retry,
    /// The server lives but can no longer deliver the operation's responses from where they are needed.
    ResultGone,
    /// The operation ended with this error.
    Final,
}

/// Judges an error.
///
/// An error with a source was made on this side, by a broken connection; one without it was sent by the server.
pub(super) fn judge(status: &Status) -> Verdict {
    if std::error::Error::source(status).is_some() {
        return Verdict::Retry;
    }
    let message = status.message();
    if message.contains("[INVALID_CURSOR.DISCONNECTED]") {
        return Verdict::Retry;
    }
    if message.contains("[INVALID_CURSOR.") || message.contains("[INVALID_HANDLE.") {
        return Verdict::ResultGone;
    }
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => Verdict::Retry,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final,
    }
}

/// True when the server does not know the session that was asked for: it was restarted, or has ended the session.
pub(super) fn is_another_session(status: &Status) -> bool {
    status.message().contains("[INVALID_HANDLE.SESSION_")
}

/// True when the error says that the operation was interrupted. Where Spark names its error the name decides, not
/// the text, which may quote the user's own words.
pub(super) fn is_interruption(status: &Status) -> bool {
    let message = status.message();
    match error_name(message) {
        Some(name) => {
            matches!(name, "OPERATION_CANCELED" | "SPARK_JOB_CANCELLED") || name.starts_with("INTERRUPTED")
        }
        // The second is what Sail says of an operation that was interrupted.
        None => message.contains(" cancelled ") || message.contains("operation not found"),
    }
}

/// True when Spark stopped its context although the server's process lives: it will never work again.
pub(super) fn is_beyond_repair(status: &Status) -> bool {
    let message = status.message();
    message.contains("SparkContext was shut down") || message.contains("stopped SparkContext")
}

/// True when the error carries one of Spark's error classes.
pub(super) fn is_named(status: &Status) -> bool {
    error_class(status.message()).is_some()
}

/// The failure that the user reads.
pub(super) fn failure(status: &Status) -> Failure {
    let message = status.message().trim();
    if let Some(name) = error_name(message)
        && !is_interruption(status)
    {
        return match name {
            "UNABLE_TO_ACQUIRE_MEMORY" => out_of_memory(message),
            _ => Failure::new(ErrorClass::User, "sql_error", headline(message)).with_detail(message),
        };
    }
    if message.contains("OutOfMemoryError") {
        return out_of_memory(message);
    }
    if message.contains("spark.driver.maxResultSize") {
        return Failure::new(
            ErrorClass::User,
            "result_too_large",
            "The result is larger than the shared Spark server may hold. Ask for fewer rows (LIMIT), aggregate them, \
             or write them into a table.",
        )
        .with_detail(message);
    }
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented) {
        return Failure::new(
            ErrorClass::Infrastructure,
            "engine_refused",
            format!("The shared Spark server refused the call: {}", headline(message)),
        )
        .with_detail(message);
    }
    if is_beyond_repair(status) || message.contains("ExecutorLostFailure") {
        return Failure::new(
            ErrorClass::Infrastructure,
            "engine_lost",
            format!("Spark lost its workers while the query ran: {}", headline(message)),
        )
        .with_detail(message)
        .with_unknown_outcome();
    }
    if is_interruption(status) {
        return Failure::new(
            ErrorClass::Infrastructure,
            "interrupted",
            "The query was interrupted, but not by Libra.",
        )
        .with_detail(message)
        .with_unknown_outcome();
    }
    Failure::new(ErrorClass::User, "sql_error", headline(message)).with_detail(message)
}

/// The failure when the server opens no session: nothing of the job was looked at so far.
pub(super) fn no_session(status: &Status) -> Failure {
    let message = status.message().trim();
    Failure::new(
        ErrorClass::Infrastructure,
        "engine_refused",
        format!("The Spark Connect server opens no session: {}", headline(message)),
    )
    .with_detail(message)
}

/// The failure when memory ran out.
pub(super) fn out_of_memory(detail: &str) -> Failure {
    Failure::new(
        ErrorClass::Resources,
        "out_of_memory",
        "The query needed more memory than the shared Spark server has. Run it with `spark-submit` and more driver \
         memory, or make it read or return less at once.",
    )
    .with_detail(detail)
}

/// The failure when the result could not be kept.
pub(super) fn result_failure(error: &ResultError) -> Failure {
    let text = format!("The query was carried out, but {error}.");
    match error {
        ResultError::Disk(_) => Failure::new(ErrorClass::Infrastructure, "result_not_saved", text),
        ResultError::Unreadable(_) if text.contains("decompression") => Failure::new(
            ErrorClass::User,
            "result_compressed",
            "The query was carried out, but its session compresses results, which Libra does not read. Leave \
             `spark.sql.execution.arrow.compression.codec` as it is.",
        ),
        ResultError::Unreadable(_) | ResultError::Rows { .. } | ResultError::NoSchema => {
            Failure::new(ErrorClass::Infrastructure, "result_unreadable", text)
        }
    }
}

/// The longest headline, in characters.
const MAX_HEADLINE_CHARS: usize = 600;

/// Spark's own sentences: from the error class (`[TABLE_OR_VIEW_NOT_FOUND] …`) to the end of its line, without the
/// Java around it and the query plan behind it.
fn headline(message: &str) -> String {
    let start = error_class(message).unwrap_or(0);
    let line = message[start..].lines().next().unwrap_or_default().trim();
    let line = if line.is_empty() { "Spark gave no reason." } else { line };
    // `; line 1 pos 14;` is followed by the plan on lines of its own.
    let line = line.trim_end_matches(';');
    match line.char_indices().nth(MAX_HEADLINE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Where the first `[UPPER_CASE.NAME] ` is.
fn error_class(message: &str) -> Option<usize> {
    message.match_indices('[').map(|(at, _)| at).find(|at| {
        let inside = &message[at + 1..];
        inside.split_once("] ").is_some_and(|(name, _)| {
            name.len() > 3
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
        })
    })
}

/// The name of Spark's error: `TABLE_OR_VIEW_NOT_FOUND`, with its subclass behind a dot.
fn error_name(message: &str) -> Option<&str> {
    let inside = &message[error_class(message)? + 1..];
    inside.split_once(']').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_words_decide_nothing() {
        for text in ["order was cancelled twice", "java.lang.OutOfMemoryError", "ExecutorLostFailure"] {
            let status = Status::internal(format!("[USER_RAISED_EXCEPTION] {text} SQLSTATE: P0001"));
            assert_eq!(failure(&status).code, "sql_error", "{text}");
            assert!(!is_interruption(&status), "{text}");
        }
    }

    #[test]
    fn spark_errors_are_the_users() {
        // contract: L4
        let status = Status::internal(
            "[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found. SQLSTATE: 42P01; line 1 pos 14;\n\
             'Project [*]\n+- 'UnresolvedRelation [x]",
        );
        assert_eq!(judge(&status), Verdict::Final);
        let failure = failure(&status);
        assert_eq!((failure.class, failure.code.as_str()), (ErrorClass::User, "sql_error"));
        assert_eq!(
            failure.message,
            "[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found. SQLSTATE: 42P01; line 1 pos 14"
        );
        assert!(failure.detail.unwrap().contains("UnresolvedRelation"));
    }

    #[test]
    fn the_class_is_found_behind_java() {
        let text =
            "Job aborted: Task 0 [in 1] failed: org.apache.X: [DIVIDE_BY_ZERO] Division by zero.\n\tat a.b";
        assert_eq!(headline(text), "[DIVIDE_BY_ZERO] Division by zero.");
        assert_eq!(headline("java.lang.Foo: é"), "java.lang.Foo: é");
        assert_eq!(headline(""), "Spark gave no reason.");
    }

    #[test]
    fn other_errors_are_told_apart() {
        assert_eq!(judge(&Status::internal("[INVALID_CURSOR.DISCONNECTED] x")), Verdict::Retry);
        assert_eq!(
            judge(&Status::internal("[INVALID_CURSOR.POSITION_NOT_AVAILABLE] x")),
            Verdict::ResultGone
        );
        assert_eq!(judge(&Status::internal("[INVALID_HANDLE.OPERATION_NOT_FOUND] x")), Verdict::ResultGone);
        assert_eq!(judge(&Status::unavailable("x")), Verdict::Retry);
        assert!(is_interruption(&Status::internal("[OPERATION_CANCELED] Operation has been canceled.")));
        let failure = failure(&Status::internal("java.lang.OutOfMemoryError: Java heap space"));
        assert_eq!(failure.class, ErrorClass::Resources);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\[[A-Z_.]*\\] ?)?.*") {
            proptest::prop_assert!(!headline(&text).is_empty());
        }
    }
}
