//! Tells SQL that only reads from SQL that may change something.

/// True when the first keyword of `sql` is `SELECT`, `VALUES` or `TABLE`: such a text has no effect beyond its
/// rows and is executed with a single call. Everything else (`WITH … INSERT` too) counts as a command.
pub(super) fn only_reads(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    ["SELECT", "VALUES", "TABLE"].iter().any(|keyword| rest[..end].eq_ignore_ascii_case(keyword))
}

/// What follows a bracketed comment, whose opening is gone already; such comments nest in Spark.
fn after_comment(mut rest: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let (open, close) = (rest.find("/*"), rest.find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => {
                depth += 1;
                rest = &rest[open + 2..];
            }
            (_, Some(close)) => {
                depth -= 1;
                rest = &rest[close + 2..];
            }
            (_, None) => return "",
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn queries_only_read() {
        for sql in [
            "SELECT 1",
            "  select*from t",
            "VALUES (1), (2)",
            "TABLE t",
            "(SELECT 1) UNION (SELECT 2)",
            "((\n select 1))",
            "-- all of them\nSELECT 1",
            "/* a /* nested */ comment */ SELECT 1",
            "/**/--x\r\n(SELECT 1)",
            "SELECT",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_a_command() {
        for sql in [
            "",
            "CREATE TABLE t (a INT)",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "FROM x INSERT INTO t SELECT *",
            "INSERT INTO t SELECT 1",
            "-- SELECT 1",
            "/* SELECT 1",
            "SELECTED 1",
            "select_x",
            "EXPLAIN SELECT 1",
            "SHOW TABLES",
            "BEGIN SELECT 1; END",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[-/*( \nSELECTé]*.*") {
            let _ = only_reads(&sql);
        }
    }
}
