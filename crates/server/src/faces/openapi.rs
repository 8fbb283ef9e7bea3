//! The API's description, made from the routes themselves (contract A8).

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{documented, openapi_examples};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Libra",
        description = "One control plane for Spark, Flink, EMR Serverless and Slurm jobs. Problems are RFC 9457 documents \
                       with a stable `error` code; every code has a page under docs/errors.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(libra_api::problem::Problem)),
    modifiers(&Bearer),
    security(("bearer" = []), ()),
    tags(
        (name = "jobs", description = "Jobs on every engine"),
        (name = "spark jobs", description = "The same jobs with the engine fixed to Spark"),
        (name = "artifacts", description = "Uploads by digest: programs, and what goes along with a job"),
        (name = "deployments", description = "Flink jobs that are declared, planned, and kept as they are declared"),
        (name = "feed", description = "What happens to all jobs, in order"),
        (name = "webhooks", description = "Messages to webhooks, and how their delivery goes"),
        (name = "health", description = "Probes and figures")
    )
)]
struct Base;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key of `libra.auth.keys`. On loopback without keys none is needed."))
            .build();
        if let Some(components) = &mut document.components {
            components.security_schemes.insert("bearer".into(), SecurityScheme::Http(scheme).into());
        }
    }
}

pub(super) fn base() -> Document {
    Base::openapi()
}

/// The description as indented JSON.
pub fn openapi_json() -> String {
    let (_, mut document) = documented().split_for_parts();
    openapi_examples::add(&mut document);
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/api/v1/spark/") {
            continue;
        }
        // The same routes under two paths: operation ids must differ.
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            operation.operation_id = operation.operation_id.take().map(|id| format!("spark_{id}"));
            operation.tags = Some(vec!["spark jobs".to_owned()]);
        }
    }
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// `/openapi.json`.
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json())
}
