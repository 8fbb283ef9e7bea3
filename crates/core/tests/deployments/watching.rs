//! What is told of a job while it runs.

use libra_core::deployment::reconcile::{Alert, Effect, Event, Pressure};

use super::desk::Desk;

#[test]
fn restarts_are_told_with_their_reason_and_not_one_by_one() {
    let mut desk = Desk::stable();
    desk.cluster.jobs[0].failure = Some("no route to the broker".to_owned());
    let mut told = Vec::new();
    for restarts in 1..=100 {
        desk.cluster.jobs[0].restarts = restarts;
        desk.pass(1);
        told.extend(desk.sent.iter().filter_map(|effect| match effect {
            Effect::Emit(Event::Restarted { times, why }) => Some((restarts, *times, why.clone())),
            _ => None,
        }));
    }
    let why = "no route to the broker".to_owned();
    assert_eq!(told, [(1, 1, why.clone()), (61, 60, why)]);
    desk.pass(60);
    let told = desk.row.run.as_ref().unwrap().noticed.restarts;
    assert_eq!(told, 100, "the rest is not forgotten");
}

#[test]
fn a_job_that_does_not_keep_up_for_a_minute_is_told_once_and_again_when_it_does() {
    let high = || Some(Pressure::High { part: "map".to_owned() });
    let mut desk = Desk::stable();
    let watch = |desk: &mut Desk, pressure: Option<Pressure>, seconds: i64| {
        desk.cluster.jobs[0].pressure = pressure;
        let mut told = Vec::new();
        for _ in 0..seconds {
            desk.pass(1);
            told.extend(desk.sent.iter().filter_map(|effect| match effect {
                Effect::Emit(event) if event.alert() == Some(Alert::Backpressure) => Some(event.to_string()),
                _ => None,
            }));
        }
        told
    };
    assert_eq!(watch(&mut desk, high(), 90), [""; 0], "nobody asked for it");
    assert!(desk.sent.is_empty());
    desk.desired.watches_pressure = true;
    assert_eq!(watch(&mut desk, high(), 50), [""; 0]);
    assert_eq!(watch(&mut desk, Some(Pressure::Low), 1), [""; 0]);
    assert_eq!(watch(&mut desk, high(), 60), [""; 0], "it begins anew");
    let told = watch(&mut desk, high(), 200);
    assert!(told.len() == 1 && told[0].contains("map has to wait"), "{told:?}");
    assert_eq!(watch(&mut desk, Some(Pressure::Low), 100), [""; 0]);
    assert_eq!(watch(&mut desk, None, 100), [""; 0], "nobody knows");
    assert_eq!(watch(&mut desk, Some(Pressure::None), 100), ["the job keeps up again"]);
    let before = desk.row.clone();
    desk.pass(10);
    assert_eq!(desk.row, before);
}
