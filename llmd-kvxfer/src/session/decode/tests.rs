use std::time::Duration;

use llmd_core::{ErrorKind, GroupIdx};

use super::*;
use crate::session::{Granted, Part};

/// A second after the request arrived.
const ALLOCATED: u64 = 1000;
const WITHIN: u64 = 20_000;

/// Milliseconds.
fn at(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn id() -> RequestId {
    RequestId::new("a").unwrap()
}

fn part(group: u32, shard: u32) -> Part {
    Part { group: GroupIdx(group), shard }
}

fn granted(group: u32, shard: u32) -> Granted {
    Granted { part: part(group, shard), from_token: 0, grant: [group as u8, shard as u8].into() }
}

fn params(tokens: u32, granted: Vec<Granted>) -> String {
    Params::new(tokens, Duration::from_secs(30), granted).unwrap().to_text()
}

fn of(loading: Loading) -> Decode {
    let settings = Settings { loading, ..Settings::default() };
    Decode::new(settings).unwrap()
}

/// A prompt of 40 tokens, offered in these parts.
fn offered(granted: Vec<Granted>) -> Decode {
    let mut decode = of(Loading::InBackground);
    decode.arrive(at(0), &id(), 40, &params(40, granted)).unwrap();
    polled(&mut decode, 0);
    decode
}

fn polled(decode: &mut Decode, now: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    decode.poll(at(now), &mut actions);
    actions
}

/// Blocks 50, 51, 52 of group 0, 60, 61, 62 of group 1, and so on, for the whole prompt.
fn blocks(group: u32) -> Allocation {
    let blocks = (50 + 10 * group..).take(3).collect();
    Allocation { group: GroupIdx(group), block_tokens: 16, from_token: 0, blocks }
}

/// Being fetched whole, by fetch 0, 1 and so on.
fn fetching(granted: Vec<Granted>) -> Decode {
    let groups = granted.iter().map(|granted| granted.part.group.0).max().unwrap();
    let mut decode = offered(granted);
    decode.allocated(at(ALLOCATED), &id(), 0, 40, (0..=groups).map(blocks).collect()).unwrap();
    polled(&mut decode, ALLOCATED);
    decode
}

fn good(blocks: &[usize]) -> Blocks {
    let mut good = Blocks::none(3);
    for block in blocks {
        good.set(*block);
    }
    good
}

fn fetched(decode: &mut Decode, fetch: u64, outcome: Outcome, blocks: &[usize]) {
    decode.fetched(at(ALLOCATED + 10), FetchId(fetch), outcome, &good(blocks));
}

fn loaded() -> Action {
    Action::Loaded { request: id() }
}

fn free() -> Action {
    Action::Free { request: id() }
}

fn cancel(fetch: u64) -> Action {
    Action::Cancel { fetch: FetchId(fetch) }
}

fn keep(group: u32, shard: u32) -> Action {
    let Granted { part, grant, .. } = granted(group, shard);
    Action::Keep { request: id(), part, grant }
}

fn release(group: u32, shard: u32) -> Action {
    let Granted { part, grant, .. } = granted(group, shard);
    Action::Release { request: id(), part, grant }
}

fn recompute(from_token: u32, failed: &[(u32, u32)]) -> Action {
    let failed = failed.iter().map(|(group, block)| FailedBlock { group: GroupIdx(*group), block: *block });
    Action::Recompute { request: id(), from_token, failed: failed.collect() }
}

#[test]
fn what_is_here_is_not_fetched() {
    let decode = offered(vec![granted(0, 0)]);
    assert_eq!([0, 16, 32, 40, 48].map(|local| decode.matched(&id(), local)), [40, 24, 8, 0, 0]);
    assert_eq!(decode.matched(&RequestId::new("b").unwrap(), 0), 0);
}

#[test]
fn an_engine_that_loads_in_a_step_computes_a_token_at_least() {
    for (prompt, expected) in [(16, 0), (17, 16), (32, 16), (33, 32), (40, 32)] {
        let mut decode = of(Loading::InStep);
        decode.arrive(at(0), &id(), prompt, &params(prompt, vec![granted(0, 0)])).unwrap();
        assert_eq!(decode.matched(&id(), 0), expected, "of a prompt of {prompt} tokens");
    }
}

#[test]
fn of_less_than_the_prompt_only_full_blocks_come() {
    let mut decode = of(Loading::InBackground);
    decode.arrive(at(0), &id(), 100, &params(40, vec![granted(0, 0)])).unwrap();
    assert_eq!((decode.matched(&id(), 0), decode.matched(&id(), 32)), (32, 0));
}

#[test]
fn of_more_than_the_prompt_only_the_prompt_comes() {
    let mut decode = of(Loading::InBackground);
    decode.arrive(at(0), &id(), 20, &params(40, vec![granted(0, 0)])).unwrap();
    assert_eq!(decode.matched(&id(), 0), 20);
}

#[test]
fn what_is_not_worth_it_is_computed_here() {
    let settings = Settings { min_tokens: 10, ..Settings::default() };
    let mut decode = Decode::new(settings).unwrap();
    decode.arrive(at(0), &id(), 40, &params(40, vec![granted(0, 0)])).unwrap();
    assert_eq!((decode.matched(&id(), 16), decode.matched(&id(), 32)), (24, 0));
}

#[test]
fn leases_are_kept_while_a_request_waits_for_its_turn() {
    let mut decode = of(Loading::InBackground);
    decode.arrive(at(0), &id(), 40, &params(40, vec![granted(0, 0), granted(0, 1)])).unwrap();

    assert_eq!(polled(&mut decode, 0), [keep(0, 0), keep(0, 1)]);
    assert_eq!(decode.next_deadline(), Some(at(10_000)));
    assert_eq!(polled(&mut decode, 9999), []);
    assert_eq!(polled(&mut decode, 10_000), [keep(0, 0), keep(0, 1)]);
}

#[test]
fn a_request_that_waits_for_too_long_is_computed_here() {
    let mut decode = offered(vec![granted(0, 0)]);

    assert_eq!(polled(&mut decode, 480_000), [release(0, 0)]);
    assert_eq!((decode.matched(&id(), 0), decode.len(), decode.counts().waited_out), (0, 0, 1));
    assert_eq!(decode.next_deadline(), None);
}

#[test]
fn what_the_engine_does_not_want_is_released() {
    let mut decode = offered(vec![granted(0, 0)]);
    decode.allocated(at(5), &id(), 40, 0, Vec::new()).unwrap();

    assert_eq!(polled(&mut decode, 5), [release(0, 0)]);
    assert_eq!((decode.is_empty(), decode.counts().not_wanted), (true, 1));
    decode.allocated(at(5), &id(), 40, 0, Vec::new()).unwrap();
    assert_eq!(polled(&mut decode, 5), [], "an engine may say so again");
}

#[test]
fn what_is_behind_the_local_hits_is_fetched() {
    let mut decode = offered(vec![granted(0, 0)]);
    let blocks = Allocation { from_token: 16, blocks: vec![51, 52], ..blocks(0) };
    decode.allocated(at(ALLOCATED), &id(), 16, 24, vec![blocks]).unwrap();

    let fetch = Action::Fetch {
        fetch: FetchId(0),
        request: id(),
        part: part(0, 0),
        grant: [0, 0].into(),
        skip_tokens: 16,
        blocks: [51, 52].into(),
        within: at(WITHIN),
    };
    assert_eq!(polled(&mut decode, ALLOCATED), [fetch]);
    assert_eq!(decode.matched(&id(), 0), 0, "it is being fetched");
}

#[test]
fn every_group_and_every_shard_is_fetched_before_it_is_loaded() {
    let mut decode = fetching(vec![granted(0, 0), granted(0, 1), granted(1, 0), granted(1, 1)]);
    for fetch in [2, 0, 3] {
        fetched(&mut decode, fetch, Outcome::Done, &[0, 1, 2]);
        assert_eq!(polled(&mut decode, ALLOCATED + 10), []);
    }
    fetched(&mut decode, 1, Outcome::Done, &[0, 1, 2]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [loaded()]);
    assert!(decode.is_empty() && decode.next_deadline().is_none());
    assert_eq!((decode.counts().loaded, decode.counts().blocks_loaded), (1, 6));
}

#[test]
fn a_group_that_is_not_wanted_is_released_at_once() {
    let mut decode = offered(vec![granted(0, 0), granted(1, 0)]);
    decode.allocated(at(ALLOCATED), &id(), 0, 40, vec![blocks(0)]).unwrap();

    let actions = polled(&mut decode, ALLOCATED);
    assert!(matches!(&actions[..], [Action::Fetch { .. }, last] if *last == release(1, 0)), "{actions:?}");
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!(polled(&mut decode, ALLOCATED + 10), [loaded()]);
}

#[test]
fn leases_of_what_is_not_here_yet_are_kept() {
    let mut decode = fetching(vec![granted(0, 0), granted(1, 0)]);
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!(polled(&mut decode, 10_000), [keep(1, 0)]);
}

#[test]
fn blocks_that_failed_are_told_one_by_one() {
    let mut decode = fetching(vec![granted(0, 0), granted(0, 1)]);
    fetched(&mut decode, 0, Outcome::Corrupt, &[0, 2]);
    fetched(&mut decode, 1, Outcome::Done, &[0, 1, 2]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [recompute(16, &[(0, 51)]), release(0, 0)]);
    assert_eq!((decode.counts().recomputed, decode.counts().blocks_failed, decode.counts().blocks_loaded), (1, 1, 2));
    assert_eq!(decode.counts().outcomes[Outcome::Corrupt.index()], 1);
}

#[test]
fn only_a_peer_that_was_lost_is_tried_once_more() {
    for outcome in Outcome::ALL {
        let mut decode = fetching(vec![granted(0, 0)]);
        fetched(&mut decode, 0, outcome, &[0]);
        let actions = polled(&mut decode, ALLOCATED + 10);
        assert_eq!(actions.is_empty(), outcome == Outcome::PeerLost, "{outcome}: {actions:?}");
    }
}

#[test]
fn there_is_a_lease_to_release_unless_it_is_spent_or_over() {
    for outcome in Outcome::ALL {
        let mut decode = fetching(vec![granted(0, 0)]);
        fetched(&mut decode, 0, outcome, &[0]);
        let actions = polled(&mut decode, ALLOCATED + 10);
        let is_over = matches!(outcome, Outcome::Denied | Outcome::Done | Outcome::PeerLost | Outcome::Stale);
        assert_eq!(!actions.contains(&release(0, 0)), is_over, "{outcome}: {actions:?}");
    }
}

#[test]
fn the_second_try_begins_with_what_failed_and_counts_alone() {
    let mut decode = fetching(vec![granted(0, 0)]);
    fetched(&mut decode, 0, Outcome::PeerLost, &[0, 2]);

    assert_eq!(decode.next_deadline(), Some(at(ALLOCATED + 110)));
    assert_eq!(polled(&mut decode, ALLOCATED + 109), []);
    let fetch = Action::Fetch {
        fetch: FetchId(1),
        request: id(),
        part: part(0, 0),
        grant: [0, 0].into(),
        skip_tokens: 16,
        blocks: [51, 52].into(),
        within: at(WITHIN - 110),
    };
    assert_eq!(polled(&mut decode, ALLOCATED + 110), [fetch]);
    // What the first had brought of the last block may be spoilt by now.
    let mut second = Blocks::none(2);
    second.set(0);
    decode.fetched(at(ALLOCATED + 120), FetchId(1), Outcome::PeerLost, &second);
    assert_eq!(polled(&mut decode, ALLOCATED + 120), [recompute(32, &[(0, 52)]), release(0, 0)]);
    assert_eq!(decode.counts().retried, 1);
}

#[test]
fn nothing_is_tried_again_beyond_the_deadline_or_the_lease() {
    let mut decode = fetching(vec![granted(0, 0)]);
    decode.fetched(at(ALLOCATED + WITHIN - 50), FetchId(0), Outcome::PeerLost, &good(&[0, 1]));
    let actions = polled(&mut decode, ALLOCATED + WITHIN - 50);
    assert_eq!(actions, [recompute(32, &[(0, 52)]), release(0, 0)], "the deadline");

    let settings = Settings { fetch_within: at(100_000), ..Settings::default() };
    let mut decode = Decode::new(settings).unwrap();
    decode.arrive(at(0), &id(), 40, &params(40, vec![granted(0, 0)])).unwrap();
    decode.allocated(at(0), &id(), 0, 40, vec![blocks(0)]).unwrap();
    polled(&mut decode, 0);
    // The engine slept, and kept nothing.
    decode.fetched(at(31_000), FetchId(0), Outcome::PeerLost, &good(&[0, 1]));
    assert_eq!(polled(&mut decode, 31_000), [recompute(32, &[(0, 52)]), release(0, 0)], "the lease");
}

#[test]
fn at_the_deadline_it_is_cancelled_and_told_when_nothing_writes_any_more() {
    let mut decode = fetching(vec![granted(0, 0), granted(1, 0)]);
    fetched(&mut decode, 1, Outcome::Done, &[0, 1, 2]);
    let deadline = ALLOCATED + WITHIN;
    polled(&mut decode, deadline - 1);

    assert_eq!(polled(&mut decode, deadline), [cancel(0)]);
    assert_eq!(polled(&mut decode, deadline + 999), []);
    assert_eq!(polled(&mut decode, deadline + 1000), [cancel(0)], "nothing was heard");
    decode.fetched(at(deadline + 1001), FetchId(0), Outcome::Cancelled, &good(&[0]));
    assert_eq!(polled(&mut decode, deadline + 1001), [recompute(16, &[(0, 51), (0, 52)]), release(0, 0)]);
    assert_eq!((decode.counts().late, decode.counts().asked_again), (1, 1));
}

#[test]
fn what_was_done_before_it_was_cancelled_is_loaded() {
    let mut decode = fetching(vec![granted(0, 0)]);
    let deadline = ALLOCATED + WITHIN;
    polled(&mut decode, deadline);
    decode.fetched(at(deadline + 1), FetchId(0), Outcome::Done, &good(&[0, 1, 2]));
    assert_eq!(polled(&mut decode, deadline + 1), [loaded()]);
}

#[test]
fn when_the_first_block_failed_the_others_are_not_waited_for() {
    let mut decode = fetching(vec![granted(0, 0), granted(1, 0)]);
    fetched(&mut decode, 0, Outcome::Stale, &[]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [cancel(1)]);
    fetched(&mut decode, 1, Outcome::Cancelled, &[]);
    let failed: Vec<_> = (50..53).map(|block| (0, block)).chain((60..63).map(|block| (1, block))).collect();
    assert_eq!(polled(&mut decode, ALLOCATED + 10), [recompute(0, &failed), release(1, 0)]);
    assert_eq!(decode.counts().useless, 1);
}

#[test]
fn what_waits_is_aborted_at_once() {
    let mut decode = offered(vec![granted(0, 0)]);
    assert_eq!(decode.abort(at(5), &id()), Reuse::Now);
    assert_eq!(polled(&mut decode, 5), [release(0, 0)]);
    assert_eq!((decode.is_empty(), decode.counts().aborted), (true, 1));
}

#[test]
fn what_is_fetched_is_aborted_when_nothing_writes_any_more() {
    let mut decode = fetching(vec![granted(0, 0), granted(1, 0)]);

    assert_eq!(decode.abort(at(ALLOCATED + 5), &id()), Reuse::Later);
    assert_eq!(decode.abort(at(ALLOCATED + 5), &id()), Reuse::Later);
    assert_eq!(polled(&mut decode, ALLOCATED + 5), [cancel(0), cancel(1)]);
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!(polled(&mut decode, ALLOCATED + 10), []);
    fetched(&mut decode, 1, Outcome::Cancelled, &[]);
    assert_eq!(decode.abort(at(ALLOCATED + 10), &id()), Reuse::Later, "that it is free is not polled yet");
    assert_eq!(polled(&mut decode, ALLOCATED + 10), [free(), release(1, 0)]);
    assert_eq!(decode.abort(at(ALLOCATED + 10), &id()), Reuse::Now);
    assert_eq!(decode.counts().aborted, 1);
}

#[test]
fn what_pauses_is_aborted_without_waiting() {
    let mut decode = fetching(vec![granted(0, 0)]);
    fetched(&mut decode, 0, Outcome::PeerLost, &[]);

    assert_eq!(decode.abort(at(ALLOCATED + 20), &id()), Reuse::Later);
    assert_eq!(polled(&mut decode, ALLOCATED + 20), [free(), release(0, 0)]);
}

#[test]
fn how_it_ended_is_not_told_to_an_engine_that_let_go_of_it() {
    for let_go in [Decode::abort, Decode::preempted] {
        let mut decode = fetching(vec![granted(0, 0)]);
        fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
        assert_eq!(let_go(&mut decode, at(ALLOCATED + 10), &id()), Reuse::Now);
        assert_eq!(polled(&mut decode, ALLOCATED + 10), []);
    }
}

#[test]
fn what_is_preempted_waits_again_when_every_lease_is_left() {
    let mut decode = fetching(vec![granted(0, 0)]);
    assert_eq!(decode.preempted(at(ALLOCATED + 5), &id()), Reuse::Later);
    assert_eq!(polled(&mut decode, ALLOCATED + 5), [cancel(0)]);
    assert_eq!(decode.matched(&id(), 0), 0);
    fetched(&mut decode, 0, Outcome::Cancelled, &[0]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [free()]);
    assert_eq!(decode.matched(&id(), 0), 40);
    decode.allocated(at(ALLOCATED + 20), &id(), 0, 40, vec![blocks(0)]).unwrap();
    assert!(matches!(&polled(&mut decode, ALLOCATED + 20)[..], [Action::Fetch { fetch: FetchId(1), .. }]));
    assert_eq!(decode.counts().preempted, 1);
}

#[test]
fn what_is_preempted_is_computed_here_when_a_lease_is_spent() {
    let mut decode = fetching(vec![granted(0, 0), granted(1, 0)]);
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!(decode.preempted(at(ALLOCATED + 5), &id()), Reuse::Later);
    fetched(&mut decode, 1, Outcome::Cancelled, &[]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [cancel(1), free(), release(1, 0)]);
    assert_eq!((decode.matched(&id(), 0), decode.is_empty()), (0, true));
}

#[test]
fn what_is_preempted_and_then_aborted_is_freed_once_and_gone() {
    let mut decode = fetching(vec![granted(0, 0)]);
    assert_eq!(decode.preempted(at(ALLOCATED + 5), &id()), Reuse::Later);
    assert_eq!(decode.abort(at(ALLOCATED + 5), &id()), Reuse::Later);
    assert_eq!(decode.preempted(at(ALLOCATED + 5), &id()), Reuse::Later);
    fetched(&mut decode, 0, Outcome::Cancelled, &[]);

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [cancel(0), free(), release(0, 0)]);
    assert!(decode.is_empty());
}

#[test]
fn blocks_for_what_is_not_offered_any_more_are_told_to_be_recomputed() {
    let mut decode = offered(vec![granted(0, 0)]);
    polled(&mut decode, 480_000);
    decode.allocated(at(480_001), &id(), 0, 40, vec![blocks(0)]).unwrap();

    assert_eq!(polled(&mut decode, 480_001), [recompute(0, &[(0, 50), (0, 51), (0, 52)])]);
    assert_eq!(decode.counts().gone, 1);
}

#[test]
fn blocks_that_nobody_granted_are_told_and_the_others_fetched() {
    let short = Granted { from_token: 20, ..granted(1, 0) };
    let mut decode = fetching(vec![granted(0, 0), short]);
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    decode.fetched(at(ALLOCATED + 10), FetchId(1), Outcome::Done, &Blocks::all(1));

    assert_eq!(polled(&mut decode, ALLOCATED + 10), [recompute(0, &[(1, 60), (1, 61)])]);
    assert_eq!(decode.counts().blocks_not_granted, 2);
}

#[test]
fn a_group_that_nobody_granted_is_told_to_be_recomputed() {
    let mut decode = offered(vec![granted(0, 0)]);
    decode.allocated(at(ALLOCATED), &id(), 0, 40, vec![blocks(1)]).unwrap();

    let failed = recompute(0, &[(1, 60), (1, 61), (1, 62)]);
    assert_eq!(polled(&mut decode, ALLOCATED), [release(0, 0), failed]);
    assert!(decode.is_empty());
}

#[test]
fn what_an_agent_fetched_has_ended_when_it_restarts() {
    let mut decode = fetching(vec![granted(0, 0)]);
    decode.restarted(at(ALLOCATED + 5));
    assert_eq!((polled(&mut decode, ALLOCATED + 5), decode.counts().restarted), (Vec::new(), 1));

    let actions = polled(&mut decode, ALLOCATED + 105);
    assert!(matches!(&actions[..], [Action::Fetch { fetch: FetchId(1), .. }]), "{actions:?}");
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!((polled(&mut decode, ALLOCATED + 105), decode.counts().unknown), (Vec::new(), 1));
}

#[test]
fn what_an_agent_was_not_given_yet_is_given_to_the_next() {
    let mut decode = offered(vec![granted(0, 0)]);
    decode.allocated(at(ALLOCATED), &id(), 0, 40, vec![blocks(0)]).unwrap();
    decode.restarted(at(ALLOCATED));

    assert!(matches!(&polled(&mut decode, ALLOCATED)[..], [Action::Fetch { fetch: FetchId(0), .. }]));
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    assert_eq!(polled(&mut decode, ALLOCATED + 10), [loaded()]);
}

#[test]
fn notices_that_come_twice_are_counted_and_nothing_else() {
    let mut decode = fetching(vec![granted(0, 0)]);
    fetched(&mut decode, 0, Outcome::Done, &[0, 1, 2]);
    fetched(&mut decode, 0, Outcome::Io, &[]);
    assert_eq!((polled(&mut decode, ALLOCATED + 10), decode.counts().unknown), (vec![loaded()], 1));
}

#[test]
fn blocks_in_another_number_than_was_asked_for_are_not_believed() {
    let mut decode = fetching(vec![granted(0, 0)]);
    decode.fetched(at(ALLOCATED + 10), FetchId(0), Outcome::Done, &Blocks::all(4));
    assert_eq!(polled(&mut decode, ALLOCATED + 10), [recompute(0, &[(0, 50), (0, 51), (0, 52)])]);
    assert_eq!(decode.counts().misfit, 1);
}

#[test]
fn what_cannot_be_taken_is_refused_by_name() {
    let settings = Settings { max_requests: 1, max_actions: 1, ..Settings::default() };
    let mut decode = Decode::new(settings).unwrap();
    let text = params(40, vec![granted(0, 0)]);
    let mut arrive = |name, tokens, text: &str| decode.arrive(at(0), &RequestId::new(name).unwrap(), tokens, text);
    let malformed = arrive("a", 40, "{}").unwrap_err();
    assert_eq!(
        (malformed.kind(), malformed.to_string()),
        (ErrorKind::Invalid, "grant \"{}\": expected base64url".into())
    );
    assert_eq!(
        arrive("a", 0, &text).unwrap_err().to_string(),
        "request a has a prompt of 0 tokens: expected 1 or more"
    );
    arrive("a", 40, &text).unwrap();
    assert_eq!(arrive("a", 40, &text).unwrap_err().to_string(), "request a is held already: expected one that is not");
    let full = arrive("b", 40, &text).unwrap_err();
    assert_eq!((full.kind(), full.to_string()), (ErrorKind::Exhausted, "all 1 requests are held".into()));

    let _ = decode.abort(at(0), &id());
    let waiting = decode.arrive(at(0), &id(), 40, &text).unwrap_err();
    assert_eq!((waiting.kind(), waiting.to_string()), (ErrorKind::Exhausted, "1 actions wait to be polled".into()));
    let counts = decode.counts();
    assert_eq!((counts.malformed, counts.duplicate, counts.refused, counts.arrived), (2, 1, 2, 1));
}

#[test]
fn an_allocation_that_cannot_be_is_refused_by_name_and_changes_nothing() {
    let mut decode = offered(vec![granted(0, 0)]);
    let mut refused =
        |local, external, groups| decode.allocated(at(0), &id(), local, external, groups).unwrap_err().to_string();
    let with = |from_token, list: &[u32]| vec![Allocation { from_token, blocks: list.to_vec(), ..blocks(0) }];
    assert_eq!(refused(16, 32, with(16, &[1, 2])), "request a with 32 tokens behind 16: expected at most 40 together");
    assert_eq!(refused(0, 40, Vec::new()), "0 groups: expected 1 to 1024");
    assert_eq!(refused(0, 40, vec![blocks(0), blocks(0)]), "group 0 twice: expected once");
    assert_eq!(refused(0, 40, with(0, &[1, 2])), "group 0 has 2 blocks: expected 3");
    assert_eq!(refused(0, 40, with(40, &[])), "group 0 begins at token 40: expected less than 40");
    assert_eq!(
        refused(16, 24, with(0, &[1, 2, 3])),
        "group 0 begins at token 0: expected no block of the 16 local tokens"
    );
    let flat = Allocation { block_tokens: 0, ..blocks(0) };
    assert_eq!(refused(0, 40, vec![flat]), "group 0 has blocks of 0 tokens: expected 1 or more");

    decode.allocated(at(0), &id(), 0, 40, vec![blocks(0)]).unwrap();
    let again = decode.allocated(at(0), &id(), 0, 40, vec![blocks(0)]).unwrap_err();
    assert_eq!(again.to_string(), "request a is being fetched: expected it to wait");
    decode.allocated(at(0), &id(), 40, 0, Vec::new()).unwrap();
    assert_eq!(decode.len(), 1, "an engine says the same again when it has nothing to add");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let refused = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        Decode::new(settings).unwrap_err().to_string()
    };
    assert_eq!(refused(|settings| settings.block_tokens = 0), "block_tokens 0: expected 1 or more");
    assert_eq!(refused(|settings| settings.fetch_within = at(0)), "fetch_within 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.wait_at_most = at(0)), "wait_at_most 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.retry_after = at(0)), "retry_after 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.ask_again = at(0)), "ask_again 0ns: expected 1ms or more");
    assert_eq!(refused(|settings| settings.max_requests = 0), "max_requests 0: expected 1 or more");
    assert_eq!(refused(|settings| settings.max_actions = 0), "max_actions 0: expected 1 or more");
}
