//! The log on stderr: one JSON object a line (contract O2), or text for people.

use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts the log. A second call changes nothing.
pub fn start(level: &str, json: bool) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only when a log was started before, as in tests.
    let _ = tracing_subscriber::registry().with(Lines { json }.with_filter(filter)).try_init();
}

struct Lines {
    json: bool,
}

/// The fields of a span, kept with it.
struct Kept(Map<String, Value>);

#[derive(Default)]
struct Collect(Map<String, Value>);

impl Collect {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(camel(field.name()), value);
    }
}

impl Visit for Collect {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(value.to_owned()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::String(value.to_string()));
    }
}

/// `job_id` → `jobId`: the references' spelling.
fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
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
    out
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut fields = Collect::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(Kept(fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Collect::default();
        event.record(&mut fields);
        let message = fields.0.shift_remove("message");
        let text = message.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let meta = event.metadata();
        let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        let mut line = Map::new();
        line.insert("timestamp".into(), Value::String(format!("{now:.3}")));
        line.insert("level".into(), Value::String(meta.level().to_string()));
        line.insert("logger".into(), Value::String(meta.target().to_owned()));
        line.insert("message".into(), Value::String(text.clone()));
        if let Some(scope) = ctx.event_scope(event) {
            for span in scope.from_root() {
                if let Some(kept) = span.extensions().get::<Kept>() {
                    line.extend(kept.0.clone());
                }
            }
        }
        line.extend(fields.0);
        if matches!(*meta.level(), Level::WARN | Level::ERROR)
            && let Some(cause) = line.shift_remove("error")
        {
            line.insert("stacktrace".into(), cause);
        }
        let mut out = if self.json {
            Value::Object(line).to_string()
        } else {
            let rest: Vec<String> = line.iter().skip(4).map(|(k, v)| format!("{k}={v}")).collect();
            format!("{now:.3} {:5} {text} {}", meta.level(), rest.join(" "))
        };
        out.push('\n');
        // There is nobody to tell when the log itself can't be written.
        let _ = std::io::stderr().lock().write_all(out.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_are_spelled_as_the_references_do() {
        assert_eq!(super::camel("correlation_id"), "correlationId");
        assert_eq!(super::camel("level"), "level");
    }
}
