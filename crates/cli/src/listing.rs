//! Plain columns for people: a heading, and cells without lines between them.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use crate::output;

/// Columns with a heading, one line a row.
pub(crate) fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| output::one_line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// `text` with at most `most` characters, the cut marked.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a".to_owned(), "ü\nü".to_owned()], ["long one".to_owned(), String::new()]];
        insta::assert_snapshot!(columns(["ID", "TEXT"], rows), @r"
        ID        TEXT
        a         ü\nü
        long one
        ");
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
