//! The matrix of roles, and which permission each route needs.

use axum::http::Method;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees its own jobs.
    Viewer,
    /// Submits, sees and cancels its own jobs.
    Developer,
    /// Everything.
    Admin,
}

impl Role {
    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "viewer" => Some(Self::Viewer),
            "developer" => Some(Self::Developer),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// The spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user on whose behalf.
    pub user: String,
    /// The user's tenant.
    pub tenant: String,
    /// What they may do.
    pub role: Role,
}

impl Principal {
    /// The tenant of those who name none.
    pub const DEFAULT_TENANT: &str = "default";

    /// The one who calls on loopback when there are no keys.
    pub fn local() -> Self {
        Self { user: "local".into(), tenant: Self::DEFAULT_TENANT.into(), role: Role::Admin }
    }
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Nothing: health, the API's description.
    Public,
    /// To see jobs.
    View,
    /// To submit.
    Submit,
    /// To cancel.
    Cancel,
    /// To send messages to webhooks again.
    Replay,
    /// To tell of jobs that others run: what hooks, agents and schedulers do.
    Tell,
    /// To see the figures of the whole service.
    Operate,
}

impl Permission {
    /// The matrix of the reference, by role. Own and foreign jobs are told apart by [`may_see`].
    pub fn granted_to(self, role: Role) -> bool {
        match (self, role) {
            (Self::Public | Self::View | Self::Operate, Role::Viewer | Role::Developer | Role::Admin)
            | (Self::Submit | Self::Cancel | Self::Replay | Self::Tell, Role::Developer | Role::Admin) => {
                true
            }
            (Self::Submit | Self::Cancel | Self::Replay | Self::Tell, Role::Viewer) => false,
        }
    }
}

/// True when `principal` may see (and, with the permission, cancel) a job of this owner.
pub fn may_see(principal: &Principal, user: &str, tenant: &str) -> bool {
    match principal.role {
        Role::Admin => true,
        Role::Viewer | Role::Developer => principal.user == user && principal.tenant == tenant,
    }
}

/// The permission that a route needs; None for a route that is not in the table, which nobody may call.
pub fn permission_of(method: &Method, route: &str) -> Option<Permission> {
    let jobs = route.strip_prefix("/api/v1/spark/jobs").or_else(|| route.strip_prefix("/api/v1/jobs"));
    if let Some(rest) = jobs {
        return match (method.as_str(), rest) {
            ("POST", "" | "/submit") => Some(Permission::Submit),
            ("DELETE", "/{id}") => Some(Permission::Cancel),
            (
                "GET" | "HEAD",
                "" | "/{id}" | "/{id}/result" | "/{id}/logs" | "/{id}/events" | "/{id}/explain",
            ) => Some(Permission::View),
            _ => None,
        };
    }
    if let Some(rest) = route.strip_prefix("/api/v1/deployments") {
        return match (method.as_str(), rest) {
            (
                "POST",
                "" | "/plan" | "/{id}/rollback" | "/{id}/suspend" | "/{id}/resume" | "/{id}/savepoint",
            ) => Some(Permission::Submit),
            ("DELETE", "/{id}") => Some(Permission::Cancel),
            ("GET" | "HEAD", "" | "/{id}" | "/{id}/generations" | "/{id}/events") => Some(Permission::View),
            _ => None,
        };
    }
    if let Some(rest) = route.strip_prefix("/v1/jobs") {
        return match (method.as_str(), rest) {
            ("POST", "" | "/{id}/metrics") | ("PATCH" | "DELETE", "/{id}") => Some(Permission::Tell),
            ("GET" | "HEAD", "" | "/{id}" | "/{id}/metrics" | "/{id}/audit" | "/{id}/efficiency") => {
                Some(Permission::View)
            }
            _ => None,
        };
    }
    match (method.as_str(), route) {
        ("POST", "/v1/events/job-started" | "/v1/events/job-finished" | "/v1/metrics/batch") => {
            Some(Permission::Tell)
        }
        // Whoever submits uploads, and asks first what is missing.
        ("POST", "/api/v1/artifacts")
        | ("GET" | "HEAD", "/api/v1/artifacts/{digest}" | "/api/v1/artifacts/{name}/versions") => {
            Some(Permission::Submit)
        }
        ("GET" | "HEAD", "/api/v1/events" | "/api/v1/webhooks" | "/api/v1/queue" | "/v1/efficiency") => {
            Some(Permission::View)
        }
        ("POST", "/api/v1/webhooks/replay" | "/api/v1/webhooks/{id}/replay") => Some(Permission::Replay),
        ("GET" | "HEAD", "/metrics" | "/actuator/prometheus" | "/api/v1/replicas") => {
            Some(Permission::Operate)
        }
        (
            "GET" | "HEAD",
            "/health"
            | "/health/live"
            | "/health/ready"
            | "/health/startup"
            | "/v1/health"
            | "/actuator/health"
            | "/actuator/health/liveness"
            | "/actuator/health/readiness"
            | "/openapi.json"
            | "/docs"
            | "/docs/page.css"
            | "/docs/page.js"
            | "/api/v1/schemas/deployment",
        ) => Some(Permission::Public),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_the_references() {
        // contract: X2
        let may = |role: Role| {
            [Permission::Submit, Permission::View, Permission::Cancel]
                .map(|permission| permission.granted_to(role))
        };
        assert_eq!(may(Role::Viewer), [false, true, false]);
        assert_eq!(may(Role::Developer), [true, true, true]);
        assert_eq!(may(Role::Admin), [true, true, true]);
    }

    #[test]
    fn only_admins_see_other_peoples_jobs() {
        let ada = |role| Principal { user: "ada".into(), tenant: "t".into(), role };
        assert!(may_see(&ada(Role::Viewer), "ada", "t"));
        assert!(!may_see(&ada(Role::Developer), "bob", "t"));
        assert!(!may_see(&ada(Role::Developer), "ada", "other"));
        assert!(may_see(&ada(Role::Admin), "bob", "other"));
    }

    #[test]
    fn a_route_outside_the_table_is_closed() {
        assert_eq!(permission_of(&Method::GET, "/debug"), None);
        assert_eq!(permission_of(&Method::PUT, "/api/v1/jobs/{id}"), None);
    }
}
