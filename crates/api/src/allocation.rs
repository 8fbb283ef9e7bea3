//! What a job asks of Slurm: the `slurm` object of a submission (contract H6), as core's list of options has it.

use std::borrow::Cow;

use libra_core::allocation::syntax::{Form, Syntax};
use libra_core::allocation::{Allocation, AskedFor, OPTIONS};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::fields::Fields;
use crate::problem::Violation;

/// What a job asks of Slurm, on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlurmRequest(pub Allocation);

/// What the object is, for people.
const ABOUT: &str = "What a job asks of Slurm. Whatever is absent is the cluster's choice; a script's `#SBATCH` lines are read as \
                     well, and these count before them.";

impl ToSchema for SlurmRequest {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SlurmRequest")
    }
}

impl PartialSchema for SlurmRequest {
    fn schema() -> RefOr<Schema> {
        let all = ObjectBuilder::new()
            .description(Some(ABOUT))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        OPTIONS.iter().fold(all, |all, option| all.property(option.name, described(option))).into()
    }
}

/// One field of the object.
fn described(option: &AskedFor) -> ObjectBuilder {
    let of = |kinds: &[Type]| {
        let kinds = kinds.iter().cloned().chain([Type::Null]).collect();
        ObjectBuilder::new().schema_type(SchemaType::Array(kinds)).description(Some(option.about))
    };
    let field = match option.syntax.form() {
        Form::Number(most) => {
            let format =
                if option.syntax == Syntax::Memory { KnownFormat::Int64 } else { KnownFormat::Int32 };
            of(&[Type::Integer])
                .format(Some(SchemaFormat::KnownFormat(format)))
                .minimum(Some(1))
                .maximum(Some(most))
        }
        Form::Flag => of(&[Type::Boolean]),
        Form::Text(most) => of(&[Type::String]).max_length(Some(most)),
        Form::Spelled(most) => {
            let other = if option.syntax == Syntax::Gpus { Type::Integer } else { Type::Boolean };
            of(&[Type::String, other]).max_length(Some(most))
        }
    };
    match option.syntax {
        Syntax::Array => field.examples(["0-9%2"]),
        Syntax::Count
        | Syntax::Minutes
        | Syntax::Memory
        | Syntax::Flag
        | Syntax::Name
        | Syntax::Path
        | Syntax::Gpus
        | Syntax::Gres
        | Syntax::Dependency
        | Syntax::Hosts
        | Syntax::Word(_)
        | Syntax::Words(_)
        | Syntax::Comment
        | Syntax::Signal => field,
    }
}

/// Reads the object. Every wrong field is named; how a text is written is for the engine to judge, with all else.
pub(crate) fn parse(map: &Map<String, Value>, wrong: &mut Vec<Violation>) -> Allocation {
    let mut f = Fields::new(map, "/slurm");
    let mut read = Map::new();
    for option in OPTIONS {
        let value = match option.syntax.form() {
            Form::Number(most) => f.whole(option.name, 1..=most, wrong).map(Value::from),
            Form::Flag => f.flag(option.name, wrong).map(Value::from),
            Form::Text(most) => f.text(option.name, most, wrong).map(Value::from),
            Form::Spelled(most) => f.spelled(option.name, most, wrong).map(Value::from),
        };
        read.extend(value.map(|value| (option.name.to_owned(), value)));
    }
    f.finish(wrong);
    serde_json::from_value(Value::Object(read)).unwrap_or_else(|error| {
        wrong.push(Violation::new("/slurm", format!("can't be read: {error}")));
        Allocation::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: Value) -> (Allocation, Vec<String>) {
        let Value::Object(map) = value else { panic!("an object") };
        let mut wrong = Vec::new();
        let asked = parse(&map, &mut wrong);
        let mut pointers: Vec<String> = wrong.into_iter().map(|violation| violation.pointer).collect();
        pointers.sort_unstable();
        (asked, pointers)
    }

    #[test]
    fn each_option_is_a_field() {
        let all: Map<String, Value> = OPTIONS
            .iter()
            .map(|option| {
                let value = match option.syntax.form() {
                    Form::Number(most) => Value::from(most),
                    Form::Flag => Value::from(true),
                    Form::Text(_) | Form::Spelled(_) => Value::from("x"),
                };
                (option.name.to_owned(), value)
            })
            .collect();
        let (asked, wrong) = parsed(Value::Object(all.clone()));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(serde_json::to_value(asked).unwrap(), Value::Object(all));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let (_, wrong) = parsed(json!({
            "nodes": 0, "memoryMb": -1, "requeue": "yes", "partition": 7, "colour": 1, "gpusPerNode": [], "exclusive": {}
        }));
        let wanted = ["colour", "exclusive", "gpusPerNode", "memoryMb", "nodes", "partition", "requeue"];
        assert_eq!(wrong, wanted.map(|name| format!("/slurm/{name}")));
    }

    #[test]
    fn what_is_spelled_as_a_number_or_a_flag_is_taken() {
        let (asked, wrong) = parsed(json!({"gpusPerNode": 2, "exclusive": true}));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!((asked.gpus_per_node.as_deref(), asked.exclusive.as_deref()), (Some("2"), Some("true")));
    }
}
