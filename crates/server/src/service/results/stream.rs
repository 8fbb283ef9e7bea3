//! A result that is turned into another form while it is sent: no more of it is in memory than one piece.

use std::io;

use bytes::Bytes;
use libra_engines::arrow_rows::ArrowRows;
use libra_engines::attempt_dir::ResultMeta;
use serde_json::Value;

use super::csv;
use super::stored::Lines;

/// A piece of CSV is sent from this size on, in bytes.
const CSV_PIECE: usize = 64 * 1024;
/// Rows in one Arrow batch, at most.
const BATCH_ROWS: usize = 8_192;
/// Bytes of JSON in one Arrow batch, about.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Rows on their way out.
pub(crate) struct ResultStream {
    lines: Lines,
    form: Form,
}

enum Form {
    Csv { columns: Vec<String>, header: bool },
    Arrow(Box<ArrowRows>),
    Over,
}

impl ResultStream {
    pub(super) fn csv(meta: &ResultMeta, lines: Lines, header: bool) -> Self {
        let fields = meta.schema.get("fields").and_then(Value::as_array).into_iter().flatten();
        let names = fields.filter_map(|field| Some(field.get("name")?.as_str()?.to_owned()));
        let columns: Vec<String> = names.collect();
        let header = header && !columns.is_empty();
        Self { lines, form: Form::Csv { columns, header } }
    }

    pub(super) fn arrow(meta: &ResultMeta, lines: Lines) -> io::Result<Self> {
        let rows = ArrowRows::new(&meta.schema).map_err(io::Error::other)?;
        Ok(Self { lines, form: Form::Arrow(Box::new(rows)) })
    }

    /// The next piece, and the stream after it; None at the end.
    pub(crate) async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let made = tokio::task::spawn_blocking(move || {
            let piece = self.make();
            if !matches!(piece, Ok(Some(_))) {
                self.form = Form::Over;
            }
            piece.transpose().map(|piece| (piece, self))
        });
        // A panic there is a bug; the connection is cut off, so nobody takes the piece for the whole.
        made.await.ok().flatten()
    }

    fn make(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.form {
            Form::Over => Ok(None),
            Form::Csv { columns, header } => {
                let mut out = Vec::new();
                if std::mem::take(header) {
                    csv::header(columns, &mut out);
                }
                while out.len() < CSV_PIECE
                    && let Some(row) = self.lines.next()?
                {
                    csv::row(columns, &row, &mut out);
                }
                Ok(Some(out).filter(|out| !out.is_empty()).map(Bytes::from))
            }
            Form::Arrow(arrow) => {
                let begun = self.lines.at();
                let mut rows = Vec::new();
                while rows.len() < BATCH_ROWS
                    && self.lines.at() - begun < BATCH_BYTES
                    && let Some(row) = self.lines.next()?
                {
                    rows.push(row);
                }
                if rows.is_empty() {
                    let last = arrow.finish().map_err(io::Error::other)?;
                    self.form = Form::Over;
                    return Ok(Some(last.into()));
                }
                Ok(Some(arrow.write(&rows).map_err(io::Error::other)?.into()))
            }
        }
    }
}
