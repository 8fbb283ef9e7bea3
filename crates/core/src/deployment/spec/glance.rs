//! What the first words of a statement tell, so that `apply` can answer at once. It is a kindness and no guard: Flink's own
//! parser reads the statements when they run, and what runs them (`deploy/flink-runner`) refuses by what that has read.

/// How settings begin that are Flink's own.
const INTERNAL: &str = "$internal.";
/// Settings that name programs.
const OF_CODE: [&str; 5] =
    ["pipeline.jars", "pipeline.classpaths", "python.files", "python.archives", "python.requirements"];

/// True for a statement that only gives rows: `SELECT`, `VALUES`, one in brackets, or one with common tables before it.
fn is_query(statement: &str) -> bool {
    let first = words(statement).next().unwrap_or_default();
    first.starts_with('(') || is_one_of(first, &["SELECT", "WITH", "VALUES"])
}

/// Why a statement must not be carried out, whoever has written it; reads on after "statement N".
pub fn is_refused(statement: &str) -> Option<&'static str> {
    if is_query(statement) {
        return Some("is a query whose rows nobody reads: write `INSERT INTO` and a table before it");
    }
    // Among them the job's id, by which it is known.
    sets(statement, &[INTERNAL]).then_some("sets what is Flink's own (`$internal…`): leave it out")
}

/// True for a statement that plainly brings a program along: `ADD JAR`, `USING JAR`, or a setting that names one.
pub fn brings_code(statement: &str) -> bool {
    let mut words = words(statement);
    match words.next().unwrap_or_default() {
        first if first.eq_ignore_ascii_case("ADD") => {
            words.next().is_some_and(|second| second.eq_ignore_ascii_case("JAR"))
        }
        first if is_one_of(first, &["CREATE", "ALTER"]) => {
            let mut from_using = words.skip_while(|word| !word.eq_ignore_ascii_case("USING"));
            from_using.nth(1).is_some_and(|word| word.eq_ignore_ascii_case("JAR"))
        }
        _ => sets(statement, &OF_CODE),
    }
}

/// True for a statement that writes rows into a table.
pub fn is_insert(statement: &str) -> bool {
    words(statement).next().is_some_and(|first| first.eq_ignore_ascii_case("INSERT"))
}

/// True for a `SET` or `RESET` in which one of `keys` stands.
fn sets(statement: &str, keys: &[&str]) -> bool {
    let first = words(statement).next().unwrap_or_default();
    let lower = statement.to_ascii_lowercase();
    is_one_of(first, &["SET", "RESET"]) && keys.iter().any(|key| lower.contains(key))
}

fn is_one_of(word: &str, all: &[&str]) -> bool {
    all.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// The words of a statement, comments between them left out; an opening bracket is the first letter of its word.
pub(super) fn words(statement: &str) -> impl Iterator<Item = &str> {
    let mut rest = statement;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            let end = if rest.starts_with("--") {
                rest.find('\n')?
            } else if rest.starts_with("/*") {
                rest.find("*/")? + 2
            } else {
                break;
            };
            rest = &rest[end..];
        }
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(at, c)| c.is_whitespace() || *c == '(' || rest[*at..].starts_with("/*"))
            .map_or(rest.len(), |(at, _)| at);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_flinks_own_is_not_set() {
        for refused in [
            "SET '$internal.pipeline.job-id' = 'a'",
            "/* x */ reset '$INTERNAL.a'",
            "SELECT 1",
            "(VALUES (1))",
        ] {
            assert!(is_refused(refused).is_some(), "{refused}");
        }
        for taken in
            ["SET 'pipeline.name' = 'a'", "INSERT INTO t SELECT '$internal.a'", "CREATE TABLE t (a INT)"]
        {
            assert_eq!(is_refused(taken), None, "{taken}");
        }
    }

    #[test]
    fn a_statement_that_plainly_brings_a_program_along_is_known() {
        for brings in [
            "ADD JAR 'https://x/y.jar'",
            "/* x */ add -- y\n jar 'y.jar'",
            "CREATE FUNCTION f AS 'a.B' USING /* */ jar '/a.jar'",
            "CREATE FUNCTION f AS 'a.B' USING/**/JAR '/a.jar'",
            "set 'Pipeline.Jars' = 'file:/a.jar'",
        ] {
            assert!(brings_code(brings), "{brings}");
        }
        for other in [
            "CREATE FUNCTION f AS 'a.B'",
            "CREATE VIEW v AS SELECT a AS jar FROM t JOIN u USING (a)",
            "INSERT INTO jars SELECT jar, 'pipeline.jars' FROM t",
            "SET 'a' = 'b'",
            "ADD",
            "",
        ] {
            assert!(!brings_code(other), "{other}");
        }
    }

    #[test]
    fn queries_and_inserts_are_known_by_their_first_word() {
        for query in [
            "SELECT 1",
            "-- a\nselect\n1",
            "/* b */ WITH q AS (SELECT 1) SELECT 2",
            "(SELECT 1)",
            "VALUES(1)",
        ] {
            assert!(is_query(query), "{query}");
            assert!(!is_insert(query), "{query}");
        }
        for other in ["INSERT INTO a SELECT 1", "SHOW TABLES", "selected", "", "-- SELECT 1", "/* SELECT"] {
            assert!(!is_query(other), "{other}");
        }
        assert!(is_insert("-- a\ninsert/**/into a SELECT 1"));
    }
}
