//! Rows as RFC 4180 has them: fields by commas, lines by CR LF, quotes where they are needed. NULL is an empty field,
//! an empty text `""`. Numbers and texts are written as in JSON; lists, maps and structs are JSON texts.

use serde_json::Value;

/// Appends the line of the columns' names.
pub(super) fn header(columns: &[String], out: &mut Vec<u8>) {
    line(columns.iter(), out, text);
}

/// Appends the line of one row.
pub(super) fn row(columns: &[String], row: &Value, out: &mut Vec<u8>) {
    line(columns.iter(), out, |name, out| match row.get(name) {
        None | Some(Value::Null) => {}
        Some(Value::String(value)) => text(value, out),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
        Some(value @ (Value::Array(_) | Value::Object(_))) => text(&value.to_string(), out),
    });
}

fn line<'c>(
    columns: impl Iterator<Item = &'c String>,
    out: &mut Vec<u8>,
    write: impl Fn(&str, &mut Vec<u8>),
) {
    for (at, name) in columns.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(name, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn text(value: &str, out: &mut Vec<u8>) {
    let plain = !value.is_empty()
        && !value.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'))
        && !value.starts_with(' ')
        && !value.ends_with(' ');
    if plain {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in value.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let columns = ["a", "b,c", "d"].map(str::to_owned);
        let mut out = Vec::new();
        header(&columns, &mut out);
        row(&columns, &json!({"a": "say \"hi\"", "b,c": null, "d": ""}), &mut out);
        row(&columns, &json!({"a": "two\nlines", "b,c": 1.5, "d": [1, {"x": null}]}), &mut out);
        row(&columns, &json!({"a": "9007199254740993", "b,c": true, "d": " ü"}), &mut out);
        let expected = "a,\"b,c\",d\r\n\"say \"\"hi\"\"\",,\"\"\r\n\"two\nlines\",1.5,\"[1,{\"\"x\"\":null}]\"\r\n\
                        9007199254740993,true,\" ü\"\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
