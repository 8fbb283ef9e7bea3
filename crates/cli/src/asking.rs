//! Asking before something is done.

use std::io::{BufRead, IsTerminal};

use crate::failure::{Exit, Failure};
use crate::output;

/// Refuses early where nobody can be asked: without a terminal, or when something else is read from it (`taken`).
/// `what` would be done.
pub(crate) fn can_ask(what: &str, taken: bool) -> Result<(), Failure> {
    let why = match (taken, std::io::stdin().is_terminal()) {
        (false, true) => return Ok(()),
        (true, _) => "standard input is read already",
        (false, false) => "standard input is no terminal",
    };
    Err(Failure::usage(format!("nobody can be asked whether to {what}: {why}"))
        .hint(format!("--yes says that you want to {what}")))
}

/// Asks on the terminal. Everything but yes is no, and a failure.
pub(crate) fn ask(question: &str, otherwise: &str) -> Result<(), Failure> {
    output::print_error(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|e| Failure::new(Exit::Failed, format!("the answer can't be read: {e}")))?;
    if is_yes(&answer) { Ok(()) } else { Err(Failure::new(Exit::Failed, otherwise)) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y", "Y\n", "yes\r\n", " YES "].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "no", "yess", "ye", "1", "y y"].into_iter().any(is_yes));
    }

    #[test]
    fn where_nobody_can_be_asked_it_is_refused() {
        let refused = can_ask("apply this", true).unwrap_err();
        assert_eq!(
            refused.render(false),
            "error: nobody can be asked whether to apply this: standard input is read already\n\
             hint: --yes says that you want to apply this\n"
        );
        assert_eq!(refused.exit(), Exit::Usage);
    }
}
