//! The log on stderr: one JSON object a line (contract O2), or text for people.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Room for the fields of a usual line, in bytes.
const USUAL_BYTES: usize = 512;

/// Starts the log. A second call changes nothing.
pub fn start(level: &str, json: bool) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only when a log was started before, as in tests.
    let _ = tracing_subscriber::registry().with(Lines { json }.with_filter(filter)).try_init();
}

struct Lines {
    json: bool,
}

/// The fields of a span as they are written, kept with it. Its events do not repeat them.
struct Kept(String);

/// Writes fields as they come: several lines belong to every request, so nothing is built only to be printed.
struct Fields {
    json: bool,
    /// Warnings and errors call their cause by the references' name.
    severe: bool,
    /// Each field behind the one before, a comma or a space first.
    text: String,
    message: String,
}

impl Fields {
    fn new(json: bool, level: Level) -> Self {
        let severe = matches!(level, Level::WARN | Level::ERROR);
        Self { json, severe, text: String::with_capacity(USUAL_BYTES), message: String::new() }
    }

    fn name(&mut self, field: &Field) {
        let name = if self.severe && field.name() == "error" { "stacktrace" } else { field.name() };
        self.text.push_str(if self.json { ",\"" } else { " " });
        camel(name, &mut self.text);
        self.text.push_str(if self.json { "\":" } else { "=" });
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        // Writing to a String can't fail.
        let _ = self.text.write_fmt(value);
    }

    fn quoted(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            let _ = self.message.write_fmt(value);
        } else {
            self.name(field);
            quote(&mut self.text, value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.quoted(field, format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, format_args!("{value}"));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, format_args!("{value:?}"));
        } else {
            self.plain(field, format_args!("null"));
        }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.quoted(field, format_args!("{value}"));
    }
}

/// A JSON string that is written piece by piece.
struct Quoted<'a>(&'a mut String);

impl fmt::Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
            let (plain, special) = rest.split_at(at);
            self.0.push_str(plain);
            let mut special = special.chars();
            match special.next() {
                Some('\n') => self.0.push_str("\\n"),
                Some(c) if c < ' ' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                Some(c) => {
                    self.0.push('\\');
                    self.0.push(c);
                }
                None => {}
            }
            rest = special.as_str();
        }
        self.0.push_str(rest);
        Ok(())
    }
}

fn quote(out: &mut String, value: fmt::Arguments<'_>) {
    out.push('"');
    // Writing to a String can't fail; what can't be shown is left out.
    let _ = Quoted(out).write_fmt(value);
    out.push('"');
}

/// `job_id` → `jobId`: the references' spelling.
fn camel(name: &str, out: &mut String) {
    let mut up = false;
    for c in name.chars() {
        if c == '_' {
            up = true;
        } else if up {
            out.extend(c.to_uppercase());
            up = false;
        } else {
            out.push(c);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut fields = Fields::new(self.json, *attributes.metadata().level());
            attributes.record(&mut fields);
            span.extensions_mut().insert(Kept(fields.text));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let meta = event.metadata();
        let mut fields = Fields::new(self.json, *meta.level());
        event.record(&mut fields);
        let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        let mut line = String::with_capacity(USUAL_BYTES);
        let _ = if self.json {
            let begin = r#"{"timestamp":""#;
            write!(
                line,
                r#"{begin}{now:.3}","level":"{}","logger":"{}","message":"#,
                meta.level(),
                meta.target()
            )
        } else {
            write!(line, "{now:.3} {:5} {}", meta.level(), fields.message)
        };
        if self.json {
            quote(&mut line, format_args!("{}", fields.message));
        }
        if let Some(scope) = ctx.event_scope(event) {
            for span in scope.from_root() {
                if let Some(kept) = span.extensions().get::<Kept>() {
                    line.push_str(&kept.0);
                }
            }
        }
        line.push_str(&fields.text);
        line.push_str(if self.json { "}\n" } else { "\n" });
        // There is nobody to tell when the log itself can't be written.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_spelled_as_the_references_do() {
        let camel = |name| {
            let mut out = String::new();
            super::camel(name, &mut out);
            out
        };
        assert_eq!(camel("correlation_id"), "correlationId");
        assert_eq!(camel("level"), "level");
    }

    #[test]
    fn strings_are_quoted_as_json() {
        let text: String = (0..=0x9f_u8).map(char::from).chain("\u{2028}🦀 plain \\\"".chars()).collect();
        let mut quoted = String::new();
        quote(&mut quoted, format_args!("{text}{}", 7));
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), format!("{text}7"));
    }
}
