//! Rows as they are stored, one JSON object each, as an Arrow IPC stream: the same for every engine, and nothing more
//! has to be stored.
//!
//! The columns have the types that Spark's schema says. What Arrow has no type of its own for that every reader knows
//! (intervals, variants, user-defined and spatial types) is text, as in JSON. A variant that is JSON's null is NULL.

mod column;
mod kind;
mod time;

#[cfg(test)]
mod tests;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use serde_json::Value;

use self::kind::Kind;

/// Why rows can't be written.
#[derive(Debug, thiserror::Error)]
pub enum NotArrow {
    /// A value is not of the type that the schema says.
    #[error("{value} is no {kind}")]
    Value {
        /// The type.
        kind: String,
        /// The beginning of the value.
        value: String,
    },
    /// Arrow's own writer refused.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// Writes rows of one schema.
pub struct ArrowRows {
    columns: Vec<(String, Kind)>,
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowRows {
    /// A writer for rows of `schema`, in Spark's JSON spelling.
    ///
    /// # Errors
    /// When Arrow refuses the schema.
    pub fn new(schema: &Value) -> Result<Self, NotArrow> {
        let (columns, fields) = kind::fields(schema);
        let schema = SchemaRef::new(Schema::new(fields));
        Ok(Self { columns, writer: StreamWriter::try_new(Vec::new(), &schema)?, schema })
    }

    /// One batch of rows as bytes of the stream; the first one has the schema before it.
    ///
    /// # Errors
    /// When a row does not fit the schema.
    pub fn write(&mut self, rows: &[Value]) -> Result<Vec<u8>, NotArrow> {
        let arrays = self.columns.iter().map(|(name, kind)| {
            let values: Vec<Option<&Value>> =
                rows.iter().map(|row| row.get(name).filter(|v| !v.is_null())).collect();
            column::array(kind, &values)
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)?;
        self.writer.write(&batch)?;
        Ok(std::mem::take(self.writer.get_mut()))
    }

    /// The end of the stream.
    ///
    /// # Errors
    /// When Arrow refuses.
    pub fn finish(&mut self) -> Result<Vec<u8>, NotArrow> {
        self.writer.finish()?;
        Ok(std::mem::take(self.writer.get_mut()))
    }
}
