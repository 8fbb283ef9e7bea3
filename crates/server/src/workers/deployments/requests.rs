//! Requests that may take minutes: an upload, and a run, whose answer comes when the program's `main()` has returned.
//! Meanwhile their deployment is looked at as always. They have places of their own: nobody waits for a slow `main()`
//! but who wants to start something as well.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use libra_core::artifact::Digest;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::reconcile::{
    Answer, Effect, FlinkId, MAIN_BUDGET, Open, Refusal, Reply, Row, upload_key,
};
use libra_core::time::MICROS_PER_SECOND;
use libra_core::time::Timestamp;
use libra_engines::failpoint;
use libra_engines::flink::{RUN_PATIENCE, RunRequest};
use libra_store::tables::deployment_history::Happening;
use libra_store::tables::deployments::{self, Name, Remark};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::effects::said;
use crate::flink::FlinkCluster;
use crate::service::standing::leader_fence;
use crate::service::{Service, Unfit};

/// A run is sent no later than this after it was recorded, in microseconds: its program is checked in between, which takes
/// its time where programs are large.
const LATEST: i64 = 60 * MICROS_PER_SECOND;
// After MAIN_BUDGET a run may be given up, and what is on its way then would be a second job.
const _: () = assert!(LATEST as u128 + RUN_PATIENCE.as_micros() < MAIN_BUDGET as u128);

/// Such a request. It stands in the row.
pub(super) enum Request {
    Upload { program: Program, name: String, packing: Packing },
    Run { program: Program, job: FlinkId, send: u32, jar: String, what: Box<RunRequest> },
}

/// What is checked before each use.
pub(super) struct Program {
    /// The artifact, also where Flink is given a jar that is made of it.
    pub(super) digest: String,
    /// The generation that has it.
    pub(super) generation: u64,
    /// The one that is wanted, whose owner is told.
    pub(super) wanted: u64,
}

/// Where what takes long has its place, on one cluster.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// The programs that are being uploaded.
    uploads: Arc<Mutex<HashSet<String>>>,
    /// The one place for what has to begin alone.
    alone: Arc<Semaphore>,
}

/// A place. It is free again when this is dropped.
pub(super) struct Place {
    uploads: Option<(Arc<Mutex<HashSet<String>>>, String)>,
    _permit: OwnedSemaphorePermit,
    _alone: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(many: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(many)),
            uploads: Arc::default(),
            alone: Arc::new(Semaphore::new(1)),
        }
    }

    /// A place for what a step asks for, where that takes long: None when there is none now, or the program is being
    /// uploaded for another deployment, which does for both, or it has to begin `alone` and another such one begins.
    pub(super) fn take(&self, effects: &[Effect], alone: bool) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let alone = if alone { Some(Arc::clone(&self.alone).try_acquire_owned().ok()?) } else { None };
        let uploaded = |effect: &Effect| {
            if let Effect::Upload { digest } = effect { Some(digest.clone()) } else { None }
        };
        let digest = effects.iter().find_map(uploaded);
        let Some(digest) = digest else {
            return Some(Place { uploads: None, _permit: permit, _alone: alone });
        };
        let new = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone());
        new.then(|| Place {
            uploads: Some((Arc::clone(&self.uploads), digest)),
            _permit: permit,
            _alone: alone,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((uploads, digest)) = self.uploads.take() {
            uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        }
    }
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
    pub(super) place: Place,
}

impl Request {
    pub(super) fn asked(&self) -> Asked {
        match self {
            Self::Upload { .. } => Asked::Upload,
            Self::Run { job, send, .. } => Asked::Run { job: *job, send: *send },
        }
    }

    fn point(&self) -> &'static str {
        match self {
            Self::Upload { .. } => "upload",
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

/// Sends it and waits for what comes back. A program is checked first, whether Flink has it already or not.
pub(super) async fn send(service: Arc<Service>, cluster: Arc<FlinkCluster>, letter: Letter) -> Answered {
    let Letter { name, request, since, epoch, place: _place } = letter;
    let (asked, point) = (request.asked(), request.point());
    let (Request::Upload { program, .. } | Request::Run { program, .. }) = &request;
    let checked = check(&service, &name, program, epoch).await;
    // After a long sleep its successor may have given this request up: what is sent now would be a second job.
    let late = service.clock.now().0.saturating_sub(since.0) > LATEST;
    let stands = !late && service.leader_epoch() == Some(epoch);
    if matches!(asked, Asked::Run { .. }) && !stands {
        return Answered { asked, reply: None };
    }
    failpoint::hit(&format!("flink-{point}-recorded"));
    let reply = match (request, checked) {
        (Request::Upload { name: as_name, packing, .. }, Ok(file)) => {
            let uploaded = match service.packed(packing, file).await {
                Ok(packed) => {
                    let went = cluster.flink.upload(&packed.file, &as_name).await;
                    went.map(drop).map_err(|e| e.to_string())
                }
                Err(why) => Err(why),
            };
            if let Err(error) = uploaded {
                tracing::warn!(deployment = name.id, %error, "a program could not be uploaded");
            }
            None
        }
        (Request::Upload { name, .. }, Err(refusal)) => {
            Some(Reply { key: upload_key(&name), send: 0, answer: Answer::Refused(refusal) })
        }
        (Request::Run { job, send, jar, what, .. }, Ok(_)) => {
            let answer = said(cluster.flink.run(&jar, &what).await);
            Some(Reply { key: job, send, answer })
        }
        (Request::Run { job, send, .. }, Err(refusal)) => {
            Some(Reply { key: job, send, answer: Answer::Refused(refusal) })
        }
    };
    failpoint::hit(&format!("flink-{point}-done"));
    Answered { asked, reply }
}

/// Where a program is whose bytes, and whose signature, are right now. One that may not be used is told, once.
async fn check(service: &Service, of: &Name, program: &Program, epoch: i64) -> Result<PathBuf, Refusal> {
    let Some(digest) = Digest::of_hex(&program.digest) else {
        return Err(Refusal::ProgramUnread("its digest is none".to_owned()));
    };
    let unfit = match service.checked_program(of, program.generation, &digest).await {
        Ok(file) => return Ok(file),
        Err(unfit) => unfit,
    };
    let message = format!("the program with {digest} is not given to Flink: {unfit}");
    tracing::warn!(deployment = of.id, "{message}");
    let remark = Remark {
        name: of.clone(),
        generation: program.wanted,
        what: Happening { kind: "program_refused".to_owned(), message },
        at: service.clock.now(),
    };
    let fence = leader_fence(epoch);
    if let Err(error) = service.db.write(move |tx| deployments::remark(tx, &fence, &remark)).await {
        tracing::warn!(deployment = of.id, %error, "that a program is refused could not be told");
    }
    Err(match unfit {
        Unfit::Unsigned(why) => Refusal::ProgramRefused(why),
        Unfit::Unread(why) => Refusal::ProgramUnread(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_uploaded_by_one_and_a_place_is_free_again() {
        let places = Places::new(2);
        let upload = |digest: &str| [Effect::Upload { digest: digest.to_owned() }];
        let first = places.take(&upload("a"), false);
        assert!(first.is_some());
        assert!(places.take(&upload("a"), false).is_none(), "it is on its way");
        let other = places.take(&upload("b"), false);
        assert!(other.is_some());
        assert!(places.take(&[], false).is_none(), "all places are taken");
        drop(first);
        assert!(places.take(&upload("a"), false).is_some());
        let alone = places.take(&[], true);
        assert!(alone.is_some() && places.take(&[], true).is_none(), "the first of them begins");
        drop(alone);
        assert!(places.take(&[], true).is_some());
    }
}
