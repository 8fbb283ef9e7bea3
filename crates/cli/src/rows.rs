//! A result's rows as a table.

use comfy_table::presets::ASCII_BORDERS_ONLY_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use libra_api::views::ResultRows;
use serde_json::Value;

use crate::output;

/// On a narrower terminal, or one that does not tell its width, nothing is wrapped. Characters.
const LEAST_WIDTH: u16 = 20;

/// The rows under their columns' names. `wrap` breaks long cells so that the table fits the terminal.
pub(crate) fn table(result: &ResultRows, wrap: bool) -> String {
    let columns = columns(result);
    if columns.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(ASCII_BORDERS_ONLY_CONDENSED);
    let wide_enough = table.width().is_some_and(|width| width >= LEAST_WIDTH);
    let arrangement =
        if wrap && wide_enough { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    table.set_header(columns.iter().map(|c| output::one_line(&c.name)));
    for (column, style) in columns.iter().zip(table.column_iter_mut()) {
        if column.is_number {
            style.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &result.rows {
        table.add_row(columns.iter().map(|c| cell(row.get(&c.name))));
    }
    format!("{table}\n")
}

/// What to say below rows that are not all of them.
pub(crate) fn more(shown: usize, total: u64, truncated: bool) -> String {
    let mut text = match total {
        0 => "no rows".to_owned(),
        1 => "1 row".to_owned(),
        _ => format!("{total} rows"),
    };
    if u64::try_from(shown).is_ok_and(|shown| shown < total) {
        text = format!("{shown} of {text} shown; --all shows every one");
    }
    if truncated {
        text.push_str("; the result was larger than Libra keeps, so rows at its end are missing");
    }
    text
}

struct Column {
    name: String,
    is_number: bool,
}

fn columns(result: &ResultRows) -> Vec<Column> {
    let fields = result.schema.get("fields").and_then(Value::as_array);
    fields
        .into_iter()
        .flatten()
        .filter_map(|field| {
            let kind = field.get("type").and_then(Value::as_str).unwrap_or_default();
            let is_number = ["byte", "short", "integer", "long", "float", "double"].contains(&kind)
                || kind.starts_with("decimal");
            Some(Column { name: field.get("name")?.as_str()?.to_owned(), is_number })
        })
        .collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(Value::String(text)) => output::one_line(text),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            output::one_line(&other.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_many_types() {
        let result = ResultRows {
            schema: json!({"type": "struct", "fields": [
                {"name": "id", "type": "long", "nullable": false},
                {"name": "price", "type": "decimal(10,2)", "nullable": true},
                {"name": "name", "type": "string", "nullable": true},
                {"name": "tags", "type": {"type": "array", "elementType": "string"}, "nullable": true},
            ]}),
            rows: vec![
                json!({"id": 1, "price": "12.50", "name": "Zoë\nEscape \u{1b}[2J", "tags": ["a", "b"]}),
                json!({"id": 1000, "price": null, "name": "日本", "tags": []}),
            ],
            truncated: false,
        };
        insta::assert_snapshot!("rows", table(&result, false));
        let empty = ResultRows { rows: vec![], ..result };
        insta::assert_snapshot!("rows_none", table(&empty, false));
        let nothing = ResultRows { schema: json!({"type": "struct", "fields": []}), ..empty };
        assert_eq!(table(&nothing, false), "", "as after CREATE TABLE");
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!((more(0, 0, false), more(1, 1, false)), ("no rows".into(), "1 row".into()));
        assert_eq!(more(10, 12, false), "10 of 12 rows shown; --all shows every one");
        assert!(more(2, 2, true).contains("larger than Libra keeps"));
    }
}
