//! SQL statements of a specification: one text with `;` between them, or a list.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::glance::words;

/// SQL as it is written; [`Statements::split`] gives the single statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statements {
    /// One text.
    Text(String),
    /// A list; an item may still hold several.
    List(Vec<String>),
}

impl Statements {
    /// The statements without what separates them, empty ones left out.
    pub fn split(&self) -> Vec<String> {
        match self {
            Self::Text(text) => split(text),
            Self::List(texts) => texts.iter().flat_map(|text| split(text)).collect(),
        }
    }

    /// Bytes of all texts together.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(texts) => texts.iter().map(String::len).sum(),
        }
    }
}

impl Serialize for Statements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(texts) => texts.serialize(serializer),
        }
    }
}

impl JsonSchema for Statements {
    fn schema_name() -> Cow<'static, str> {
        "Statements".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        })
    }
}

struct StatementsVisitor;

impl<'de> Visitor<'de> for StatementsVisitor {
    type Value = Statements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SQL statements, as a text or as a list of texts")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Statements, E> {
        Ok(Statements::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Statements, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element::<String>()? {
            texts.push(text);
        }
        Ok(Statements::List(texts))
    }
}

impl<'de> Deserialize<'de> for Statements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatementsVisitor)
    }
}

/// What a `;` stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between words: it separates.
    Open,
    /// In a text or a quoted name that this character ends.
    Quoted(char),
    /// In a comment up to the end of the line.
    Line,
    /// In a comment up to `*/`.
    Block,
}

/// How a set of statements begins that Flink reads as one. It ends with the statement `END`.
const SET: [&str; 4] = ["EXECUTE", "STATEMENT", "SET", "BEGIN"];

fn begins_set(statement: &str) -> bool {
    let mut words = words(statement);
    SET.iter().all(|wanted| words.next().is_some_and(|word| word.eq_ignore_ascii_case(wanted)))
}

fn ends_set(statement: &str) -> bool {
    let mut words = words(statement);
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("END")) && words.next().is_none()
}

/// The statements of a text. A set of statements is one of them, with what separates those in it.
fn split(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_set = false;
    for statement in pieces(text) {
        match found.last_mut() {
            Some(set) if in_set => {
                in_set = !ends_set(&statement);
                set.push_str(";\n");
                set.push_str(&statement);
            }
            Some(_) | None => {
                in_set = begins_set(&statement);
                found.push(statement);
            }
        }
    }
    found
}

/// Splits at each `;` that is in no text, quoted name or comment. A doubled quote ends a text and begins another one,
/// so it needs no rule of its own.
fn pieces(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut place, mut start, mut words) = (Place::Open, 0, false);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        match place {
            Place::Open => match (c, next) {
                (';', _) => {
                    if words {
                        found.push(text[start..at].trim().to_owned());
                    }
                    (start, words) = (at + 1, false);
                }
                ('-', Some('-')) => place = Place::Line,
                ('/', Some('*')) => {
                    chars.next();
                    place = Place::Block;
                }
                ('\'' | '"' | '`', _) => (place, words) = (Place::Quoted(c), true),
                _ => words |= !c.is_whitespace(),
            },
            Place::Quoted(end) if c == end => place = Place::Open,
            Place::Line if c == '\n' => place = Place::Open,
            Place::Block if c == '*' && next == Some('/') => {
                chars.next();
                place = Place::Open;
            }
            Place::Quoted(_) | Place::Line | Place::Block => {}
        }
    }
    if words {
        found.push(text[start..].trim().to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::glance;
    use super::*;

    #[test]
    fn statements_are_split_where_sql_ends_them() {
        for (text, statements) in [
            ("SELECT 1", vec!["SELECT 1"]),
            ("SELECT 1;\nSELECT 2;", vec!["SELECT 1", "SELECT 2"]),
            ("SET 'a' = 'x;y'; SELECT ';'", vec!["SET 'a' = 'x;y'", "SELECT ';'"]),
            ("SELECT 'it''s; fine'", vec!["SELECT 'it''s; fine'"]),
            ("SELECT `a;b` -- no; end\nFROM t; -- only; this", vec!["SELECT `a;b` -- no; end\nFROM t"]),
            ("/* a; 'b */ SELECT 1 /* c; */", vec!["/* a; 'b */ SELECT 1 /* c; */"]),
            (" ; ;;", vec![]),
            ("-- nothing", vec![]),
            ("SELECT 1 - -1; SELECT 4 / 2", vec!["SELECT 1 - -1", "SELECT 4 / 2"]),
        ] {
            assert_eq!(split(text), statements, "{text}");
        }
    }

    #[test]
    fn a_list_and_a_text_say_the_same() {
        let list: Statements = serde_json::from_str(r#"["SELECT 1", "SELECT 2; SELECT 3"]"#).unwrap();
        let text: Statements = serde_json::from_str(r#""SELECT 1; SELECT 2; SELECT 3""#).unwrap();
        assert_eq!(list.split(), text.split());
        assert!(serde_json::from_str::<Statements>("5").unwrap_err().to_string().contains("SQL statements"));
    }

    #[test]
    fn a_set_of_statements_stays_whole() {
        let text = "SET 'a' = 'b'; execute /* all */ statement set\nBEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2;\n\
                    END; INSERT INTO c SELECT 3";
        assert_eq!(
            split(text),
            [
                "SET 'a' = 'b'",
                "execute /* all */ statement set\nBEGIN INSERT INTO a SELECT 1;\nINSERT INTO b SELECT 2;\nEND",
                "INSERT INTO c SELECT 3"
            ]
        );
        let open = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2";
        assert_eq!(split(open).len(), 1, "Flink says that its END is missing");
        assert_eq!(split("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END").len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_lost_and_none_panics(text in "[a-z;'`\"/*\\n -]{0,40}") {
            glance::is_refused(&text);
            glance::brings_code(&text);
            for statement in split(&text) {
                proptest::prop_assert!(text.contains(&statement));
                proptest::prop_assert!(!statement.is_empty());
            }
        }
    }
}
