//! The older text format of Prometheus, for those who do not ask for OpenMetrics: `curl`, `promtool check metrics`.

use std::fmt::Write as _;

/// The content type of OpenMetrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the older format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Figures in OpenMetrics in the older format: a counter is called there as its samples are, and there are no units.
pub fn of_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((of, words)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(classic, "# HELP {of}{total} {words}");
            }
            let _ = writeln!(classic, "# TYPE {name}{total} {kind}");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            classic += line;
            classic.push('\n');
        }
    }
    classic
}

/// Whether a reader asks for OpenMetrics.
pub fn wants_open_metrics(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.contains("application/openmetrics-text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_as_their_samples() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n\
                    # HELP b Size.\n# TYPE b gauge\nb{c=\"# EOF\"} 2.0\n# EOF\n";
        let classic = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
                       # HELP b Size.\n# TYPE b gauge\nb{c=\"# EOF\"} 2.0\n";
        assert_eq!(of_open_metrics(open), classic);
        assert!(wants_open_metrics(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")));
        assert!(!wants_open_metrics(Some("*/*")) && !wants_open_metrics(None));
    }
}
