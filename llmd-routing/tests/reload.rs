//! A configuration is put in the place of another while requests go on.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_core::{ErrorKind, WorkerId};
use llmd_routing::testing::request;
use llmd_routing::{Endpoint, Headers, Pool, Request, Scheduler, SchedulerBuilder};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const NOW: Duration = Duration::from_secs(1);

fn yaml(plugins: &str, profile: &str) -> String {
    format!(
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{plugins}\nschedulingProfiles:\n- name: \
         default\n  plugins:\n{profile}\n"
    )
}

fn by_load() -> String {
    yaml("- type: active-request-scorer", "  - {pluginRef: active-request-scorer, weight: 2}")
}

fn by_session(weight: u32, parameters: &str) -> String {
    yaml(
        &format!("- {{type: session-affinity-scorer, parameters: {parameters}}}\n- type: active-request-scorer"),
        &format!(
            "  - {{pluginRef: session-affinity-scorer, weight: {weight}}}\n  - {{pluginRef: active-request-scorer}}"
        ),
    )
}

const BY_ID: &str = "{strategy: session_id, sessionIdConfig: {sources: [{header: x-id}]}}";
/// The same, written otherwise.
const BY_ID_TOO: &str = "{sessionIdConfig: {sources: [{header: 'x-id'}]}, strategy: session_id, sessionHashConfig: {}}";

fn scheduler(yaml: &str) -> Scheduler {
    Scheduler::from_yaml(yaml).and_then(|builder| builder.allow_experimental(true).build()).expect("it is in order")
}

fn pool() -> Pool {
    (0..4).map(|n| Endpoint::new(format!("engine-{n}"), format!("10.0.0.{n}:8000"), WorkerId(n))).collect()
}

fn of_session(id: u32) -> Request {
    request([]).with_headers(Headers::from_iter([("x-id", format!("session-{id}"))]))
}

/// Where each of some sessions goes.
fn homes(scheduler: &Scheduler, pool: &Pool, seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let home = |id| {
        let decision = scheduler.decide(&of_session(id), pool, NOW, &mut rng).expect("there are endpoints");
        decision.endpoint().name().to_owned()
    };
    (0..32).map(home).collect()
}

#[test]
fn sessions_stay_bound_when_their_plugin_is_the_same() {
    let (scheduler, pool) = (scheduler(&by_session(100, BY_ID)), pool());
    let before = homes(&scheduler, &pool, 1);
    assert_eq!(BTreeSet::from_iter(&before).len(), 4, "chance spreads the sessions");

    scheduler.reload_yaml(&by_session(50, BY_ID_TOO)).unwrap();
    assert!(scheduler.describe().to_string().contains("session-affinity-scorer × 50"));
    assert_eq!(homes(&scheduler, &pool, 2), before);

    scheduler.reload_yaml(&by_session(50, "{strategy: session_id}")).unwrap();
    scheduler.reload_yaml(&by_session(50, BY_ID)).unwrap();
    assert_ne!(homes(&scheduler, &pool, 3), before, "another plugin remembers nothing of them");
}

#[test]
fn what_is_wrong_is_refused_as_when_it_is_read_and_the_old_goes_on() {
    let scheduler = scheduler(&by_load());
    let before = scheduler.describe().to_string();
    let wrong = [
        "kind: Nothing".to_owned(),
        by_load().replace("weight: 2", "weight: two"),
        yaml("- type: saturation-detector", ""),
        yaml(
            "- type: precise-prefix-cache-producer\n- type: prefix-cache-scorer",
            "  - {pluginRef: prefix-cache-scorer}",
        ),
    ];
    for wrong in &wrong {
        let read = Scheduler::from_yaml(wrong).and_then(SchedulerBuilder::build).unwrap_err();
        let error = scheduler.reload_yaml(wrong).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (read.kind(), read.to_string()));
    }
    assert_eq!(scheduler.describe().to_string(), before);

    let careful = Scheduler::from_yaml(&by_load()).and_then(SchedulerBuilder::build).unwrap();
    let error = careful.reload_yaml(&by_session(1, BY_ID)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("is experimental"), "{error}");
}

#[test]
fn the_index_is_the_same_one() {
    let precise = yaml(
        "- type: precise-prefix-cache-producer\n- {type: prefix-cache-scorer, parameters: \
         {prefixMatchInfoProducerName: precise-prefix-cache-producer}}",
        "  - {pluginRef: prefix-cache-scorer}",
    );
    let (_writer, reader) = ExactIndex::new(IndexSettings::default());
    let scheduler = Scheduler::from_yaml(&by_load()).unwrap().with_index(reader).build().unwrap();
    assert!(!scheduler.needs().events);
    scheduler.reload_yaml(&precise).unwrap();
    assert!(scheduler.needs().events && scheduler.needs().tokens);
}

#[test]
fn a_decision_goes_on_as_it_began_and_counts_in_the_same_place() {
    let (scheduler, pool) = (scheduler(&by_load()), pool());
    let mut rng = StdRng::seed_from_u64(7);
    let mut decision = scheduler.decide(&request([]), &pool, NOW, &mut rng).unwrap();
    let before = decision.explain().to_string();
    scheduler.reload_yaml(&by_session(3, BY_ID)).unwrap();
    assert_eq!(decision.explain().to_string(), before);

    let first = decision.endpoint().name().to_owned();
    let others = [(); 3].map(|()| scheduler.decide(&request([]), &pool, NOW, &mut rng).unwrap());
    assert!(others.iter().all(|other| other.endpoint().name() != first), "the first request still counts");
    decision.advance(NOW);
    drop((decision, others));
    assert!(pool.iter().all(|endpoint| endpoint.in_flight().requests() == 0));
}

#[test]
fn every_decision_is_of_one_configuration_or_the_other() {
    let (scheduler, pool, start) = (scheduler(&by_load()), pool(), Barrier::new(4));
    let expected = [vec!["active-request-scorer 2"], vec!["session-affinity-scorer 9", "active-request-scorer 1"]];
    let decide = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        start.wait();
        for _ in 0..500 {
            let decision = scheduler.decide(&of_session(1), &pool, NOW, &mut rng).expect("there are endpoints");
            let profiles = decision.explain().profiles;
            let scorers = profiles[0].scorers.iter().map(|(name, weight)| format!("{name} {weight}"));
            let scorers: Vec<_> = scorers.collect();
            assert!(expected.iter().any(|expected| *expected == scorers), "{scorers:?}");
        }
    };
    std::thread::scope(|threads| {
        let decide = &decide;
        (0..3).for_each(|seed| drop(threads.spawn(move || decide(seed))));
        start.wait();
        for _ in 0..100 {
            scheduler.reload_yaml(&by_session(9, BY_ID)).expect("it is in order");
            scheduler.reload_yaml(&by_load()).expect("it is in order");
        }
    });
    assert!(pool.iter().all(|endpoint| endpoint.in_flight().requests() == 0));
}
