//! Rows as columns: what many commands carry goes to the server as one array for each column.

use std::borrow::Cow;

use tokio_postgres::types::ToSql;

use crate::tx::Arg;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Int,
    Text,
}

enum Column<'a> {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<Cow<'a, str>>>),
}

/// Rows of the given columns, to be joined as arguments of one statement.
pub(super) struct Rows<'a>(Vec<Column<'a>>);

impl<'a> Rows<'a> {
    /// No rows yet.
    pub(super) fn new(columns: &[(&str, Of)]) -> Self {
        let empty = |(_, of): &(&str, Of)| match of {
            Of::Int => Column::Ints(Vec::new()),
            Of::Text => Column::Texts(Vec::new()),
        };
        Self(columns.iter().map(empty).collect())
    }

    /// Adds a row, in the order of the columns. A value of another type than its column's becomes NULL, which the
    /// columns that must not be empty refuse.
    pub(super) fn push<'b: 'a>(&mut self, row: impl IntoIterator<Item = Arg<'b>>) {
        for (column, value) in self.0.iter_mut().zip(row) {
            match column {
                Column::Ints(all) => all.push(match value {
                    Arg::Int(n) => Some(n),
                    Arg::Null | Arg::Text(_) => None,
                }),
                Column::Texts(all) => all.push(match value {
                    Arg::Text(text) => Some(storable(text)),
                    Arg::Null | Arg::Int(_) => None,
                }),
            }
        }
    }

    /// The arrays, in the order of the columns.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.0.iter().map(|column| -> &(dyn ToSql + Sync) {
            match column {
                Column::Ints(all) => all,
                Column::Texts(all) => all,
            }
        })
    }
}

/// PostgreSQL takes no NUL in a text. One that got this far must not keep a job from ending: it is shown as what it is,
/// unprintable.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// `unnest($3::text[], $4::bigint[]) WITH ORDINALITY AS name(id, number, ord)`, with the first place after `before`.
pub(super) fn unnest(name: &str, columns: &[(&str, Of)], before: usize) -> String {
    let places: Vec<String> = (before + 1..)
        .zip(columns)
        .map(|(n, (_, of))| match of {
            Of::Int => format!("${n}::bigint[]"),
            Of::Text => format!("${n}::text[]"),
        })
        .collect();
    format!("unnest({}) WITH ORDINALITY AS {name}({}, ord)", places.join(", "), names(columns))
}

/// `id, number`.
pub(super) fn names(columns: &[(&str, Of)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
