//! Standard output for data, standard error for all else.

use std::io::{IsTerminal, Write};

use crate::failure::{Exit, Failure};

/// Writes data. A reader that went away (`libra jobs | head`) ends the command quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for data that is no text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Failure::new(Exit::Failed, format!("standard output can't be written: {e}"))),
    }
}

/// Writes JSON, indented, with a line end.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("the answer can't be printed: {e}")))?;
    print(&format!("{text}\n"))
}

/// Writes JSON on one line: one value of many that follow each other.
pub(crate) fn print_json_line(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("the answer can't be printed: {e}")))?;
    print(&format!("{text}\n"))
}

/// Writes what a job wrote to its standard error to ours. Where nobody listens, nothing is lost.
pub(crate) fn print_error(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
}

/// Tells people something, on standard error. Where nobody listens, nothing is lost.
pub(crate) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{}", text.trim_end_matches('\n'));
}

/// True when standard error may be coloured (<https://no-color.org>).
pub(crate) fn colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// `text` on one line: a control character would move the cursor, or worse.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// `text` with its lines and tabs, without any other control character.
pub(crate) fn lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_says_can_not_steer_the_terminal() {
        assert_eq!(one_line("a\nb\u{1b}[2J ü"), "a\\nb\\u{1b}[2J ü");
        assert_eq!(lines("a\n\tb\r\u{1b}[2J"), "a\n\tb\u{fffd}\u{fffd}[2J");
    }
}
