use std::time::Duration;

use llmd_core::{ErrorKind, GroupIdx};

use super::*;

const HOLD: u64 = 480;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(name: &str) -> RequestId {
    RequestId::new(name).unwrap()
}

fn lent(group: u32, shard: u32) -> Lent {
    Lent { part: Part { group: GroupIdx(group), shard }, from_token: 0, blocks: vec![3, 1, 2] }
}

fn lease(number: u64) -> LeaseKey {
    LeaseKey { boot: 7, number }
}

fn prefill() -> Prefill {
    let mut prefill = Prefill::new(Settings::default()).unwrap();
    prefill.restarted(at(0), 0, 7);
    prefill
}

fn polled(prefill: &mut Prefill, now: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    prefill.poll(at(now), &mut actions);
    actions
}

/// What was asked.
fn asked(prefill: &mut Prefill) -> Vec<GrantId> {
    let grants = polled(prefill, 0).into_iter().map(|action| match action {
        Action::Grant { grant, .. } => grant,
        other => panic!("{other:?} is no grant"),
    });
    grants.collect()
}

fn grant(prefill: &mut Prefill, grant: GrantId, lease: LeaseKey) {
    prefill.granted(at(1), grant, lease, [9, 9].into());
}

/// A request of one part, whose answer says how to fetch it, by lease 0.
fn answered() -> Prefill {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let grants = asked(&mut prefill);
    grant(&mut prefill, grants[0], lease(0));
    assert!(matches!(&polled(&mut prefill, 1)[..], [Action::Answer { params: Some(_), .. }]));
    prefill
}

fn free(name: &str) -> Action {
    Action::Free { request: id(name) }
}

fn release(number: u64) -> Action {
    Action::Release { part: lent(0, 0).part, lease: lease(number) }
}

fn nothing(name: &str) -> Action {
    Action::Answer { request: id(name), params: None }
}

#[test]
fn every_part_is_asked_of_its_agent() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 2, vec![lent(0, 0), lent(0, 1)]).unwrap();

    let grant = |number, shard| Action::Grant {
        grant: GrantId(number),
        request: id("a"),
        part: lent(0, shard).part,
        blocks: [3, 1, 2].into(),
        ttl: at(30),
        consumers: 2,
    };
    assert_eq!(polled(&mut prefill, 0), [grant(0, 0), grant(1, 1)]);
}

#[test]
fn the_answer_waits_for_every_part() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(1, 0)]).unwrap();
    let grants = asked(&mut prefill);

    grant(&mut prefill, grants[1], lease(1));
    assert_eq!(polled(&mut prefill, 1), []);
    grant(&mut prefill, grants[0], lease(0));
    let actions = polled(&mut prefill, 1);
    let [Action::Answer { params: Some(params), .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((params.tokens(), params.ttl(), params.granted().len()), (40, at(30), 2));
}

#[test]
fn blocks_are_free_when_the_last_lease_ended() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(1, 0)]).unwrap();
    for (number, asked) in (0..).zip(asked(&mut prefill)) {
        grant(&mut prefill, asked, lease(number));
    }
    polled(&mut prefill, 1);

    prefill.ended(at(2), lease(1), LeaseEnd::Finished);
    assert_eq!(polled(&mut prefill, 2), []);
    prefill.ended(at(3), lease(0), LeaseEnd::Lapsed);
    assert_eq!(polled(&mut prefill, 3), [free("a")]);
    assert!(prefill.is_empty() && prefill.next_deadline().is_none());
    assert_eq!((prefill.counts().finished, prefill.counts().lapsed, prefill.counts().freed), (1, 1, 1));
}

#[test]
fn a_part_that_is_refused_leaves_nothing_to_fetch() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(1, 0)]).unwrap();
    let grants = asked(&mut prefill);
    grant(&mut prefill, grants[0], lease(0));
    prefill.refused(at(1), grants[1]);

    assert_eq!(polled(&mut prefill, 1), [nothing("a"), release(0)]);
    prefill.ended(at(1), lease(0), LeaseEnd::Released);
    assert_eq!(polled(&mut prefill, 1), [free("a")]);
}

#[test]
fn a_lease_that_lapsed_before_the_answer_leaves_nothing_to_fetch() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(1, 0)]).unwrap();
    let grants = asked(&mut prefill);
    grant(&mut prefill, grants[0], lease(0));
    prefill.ended(at(1), lease(0), LeaseEnd::Lapsed);
    assert_eq!(polled(&mut prefill, 1), [nothing("a")]);

    // What is granted only now is given up at once.
    grant(&mut prefill, grants[1], lease(1));
    let part = lent(1, 0).part;
    assert_eq!(polled(&mut prefill, 1), [Action::Release { part, lease: lease(1) }]);
}

#[test]
fn grants_that_no_router_would_let_through_are_given_up() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let grants = asked(&mut prefill);
    prefill.granted(at(1), grants[0], lease(0), vec![0; Params::MAX_BYTES].into());

    assert_eq!(polled(&mut prefill, 1), [nothing("a"), release(0)]);
    assert_eq!(prefill.counts().not_granted, 1);
}

#[test]
fn what_is_aborted_is_free_when_the_agent_says_so() {
    let mut prefill = answered();

    assert_eq!(prefill.abort(at(2), &id("a")), Reuse::Later);
    assert_eq!(prefill.abort(at(2), &id("a")), Reuse::Later);
    assert_eq!(polled(&mut prefill, 2), [release(0)]);
    prefill.ended(at(2), lease(0), LeaseEnd::Released);
    assert_eq!(prefill.abort(at(2), &id("a")), Reuse::Later, "that it is free is not polled yet");
    assert_eq!(polled(&mut prefill, 2), [free("a")]);
    assert_eq!(prefill.abort(at(2), &id("a")), Reuse::Now);
    assert_eq!(prefill.counts().aborted, 1);
}

#[test]
fn what_is_aborted_while_it_is_asked_for_is_free_when_the_answer_came() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let grants = asked(&mut prefill);

    assert_eq!(prefill.abort(at(0), &id("a")), Reuse::Later);
    assert_eq!(polled(&mut prefill, 0), []);
    prefill.refused(at(1), grants[0]);
    assert_eq!(polled(&mut prefill, 1), [free("a")]);
}

#[test]
fn a_lease_of_which_nothing_is_heard_is_given_up_again_and_again() {
    let mut prefill = answered();
    let _ = prefill.abort(at(2), &id("a"));
    assert_eq!(polled(&mut prefill, 2), [release(0)]);

    assert_eq!(prefill.next_deadline(), Some(at(3)));
    assert_eq!(polled(&mut prefill, 3), [release(0)]);
    assert_eq!(polled(&mut prefill, 4), [release(0)]);
    assert_eq!(prefill.counts().asked_again, 2);
}

#[test]
fn nobody_is_waited_for_without_end() {
    let mut prefill = answered();

    assert_eq!(prefill.next_deadline(), Some(at(HOLD)));
    assert_eq!(polled(&mut prefill, HOLD), [release(0)]);
    assert_eq!((prefill.counts().overdue, prefill.len()), (1, 1));
    prefill.ended(at(HOLD), lease(0), LeaseEnd::Released);
    assert_eq!(polled(&mut prefill, HOLD), [free("a")]);
}

#[test]
fn an_agent_that_is_asked_for_too_long_leaves_nothing_to_fetch() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let grants = asked(&mut prefill);

    assert_eq!(polled(&mut prefill, HOLD), [nothing("a")]);
    // Until it answers, it may read.
    assert_eq!(prefill.len(), 1);
    prefill.refused(at(HOLD), grants[0]);
    assert_eq!(polled(&mut prefill, HOLD), [free("a")]);
}

#[test]
fn notices_that_come_twice_or_late_are_counted_and_nothing_else() {
    let mut prefill = answered();
    prefill.granted(at(2), GrantId(0), lease(0), [9].into());
    prefill.refused(at(2), GrantId(0));
    prefill.ended(at(2), lease(5), LeaseEnd::Lapsed);
    assert_eq!(polled(&mut prefill, 2), []);

    prefill.ended(at(2), lease(0), LeaseEnd::Finished);
    prefill.ended(at(2), lease(0), LeaseEnd::Finished);
    assert_eq!(polled(&mut prefill, 2), [free("a")]);
    assert_eq!((prefill.counts().late, prefill.counts().finished), (4, 1));
}

#[test]
fn leases_end_with_the_agent_that_granted_them() {
    let mut prefill = prefill();
    prefill.restarted(at(0), 1, 70);
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(0, 1)]).unwrap();
    let grants = asked(&mut prefill);
    grant(&mut prefill, grants[0], lease(0));
    let other = LeaseKey { boot: 70, number: 0 };
    grant(&mut prefill, grants[1], other);
    polled(&mut prefill, 1);

    prefill.restarted(at(2), 0, 7);
    assert_eq!(polled(&mut prefill, 2), [], "it is the same");
    prefill.restarted(at(2), 0, 8);
    assert_eq!(polled(&mut prefill, 2), [Action::Release { part: lent(0, 1).part, lease: other }]);
    prefill.ended(at(2), lease(0), LeaseEnd::Lapsed);
    assert_eq!(polled(&mut prefill, 2), []);
    prefill.ended(at(2), other, LeaseEnd::Released);
    assert_eq!(polled(&mut prefill, 2), [free("a")]);
    assert_eq!((prefill.counts().restarted, prefill.counts().late), (1, 1));
}

#[test]
fn nothing_comes_of_what_another_run_of_the_agent_granted() {
    let mut prefill = prefill();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let grants = asked(&mut prefill);
    let other = LeaseKey { boot: 8, number: 0 };
    grant(&mut prefill, grants[0], other);

    assert_eq!(polled(&mut prefill, 1), [nothing("a"), Action::Release { part: lent(0, 0).part, lease: other }]);
    prefill.restarted(at(1), 0, 8);
    assert_eq!(polled(&mut prefill, 1), [], "that agent is there, and its lease has not ended");
    prefill.ended(at(1), other, LeaseEnd::Released);
    assert_eq!(polled(&mut prefill, 1), [free("a")]);
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let settings = Settings { max_held: 2, max_actions: 2, ..Settings::default() };
    let mut prefill = Prefill::new(settings).unwrap();
    let mut refused =
        |tokens, consumers, parts| prefill.computed(at(0), &id("a"), tokens, consumers, parts).unwrap_err().to_string();
    assert_eq!(refused(0, 1, vec![lent(0, 0)]), "request a has 0 tokens: expected 1 or more");
    assert_eq!(refused(40, 0, vec![lent(0, 0)]), "request a has 0 consumers: expected 1 or more");
    assert_eq!(refused(40, 1, Vec::new()), "request a has 0 parts: expected 1 to 1024");
    assert_eq!(refused(40, 1, vec![lent(0, 1)]), "shard 1 of group 0: expected shard 0");
    let empty = Lent { blocks: Vec::new(), ..lent(0, 0) };
    assert_eq!(refused(40, 1, vec![empty]), "shard 0 of group 0 has 0 blocks: expected 1 to 1048576");
    let behind = Lent { from_token: 40, ..lent(0, 0) };
    assert_eq!(refused(40, 1, vec![behind]), "shard 0 of group 0 begins at token 40: expected less than 40");

    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
    let mut refused = |name| prefill.computed(at(0), &id(name), 40, 1, vec![lent(0, 0), lent(1, 0)]);
    assert_eq!(refused("a").unwrap_err().to_string(), "request a is held already: expected one that is not");
    refused("b").unwrap();
    let error = refused("c").unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Exhausted, "all 2 requests are held".into()));
    assert_eq!((prefill.counts().invalid, prefill.counts().refused, prefill.counts().computed), (7, 1, 2));
}

#[test]
fn nothing_is_taken_while_nobody_polls() {
    let settings = Settings { max_actions: 2, ..Settings::default() };
    let mut prefill = Prefill::new(settings).unwrap();
    prefill.computed(at(0), &id("a"), 40, 1, vec![lent(0, 0), lent(1, 0)]).unwrap();

    let error = prefill.computed(at(0), &id("b"), 40, 1, vec![lent(0, 0)]).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Exhausted, "2 actions wait to be polled".into()));
    polled(&mut prefill, 0);
    prefill.computed(at(0), &id("b"), 40, 1, vec![lent(0, 0)]).unwrap();
}

#[test]
fn a_name_is_not_used_again_before_its_blocks_are_free() {
    let mut prefill = answered();
    prefill.ended(at(2), lease(0), LeaseEnd::Finished);

    assert!(prefill.computed(at(2), &id("a"), 40, 1, vec![lent(0, 0)]).is_err());
    assert_eq!(polled(&mut prefill, 2), [free("a")]);
    prefill.computed(at(2), &id("a"), 40, 1, vec![lent(0, 0)]).unwrap();
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        Prefill::new(settings).unwrap_err().to_string()
    };
    assert_eq!(refused(|settings| settings.ttl = at(100_000)), "ttl 100000s: expected 1ms to 86400s");
    assert_eq!(refused(|settings| settings.hold_at_most = at(0)), "hold_at_most 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.ask_again = at(0)), "ask_again 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.max_held = 0), "max_held 0: expected 1 or more");
    assert_eq!(refused(|settings| settings.max_actions = 0), "max_actions 0: expected 1 or more");
}
