//! Reading a specification: YAML or JSON, strictly, with the place of what is wrong.

use libra_api::problem::{Code, Violation};
use libra_core::deployment::spec::DeploymentSpec;

use crate::service::ServiceError;

/// A specification as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpecText<'a> {
    Yaml(&'a [u8]),
    Json(&'a [u8]),
}

impl SpecText<'_> {
    /// Reads and checks it.
    pub(super) fn read(self) -> Result<DeploymentSpec, ServiceError> {
        let spec: DeploymentSpec = match self {
            Self::Yaml(bytes) => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| ServiceError::new(Code::InvalidRequest, "the specification is not UTF-8"))?;
                serde_saphyr::from_str(text).map_err(|e| unreadable("YAML", &e.to_string()))?
            }
            Self::Json(bytes) => match serde_json::from_slice(bytes) {
                Ok(spec) => spec,
                Err(e) if e.is_data() => return Err(unreadable("JSON", &e.to_string())),
                Err(e) => {
                    let message = format!("the body is not valid JSON: {e}");
                    return Err(ServiceError::new(Code::InvalidJson, message));
                }
            },
        };
        let mut wrong = spec.validate();
        if spec.strict {
            wrong.extend(spec.warnings());
        }
        if wrong.is_empty() {
            return Ok(spec);
        }
        Err(ServiceError::fields(wrong.into_iter().map(|v| Violation::new(v.pointer, v.reason)).collect()))
    }
}

fn unreadable(what: &str, why: &str) -> ServiceError {
    // The reader draws the place below its words; one line is enough for a problem.
    let words: Vec<&str> = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = words.first().copied().unwrap_or("it can't be read");
    ServiceError::new(Code::InvalidRequest, format!("the specification ({what}): {first}"))
}
