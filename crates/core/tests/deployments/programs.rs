//! Programs that may not be given to Flink.

use libra_core::deployment::reconcile::{
    Answer, Effect, JobState, Phase, Refusal, Reply, Trigger, Trouble, upload_key,
};

use super::desk::{Desk, is_run, second};

const UNSIGNED: &str = "it is not signed";

#[test]
fn a_program_that_is_not_signed_as_is_asked_is_not_tried_again_until_something_else_is_wanted() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.answer(Answer::Refused(Refusal::ProgramRefused(UNSIGNED.to_owned())));
    desk.pass(1);
    assert_eq!(desk.row.trouble, Some(Trouble::ProgramRefused(UNSIGNED.to_owned())));
    assert!(desk.row.trouble.as_ref().unwrap().hint().contains("sign it"));
    desk.pass(3_600);
    assert!(!desk.sends(is_run));
    assert_eq!(desk.row.phase, Phase::Failed);
    desk.desired.nonce += 1;
    desk.pass(1);
    assert!(desk.sends(is_run), "who resumes it tries again");
}

#[test]
fn the_stable_generation_comes_back_when_the_new_ones_program_is_refused() {
    let mut desk = second();
    desk.answer(Answer::Refused(Refusal::ProgramRefused(UNSIGNED.to_owned())));
    desk.pass(3);
    assert_eq!(desk.row.run.as_ref().unwrap().generation, 1);
    assert_eq!(desk.row.trouble, Some(Trouble::ProgramRefused(UNSIGNED.to_owned())));
}

#[test]
fn a_program_that_can_not_be_read_is_tried_again() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.answer(Answer::Refused(Refusal::ProgramUnread("no such file".to_owned())));
    desk.pass(1);
    assert_eq!(desk.row.trouble, Some(Trouble::ProgramRefused("no such file".to_owned())));
    let first = desk.run_id();
    desk.pass(60);
    assert_ne!(desk.run_id(), first, "another try");
}

#[test]
fn an_upload_that_is_refused_says_why_from_the_first_time_on() {
    let mut desk = Desk::new();
    let digest = "ab".repeat(32);
    for version in &mut desk.desired.versions {
        version.digest.clone_from(&digest);
    }
    desk.cluster.jars.clear();
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Upload { .. })));
    let refused = |of: &str| {
        let answer = Answer::Refused(Refusal::ProgramRefused(UNSIGNED.to_owned()));
        Some(Reply { key: upload_key(of), send: 0, answer })
    };
    desk.cluster.reply = refused(&"cd".repeat(32));
    desk.pass(1);
    assert_eq!(desk.row.trouble, None, "it is another program's");
    desk.cluster.reply = refused(&digest);
    desk.pass(1);
    assert_eq!(desk.row.trouble, Some(Trouble::ProgramRefused(UNSIGNED.to_owned())));
    desk.pass(60);
    assert_eq!(desk.row.phase, Phase::Failed, "nobody signs it by waiting");
    assert_eq!(desk.row.trouble, Some(Trouble::ProgramRefused(UNSIGNED.to_owned())));
}

#[test]
fn a_version_that_can_not_be_uploaded_gives_way_to_the_one_before() {
    for refusal in [Some(Refusal::ProgramRefused(UNSIGNED.to_owned())), None] {
        let mut desk = Desk::stable();
        desk.desired.generation = 2;
        let digest = desk.desired.versions[1].digest.clone();
        desk.cluster.jars.retain(|(of, _)| *of != digest);
        desk.pass(1);
        desk.cluster.trigger = Trigger::Completed("svpt/1".to_owned());
        desk.cluster.jobs[0].state = JobState::Finished;
        desk.pass(1);
        desk.cluster.trigger = Trigger::NotAsked;
        for _ in 0..200 {
            let answer = refusal.clone().map(Answer::Refused);
            desk.cluster.reply = answer.map(|answer| Reply { key: upload_key(&digest), send: 0, answer });
            desk.pass(1);
            if desk.row.run.as_ref().is_some_and(|run| run.generation == 1 && run.may_live()) {
                break;
            }
        }
        let run = desk.row.run.clone().unwrap();
        assert_eq!((run.generation, run.from.unwrap().path.as_str()), (1, "svpt/1"), "{refusal:?}");
        assert_eq!(desk.row.refused.as_ref().map(|refused| refused.generation), Some(2));
    }
}
