//! Reading a driver's last words: what the end of its log says.

/// The head line of a Python traceback.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// What the last traceback ends with: `ZeroDivisionError: division by zero`.
pub(super) fn exception(log: &str) -> Option<String> {
    let (_, block) = log.rsplit_once(TRACEBACK)?;
    let line =
        block.lines().skip(1).find(|line| !line.is_empty() && !line.starts_with(char::is_whitespace))?;
    // Spark's own exceptions come with the whole name of their module in front.
    let (name, words) = line.split_once(": ").unwrap_or((line, ""));
    let name = name.rsplit_once('.').filter(|_| !name.contains(' ')).map_or(name, |(_, short)| short);
    let words = words.trim_end_matches(';');
    Some(if words.is_empty() { name.to_owned() } else { format!("{name}: {words}") })
}

/// The last traceback, whole.
pub(super) fn traceback(log: &str) -> Option<&str> {
    log.rfind(TRACEBACK).map(|at| &log[at..])
}

/// The jar that spark-submit passed over because it is not there.
pub(super) fn missing_jar(log: &str) -> Option<&str> {
    let (_, after) = log.split_once("Local jar ")?;
    let (file, rest) = after.split_once(' ')?;
    rest.starts_with("does not exist").then_some(file)
}

/// What the main thread of a JVM died of, from its first line on.
pub(super) fn stack_trace(log: &str) -> &str {
    log.rfind("Exception in thread \"main\" ").map_or("", |at| &log[at..])
}

/// `java.lang.IllegalStateException: words` without the package.
pub(super) fn without_package(said: &str) -> String {
    let (name, words) = said.split_once(':').unwrap_or((said, ""));
    let short = name.rsplit_once('.').filter(|_| !name.contains(' ')).map_or(name, |(_, short)| short);
    if words.is_empty() { short.to_owned() } else { format!("{short}:{words}") }
}

/// The first line in which the JVM says that something went wrong.
pub(super) fn java_error(log: &str) -> Option<&str> {
    log.lines().find_map(|line| {
        let words = line.trim();
        let (_, said) = words
            .split_once("Exception in thread \"main\" ")
            .or_else(|| words.split_once("Error: ").filter(|(before, _)| before.is_empty()))?;
        Some(said)
    })
}

/// The marks of memory that ran out, in a JVM or in Python.
pub(crate) fn is_out_of_memory(text: &str) -> bool {
    [
        "java.lang.OutOfMemoryError",
        "SparkOutOfMemoryError",
        "exceeding memory limits",
        "exceeding physical memory",
    ]
    .iter()
    .any(|mark| text.contains(mark))
        || exception(text).is_some_and(|e| e == "MemoryError" || e.starts_with("MemoryError:"))
}

/// The mark of a cluster that was lost or never there, with what to say about it.
pub(super) fn lost_cluster(text: &str) -> Option<&'static str> {
    let marks = [
        (
            "All masters are unresponsive",
            "The Spark master did not answer. Check `spark.master` and the cluster.",
        ),
        ("Master removed our application", "The Spark master removed the application."),
        ("ExecutorLostFailure", "Executors of the job were lost."),
        ("SparkContext was shut down", "The Spark session was shut down while the job ran."),
    ];
    marks.into_iter().find(|(mark, _)| text.contains(mark)).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exception_is_named_without_its_address() {
        let log = "out\nTraceback (most recent call last):\n  File \"/a.py\", line 1, in <module>\n    1/0\n\
                   ZeroDivisionError: division by zero\n";
        assert_eq!(exception(log).as_deref(), Some("ZeroDivisionError: division by zero"));
        let log = "Traceback (most recent call last):\n  File \"/a.py\"\npyspark.errors.exceptions.captured.\
                   AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table `a.b` cannot be found.;\n'Project [*]\n";
        assert_eq!(
            exception(log).as_deref(),
            Some("AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table `a.b` cannot be found.")
        );
        let log = "Traceback (most recent call last):\n  x\nKeyboardInterrupt\n";
        assert_eq!(exception(log).as_deref(), Some("KeyboardInterrupt"));
        assert_eq!(exception("all is well"), None);
    }

    #[test]
    fn a_jar_says_what_it_died_of() {
        assert_eq!(
            without_package("java.lang.IllegalStateException: a: b.c"),
            "IllegalStateException: a: b.c"
        );
        assert_eq!(without_package("Boom"), "Boom");
        let log = "WARN DependencyUtils: Local jar /no.jar does not exist, skipping.\nError: Failed to load class A.\n";
        assert_eq!(missing_jar(log), Some("/no.jar"));
        assert_eq!(
            stack_trace("x\nException in thread \"main\" E\n\tat a"),
            "Exception in thread \"main\" E\n\tat a"
        );
    }

    #[test]
    fn memory_that_ran_out_is_recognised() {
        assert!(is_out_of_memory("Terminating due to java.lang.OutOfMemoryError: Java heap space"));
        assert!(is_out_of_memory("Traceback (most recent call last):\n  x\nMemoryError\n"));
        assert!(!is_out_of_memory("the word MemoryError in a log"));
    }

    proptest::proptest! {
        #[test]
        fn no_log_makes_it_panic(log in "(Traceback \\(most recent call last\\)|.|\n){0,20}") {
            let _ = (exception(&log), java_error(&log), traceback(&log));
        }
    }
}
