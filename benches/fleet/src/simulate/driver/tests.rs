use super::*;
use crate::Constants;
use crate::simulate::engine::Machine;
use crate::simulate::load::{Arrivals, SharedPrefix, Stage, staged};
use crate::simulate::scenario::Policy;

const BLOCK: usize = 16;

fn machine() -> Machine {
    let mut machine = Machine::new(Constants::QWEN3_32B_TP2_H100);
    machine.constants.kv_cache_tokens = 4000;
    machine
}

/// Stages of requests of 400 + 80 tokens, 40 out.
fn load(stages: &[Stage], arrivals: Arrivals) -> Load {
    let prompts = SharedPrefix::new(6, 3, [400, 80, 40], BLOCK);
    staged(stages, arrivals, Duration::from_secs(1), prompts.shuffled(3), 3)
}

fn run(fleet: &Fleet, load: &Load, policy: &str) -> Outcome {
    let policy = Policy::built_in(policy).unwrap();
    Run::new(fleet, load, &policy.yaml, 7).unwrap().run().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (fleet, load) = (Fleet::of(3, machine()), load(&[Stage::new(20.0, 5.0)], Arrivals::Poisson));
    let served = || run(&fleet, &load, "llm-d-affinity").phases.remove(0).served;
    let first = served();
    assert_eq!(first, served());
    assert_eq!(first.len(), 100);
}

#[test]
fn every_request_is_answered_whatever_befalls_the_fleet() {
    let sound = Fleet::of(3, machine());
    let death = |engine, at| Death { engine, at: Duration::from_secs(at), away: Duration::from_secs(4) };
    let fleets = [
        Fleet { lost_events: 0.2, ..sound.clone() },
        Fleet { lost_events: 0.2, replays: false, ..sound.clone() },
        Fleet { routers: 3, ..sound.clone() },
        // For a moment nobody is there.
        Fleet { deaths: vec![death(0, 2), death(1, 3), death(2, 4)], ..sound.clone() },
        Fleet { scrape: Duration::from_secs(2), ..sound },
    ];
    let load = load(&[Stage::warm_up(10.0, 1.0), Stage::new(15.0, 8.0), Stage::new(30.0, 2.0)], Arrivals::Poisson);
    for fleet in &fleets {
        for policy in ["precise", "llm-d-blend", "round-robin"] {
            let outcome = run(fleet, &load, policy);
            let served: Vec<_> = outcome.phases.iter().map(|phase| phase.served.len()).collect();
            assert_eq!((served, outcome.refused), (vec![10, 120, 60], 0), "{policy} on {fleet:?}");
            let again = outcome.served().any(|served| served.again > 0);
            assert_eq!(again, !fleet.deaths.is_empty(), "{policy} on {fleet:?}");
        }
    }
}

#[test]
fn the_index_knows_the_caches_while_little_is_going_on() {
    // One request at a time, so that events have come before the next decision.
    let load = load(&[Stage::new(1.0, 60.0)], Arrivals::Constant);
    for host_tokens in [0, 16_000] {
        let machine = Machine { host_tokens, ..machine() };
        let outcome = run(&Fleet::of(2, machine), &load, "precise-unspeculative");
        let wrong = outcome.served().filter(|served| served.expected != served.cached).count();
        assert_eq!((wrong, outcome.served().count()), (0, 60), "host memory for {host_tokens} tokens");
        assert!(outcome.served().any(|served| served.cached > 0));
    }
}

#[test]
fn stages_begin_when_the_one_before_is_drained() {
    let load = load(&[Stage::new(100.0, 1.0), Stage::new(1.0, 3.0)], Arrivals::Constant);
    let outcome = run(&Fleet::of(1, machine()), &load, "random");
    assert_eq!(outcome.phases.iter().map(|phase| phase.served.len()).collect::<Vec<_>>(), [100, 3]);
    // 100 requests that come within a second take longer than that; three that come by themselves do not.
    assert!(outcome.phases[0].took > Duration::from_secs(3));
    assert!(outcome.phases[1].took < Duration::from_secs(4));
}

#[test]
fn who_asks_what_cannot_be_said_is_told_so() {
    let fleet = Fleet::of(1, machine());
    let load = load(&[Stage::new(1.0, 1.0)], Arrivals::Constant);
    let error = Run::new(
        &fleet,
        &load,
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: no-such}]",
        1,
    )
    .unwrap_err();
    assert!(error.to_string().contains("no-such"), "{error}");
}

#[test]
fn the_slowest_request_is_explained() {
    let fleet = Fleet::of(2, machine());
    let load = load(&[Stage::new(20.0, 1.0)], Arrivals::Poisson);
    let policy = Policy::built_in("load").unwrap();
    let outcome = Run::new(&fleet, &load, &policy.yaml, 1).unwrap().explaining().run().unwrap();
    let slowest = outcome.served().map(|served| served.first_token).max().unwrap();
    let worst = outcome.worst.unwrap();
    assert_eq!(worst.first_token, slowest);
    assert!(worst.why.contains("queue-scorer"), "{}", worst.why);
}
