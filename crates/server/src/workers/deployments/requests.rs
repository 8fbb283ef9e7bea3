//! Requests that may take minutes: an upload, and a run, whose answer comes when the program's `main()` has returned.
//! Meanwhile their deployment is looked at as always. They have places of their own: nobody waits for a slow `main()`
//! but who wants to start something as well.

use std::sync::Arc;

use libra_core::artifact::Digest;
use libra_core::deployment::reconcile::{FlinkId, Open, RESEND_AFTER, Reply, Row};
use libra_core::time::Timestamp;
use libra_engines::failpoint;
use libra_engines::flink::{Flink, RunRequest};
use libra_store::tables::deployments::Name;
use tokio::sync::OwnedSemaphorePermit;

use super::effects::said;
use crate::flink::FlinkCluster;
use crate::service::Service;

/// Such a request. It stands in the row.
pub(super) enum Request {
    Upload { digest: String },
    Run { job: FlinkId, send: u32, jar: String, what: Box<RunRequest> },
}

/// Which request is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Upload,
    Run { job: FlinkId, send: u32 },
}

/// A request that is not waited for any more, and what came back, where that matters.
pub(super) struct Answered {
    pub(super) asked: Asked,
    pub(super) reply: Option<Reply>,
}

/// A request on its way.
pub(super) struct Letter {
    pub(super) name: Name,
    pub(super) request: Request,
    /// When it was recorded, and by which leader.
    pub(super) since: Timestamp,
    pub(super) epoch: i64,
    pub(super) place: OwnedSemaphorePermit,
}

impl Request {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::Upload { digest: _ } => Asked::Upload,
            Self::Run { job, send, .. } => Asked::Run { job: *job, send: *send },
        }
    }

    fn point(&self) -> &'static str {
        match self {
            Self::Upload { digest: _ } => "upload",
            Self::Run { .. } => "run",
        }
    }
}

/// Which of a row's requests are among those that are waited for.
pub(super) fn open(asked: &[Asked], row: &Row) -> Open {
    let last = row.run.as_ref().map(|run| run.id);
    let run = |asked: &Asked| matches!(asked, Asked::Run { job, send: _ } if Some(*job) == last);
    Open { run: asked.iter().any(run), upload: asked.contains(&Asked::Upload) }
}

/// Sends it and waits for what comes back.
pub(super) async fn send(service: Arc<Service>, cluster: Arc<FlinkCluster>, letter: Letter) -> Answered {
    let Letter { name, request, since, epoch, place: _place } = letter;
    let (asked, point) = (request.asked(), request.point());
    // After a long sleep its successor may have given this request up: what is sent now would be a second job.
    let late = service.clock.now().0.saturating_sub(since.0) > RESEND_AFTER;
    let stands = !late && service.leader_epoch() == Some(epoch);
    if matches!(asked, Asked::Run { .. }) && !stands {
        return Answered { asked, reply: None };
    }
    failpoint::hit(&format!("flink-{point}-recorded"));
    let reply = match request {
        Request::Upload { digest } => {
            if let Err(error) = upload(&service, &cluster.flink, &digest).await {
                tracing::warn!(deployment = name.id, %error, "a program could not be uploaded");
            }
            None
        }
        Request::Run { job, send, jar, what } => {
            let answer = said(cluster.flink.run(&jar, &what).await);
            Some(Reply { key: job, send, answer })
        }
    };
    failpoint::hit(&format!("flink-{point}-done"));
    Answered { asked, reply }
}

/// Uploads a program whose bytes were checked just before.
async fn upload(service: &Service, flink: &Flink, digest: &str) -> Result<(), String> {
    let named = Digest::of_hex(digest).ok_or("its digest is none")?;
    let programs = service.programs.clone();
    let checked = tokio::task::spawn_blocking(move || programs.checked(&named)).await;
    let path = checked.map_err(|e| e.to_string())?.map_err(|e| format!("its file: {e}"))?;
    flink.upload(&path, digest).await.map(drop).map_err(|e| e.to_string())
}
