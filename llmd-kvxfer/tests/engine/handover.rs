//! What was computed in one engine is decoded in another.

use llmd_core::GroupIdx;
use llmd_kvxfer::session::Reuse;
use llmd_kvxfer::{Local, Transport};

use super::fleet::{Make, TOKENS, id, into, lent, received_whole, sent};

fn hand_over<T: Transport + 'static>(from: Make, to: Make, transport: impl Fn() -> T) {
    let (prefill, decode) = (from.start_by(&transport), to.start_by(&transport));
    let request = id("cmpl-7");
    let content = prefill.fill(0, &[4, 9, 2]);
    let text = prefill.scheduler.computed(&request, 40, lent(&[4, 9, 2])).unwrap().unwrap();
    decode.scheduler.arrive(&request, 40, &text).unwrap();
    assert_eq!(decode.scheduler.matched(&request, 0), 40);
    decode.scheduler.allocated(&request, 0, 40, vec![into(0, 0, &[1, 8, 3])]).unwrap();
    received_whole(&decode, &request);
    assert_eq!(decode.content(0, &[1, 8, 3]), content);
    sent(&prefill, &request);
    for engine in [&prefill, &decode] {
        assert_eq!(engine.scheduler.abort(&request).unwrap(), Reuse::Now);
        assert_eq!(engine.scheduler.stats().unwrap().requests, 0);
        engine.is_silent();
    }
    for worker in &prefill.workers {
        let stats = worker.stats().unwrap();
        assert_eq!((stats.prefill.finished, stats.prefill.lapsed, stats.lending), (1, 0, 0));
    }
}

#[test]
fn a_request_is_handed_over_whole_with_a_last_block_that_is_not_full() {
    let here = Local::default();
    hand_over(Make::default(), Make::default(), || here.clone());
    hand_over(Make::default(), Make::default(), llmd_kvxfer::Shm::default);
}

#[test]
fn shards_are_cut_anew_where_engines_have_others() {
    let here = Local::default();
    let by = || here.clone();
    hand_over(Make::sharded(2), Make::sharded(2), by);
    hand_over(Make::sharded(2), Make::sharded(1), by);
    hand_over(Make::sharded(4), Make::sharded(2), by);
    // Each block of the one shard is needed by both of the others.
    let mut shared = Make::sharded(1);
    shared.worker.consumers = 2;
    hand_over(shared, Make::sharded(2), by);
}

#[test]
fn what_is_here_already_is_not_fetched() {
    is_not_fetched_again(Make::default);
    // As where a backend packs the tokens of a block in a way of its own.
    is_not_fetched_again(|| Make { is_packed: true, ..Make::default() });
}

fn is_not_fetched_again(make: impl Fn() -> Make) {
    let (prefill, decode) = (make().start(), make().start());
    let request = id("cmpl-7");
    let content = prefill.fill(0, &[4, 9, 2, 7]);
    let before = decode.fill(0, &[0]);
    let text = prefill.scheduler.computed(&request, 64, lent(&[4, 9, 2, 7])).unwrap().unwrap();
    decode.scheduler.arrive(&request, 64, &text).unwrap();
    assert_eq!(decode.scheduler.matched(&request, 2 * TOKENS), 32);
    decode.scheduler.allocated(&request, 2 * TOKENS, 32, vec![into(0, 2 * TOKENS, &[5, 6])]).unwrap();
    received_whole(&decode, &request);
    assert_eq!(decode.content(0, &[5, 6]), content[2..]);
    assert_eq!(decode.content(0, &[0]), before);
    sent(&prefill, &request);
    // An engine tells of the blocks once more when they are here.
    decode.scheduler.allocated(&request, 2 * TOKENS, 0, Vec::new()).unwrap();
    decode.is_silent();
}

#[test]
fn every_group_is_handed_over_and_one_that_forgets_begins_later() {
    let make = || Make { groups: 2, ..Make::default() };
    let (prefill, decode) = (make().start(), make().start());
    let request = id("cmpl-7");
    let (full, window) = (prefill.fill(0, &[4, 9, 2]), prefill.fill(1, &[11, 12]));
    // In whatever order they are said.
    let groups = vec![(GroupIdx(1), TOKENS, vec![11, 12]), (GroupIdx(0), 0, vec![4, 9, 2])];
    let text = prefill.scheduler.computed(&request, 48, groups).unwrap().unwrap();
    decode.scheduler.arrive(&request, 48, &text).unwrap();
    let blocks = vec![into(0, 0, &[1, 2, 3]), into(1, 2 * TOKENS, &[9])];
    decode.scheduler.allocated(&request, 0, 48, blocks).unwrap();
    received_whole(&decode, &request);
    assert_eq!((decode.content(0, &[1, 2, 3]), decode.content(1, &[9])), (full, window[1..].to_vec()));
    sent(&prefill, &request);
}

#[test]
fn an_engine_that_wants_nothing_gives_the_blocks_back() {
    let (prefill, decode) = (Make::sharded(2).start(), Make::sharded(2).start());
    let request = id("cmpl-7");
    let text = prefill.scheduler.computed(&request, 32, lent(&[4, 9])).unwrap().unwrap();
    decode.scheduler.arrive(&request, 32, &text).unwrap();
    decode.scheduler.allocated(&request, 16, 0, Vec::new()).unwrap();
    sent(&prefill, &request);
    assert_eq!(decode.scheduler.matched(&request, 0), 0);
    decode.is_silent();
}

#[test]
fn many_requests_go_at_once_and_each_ends_once() {
    let (prefill, decode) = (Make::sharded(2).start(), Make::sharded(2).start());
    let content = prefill.fill(0, &(0..24).collect::<Vec<_>>());
    let requests: Vec<_> = (0..24).map(|number| id(&format!("cmpl-{number}"))).collect();
    for (block, request) in (0..).zip(&requests) {
        let text = prefill.scheduler.computed(request, 16, lent(&[block])).unwrap().unwrap();
        decode.scheduler.arrive(request, 16, &text).unwrap();
        decode.scheduler.allocated(request, 0, 16, vec![into(0, 0, &[23 - block])]).unwrap();
    }
    for (done, sent) in decode.told(24).into_iter().zip(prefill.told(24)) {
        let sorted = |mut requests: Vec<_>| {
            requests.sort();
            requests
        };
        let expected = sorted(requests.clone());
        assert_eq!((sorted(done.received), sorted(sent.sent)), (expected.clone(), expected));
        assert_eq!(done.failed, []);
    }
    assert_eq!(decode.content(0, &(0..24).rev().collect::<Vec<_>>()), content);
}
