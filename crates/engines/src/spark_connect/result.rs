//! Writes a query's rows and, as the last step, the file that says that they are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::json;

use super::proto_types::{DataType, Kind};
use super::record;
use super::rows::{RowWriter, Unreadable};
use super::schema;
use crate::attempt_dir::{AttemptDir, MAX_RESULT_BYTES, ResultMeta};

/// Why a result could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultError {
    /// The file system refused.
    #[error("the result can't be written: {0}")]
    Disk(#[from] io::Error),
    /// A batch is not readable.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A batch is not what the server said.
    #[error("the server announced {announced} rows and sent {found}")]
    Rows {
        /// Announced.
        announced: i64,
        /// Sent.
        found: u64,
    },
    /// Rows came before their schema.
    #[error("the server sent rows without saying their schema")]
    NoSchema,
}

/// A result that is being written.
pub(super) struct ResultWriter {
    dir: AttemptDir,
    /// Where the rows are until they are whole.
    draft: PathBuf,
    file: File,
    rows: Option<RowWriter>,
    meta: ResultMeta,
    room: u64,
    lines: Vec<u8>,
}

impl ResultWriter {
    /// Begins a result; what a Libra that died had written is thrown away.
    pub(super) fn create(dir: &AttemptDir) -> io::Result<Self> {
        record::remove_stale_drafts(dir)?;
        let draft = record::draft_of(&dir.rows_file());
        Ok(Self {
            dir: dir.clone(),
            file: File::create(&draft)?,
            draft,
            rows: None,
            meta: ResultMeta { schema: json!({ "type": "struct", "fields": [] }), rows: 0, truncated: false },
            room: MAX_RESULT_BYTES,
            lines: Vec::new(),
        })
    }

    /// Takes the schema of the rows that follow; the first one counts.
    pub(super) fn schema(&mut self, data_type: DataType) {
        if let (None, Some(Kind::Struct(columns))) = (&self.rows, data_type.kind) {
            self.meta.schema = schema::spell(&columns);
            self.rows = Some(RowWriter::new(columns));
        }
    }

    /// Appends a batch. False when the result is as large as it may be.
    /// A batch that does not hold the rows that the server says it holds is refused.
    pub(super) fn batch(&mut self, ipc: Bytes, announced: i64) -> Result<bool, ResultError> {
        let writer = self.rows.as_ref().ok_or(ResultError::NoSchema)?;
        self.lines.clear();
        let (rows, whole) = writer.write(ipc, self.room, &mut self.lines)?;
        if whole && i64::try_from(rows) != Ok(announced) {
            return Err(ResultError::Rows { announced, found: rows });
        }
        self.file.write_all(&self.lines)?;
        self.room -= self.lines.len() as u64;
        self.meta.rows += rows;
        self.meta.truncated |= !whole;
        Ok(whole)
    }

    /// Makes the result durable and whole.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_data()?;
        fs::rename(&self.draft, self.dir.rows_file())?;
        self.draft = record::draft_of(&self.dir.result_file());
        let mut file = File::create(&self.draft)?;
        file.write_all(&serde_json::to_vec(&self.meta)?)?;
        file.sync_data()?;
        fs::rename(&self.draft, self.dir.result_file())?;
        File::open(self.dir.path())?.sync_all()
    }
}

impl Drop for ResultWriter {
    fn drop(&mut self) {
        // Gone already after a success.
        let _ = fs::remove_file(&self.draft);
    }
}
