//! Writes Arrow batches as JSON rows, one object a line (contract A2).

use arrow_array::{RecordBatch, StructArray};
use arrow_ipc::reader::StreamReader;
use bytes::Bytes;

use super::encoder::{self, Encoder};
use super::proto_types::Struct;
use super::schema::column_names;
use super::{json, variant};

/// A batch that can't be turned into rows.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// Arrow's own reader refused it.
    #[error("a batch of the result can't be read: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A column is not what the schema says.
    #[error("column `{column}` arrived as {arrow}, which its type does not allow")]
    Column {
        /// Its name.
        column: String,
        /// Arrow's type.
        arrow: String,
    },
    /// The number of columns differs from the schema's.
    #[error("a batch of the result has {found} columns instead of {expected}")]
    Width {
        /// In the batch.
        found: usize,
        /// In the schema.
        expected: usize,
    },
    /// A VARIANT value is broken.
    #[error(transparent)]
    Variant(#[from] variant::Malformed),
}

/// Turns batches of one result into lines.
pub(super) struct RowWriter {
    schema: Struct,
    /// `"name":` of each column, ready to be written.
    keys: Vec<Vec<u8>>,
}

impl RowWriter {
    /// A writer for rows of this schema.
    pub(super) fn new(schema: Struct) -> Self {
        let keys = keys(&schema);
        Self { schema, keys }
    }

    /// Appends the rows of one IPC stream to `out` until it holds `room` bytes.
    ///
    /// Answers the number of rows written, and whether all of them fitted. A row is written whole or not at all.
    pub(super) fn write(&self, ipc: Bytes, room: u64, out: &mut Vec<u8>) -> Result<(u64, bool), Unreadable> {
        let mut rows = 0;
        for batch in StreamReader::try_new(std::io::Cursor::new(ipc), None)? {
            let batch = batch?;
            let columns = self.columns(&batch)?;
            for row in 0..batch.num_rows() {
                let start = out.len();
                object(&self.keys, &columns, row, out)?;
                out.push(b'\n');
                if out.len() as u64 > room {
                    out.truncate(start);
                    return Ok((rows, false));
                }
                rows += 1;
            }
        }
        Ok((rows, true))
    }

    fn columns<'a>(&'a self, batch: &'a RecordBatch) -> Result<Vec<Encoder<'a>>, Unreadable> {
        encoder::fields(&self.schema, batch.columns())
    }
}

/// `"name":` of each field, duplicates renamed.
pub(super) fn keys(schema: &Struct) -> Vec<Vec<u8>> {
    column_names(schema.fields.iter().map(|f| f.name.as_str()))
        .iter()
        .map(|name| {
            let mut key = Vec::with_capacity(name.len() + 3);
            json::string(name, &mut key);
            key.push(b':');
            key
        })
        .collect()
}

/// Appends one object.
pub(super) fn object(
    keys: &[Vec<u8>],
    columns: &[Encoder<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    out.push(b'{');
    for (at, (key, column)) in keys.iter().zip(columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        column.write(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A struct's columns, for [`encoder`].
pub(super) fn struct_columns<'a>(
    schema: &Struct,
    array: &'a StructArray,
) -> Result<Vec<Encoder<'a>>, Unreadable> {
    encoder::fields(schema, array.columns())
}
