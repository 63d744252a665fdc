//! Whatever goes wrong, a request ends: here, or computed here.

use std::time::Duration;

use llmd_kvxfer::engine::{Scheduler, Worker};
use llmd_kvxfer::session::{Granted, Params, Reuse};
use llmd_kvxfer::testing::Throttled;
use llmd_kvxfer::{Grant, Shm};

use super::fleet::{Engine, KEY, Make, failed, id, into, lent, received_whole, sent, until};

const LONG: Duration = Duration::from_millis(300);

/// One that gives up soon.
fn impatient() -> Make {
    let mut make = Make::default();
    make.worker.decode.fetch_within = LONG;
    make.worker.decode.retries = 0;
    make
}

/// Three blocks of a request that takes long to fetch.
fn slow(make: Make) -> Engine {
    // A block in a tenth of a second.
    make.start_by(|| Throttled::new(Shm::default(), 163_840.0))
}

/// Has a request arrive.
fn arrive(prefill: &Engine, decode: &Engine, name: &str) -> String {
    prefill.fill(0, &[4, 9, 2]);
    let text = prefill.scheduler.computed(&id(name), 48, lent(&[4, 9, 2])).unwrap().unwrap();
    decode.scheduler.arrive(&id(name), 48, &text).unwrap();
    text
}

fn allocate(decode: &Engine, name: &str) {
    decode.scheduler.allocated(&id(name), 0, 48, vec![into(0, 0, &[5, 6, 7])]).unwrap();
}

/// That nothing came, and all of it is told to be computed, once.
fn computed_here(decode: &Engine, name: &str) {
    for done in decode.told(1) {
        assert_eq!(done.received, [id(name)]);
        assert_eq!(done.failed, [(id(name), failed(&[5, 6, 7]))]);
    }
    assert_eq!(decode.scheduler.abort(&id(name)).unwrap(), Reuse::Now);
    decode.is_silent();
}

#[test]
fn a_lease_that_lapsed_has_all_computed_here() {
    let mut make = Make::default();
    make.worker.prefill.ttl = Duration::from_millis(30);
    let (prefill, decode) = (make.start(), Make::default().start());
    let text = prefill.scheduler.computed(&id("a"), 48, lent(&[4, 9, 2])).unwrap().unwrap();
    sent(&prefill, &id("a"));
    decode.scheduler.arrive(&id("a"), 48, &text).unwrap();
    allocate(&decode, "a");
    computed_here(&decode, "a");
    assert_eq!(prefill.workers[0].stats().unwrap().prefill.lapsed, 1);
}

#[test]
fn a_lease_is_kept_while_the_request_waits_and_no_longer_than_may_be() {
    let mut make = Make::default();
    make.worker.prefill.ttl = Duration::from_millis(600);
    let (prefill, decode) = (make.start(), Make::default().start());
    arrive(&prefill, &decode, "a");
    std::thread::sleep(Duration::from_millis(1500));
    prefill.is_silent();
    allocate(&decode, "a");
    received_whole(&decode, &id("a"));
    sent(&prefill, &id("a"));

    let mut make = Make::default();
    make.worker.prefill.ttl = Duration::from_millis(120);
    make.worker.prefill.hold_at_most = LONG;
    let prefill = make.start();
    arrive(&prefill, &decode, "b");
    sent(&prefill, &id("b"));
    allocate(&decode, "b");
    computed_here(&decode, "b");
}

#[test]
fn an_engine_that_is_gone_before_during_or_after_the_fetch_costs_no_more_than_its_time() {
    let decode = impatient().start();
    let prefill = Make::default().start();
    arrive(&prefill, &decode, "before");
    drop(prefill);
    allocate(&decode, "before");
    computed_here(&decode, "before");

    let decode = slow(impatient());
    let prefill = Make::default().start();
    arrive(&prefill, &decode, "during");
    allocate(&decode, "during");
    drop(prefill);
    // It may have been faster.
    let [done] = &decode.told(1)[..] else { panic!("one worker") };
    assert_eq!(done.received, [id("during")]);
    decode.is_silent();

    let decode = Make::default().start();
    let prefill = Make::default().start();
    arrive(&prefill, &decode, "after");
    allocate(&decode, "after");
    received_whole(&decode, &id("after"));
    drop(prefill);
    decode.is_silent();
}

#[test]
fn an_abort_ends_it_once_in_every_state() {
    // Of what is not known, and what waits: the blocks are the engine's.
    let (prefill, decode) = (Make::sharded(2).start(), Make::sharded(2).start());
    assert_eq!(decode.scheduler.abort(&id("a")).unwrap(), Reuse::Now);
    arrive(&prefill, &decode, "a");
    assert_eq!(decode.scheduler.abort(&id("a")).unwrap(), Reuse::Now);
    assert_eq!(decode.scheduler.matched(&id("a"), 0), 0);
    sent(&prefill, &id("a"));
    decode.is_silent();

    // Of what is lent.
    arrive(&prefill, &decode, "b");
    assert_eq!(prefill.scheduler.abort(&id("b")).unwrap(), Reuse::Later);
    // Again, whether it has ended by then or not.
    let _reuse = prefill.scheduler.abort(&id("b")).unwrap();
    sent(&prefill, &id("b"));
    assert_eq!(prefill.scheduler.abort(&id("b")).unwrap(), Reuse::Now);
    prefill.is_silent();

    // Of what is fetched.
    let (prefill, decode) = (Make::default().start(), slow(Make::default()));
    arrive(&prefill, &decode, "c");
    allocate(&decode, "c");
    assert_eq!(decode.scheduler.abort(&id("c")).unwrap(), Reuse::Later);
    // Again, whether it has ended by then or not.
    let _reuse = decode.scheduler.abort(&id("c")).unwrap();
    let [done] = &decode.told(1)[..] else { panic!("one worker") };
    assert_eq!((&done.received[..], &done.failed[..]), (&[id("c")][..], &[][..]));
    until("the scheduler hears of it", || decode.scheduler.abort(&id("c")).unwrap() == Reuse::Now);
    decode.is_silent();
    sent(&prefill, &id("c"));
}

#[test]
fn one_that_was_preempted_may_be_asked_for_again() {
    let (prefill, decode) = (Make::default().start(), slow(Make::default()));
    let content = prefill.fill(0, &[4, 9, 2]);
    let text = prefill.scheduler.computed(&id("a"), 48, lent(&[4, 9, 2])).unwrap().unwrap();
    decode.scheduler.arrive(&id("a"), 48, &text).unwrap();
    assert_eq!(decode.scheduler.preempted(&id("a")).unwrap(), Reuse::Now);
    allocate(&decode, "a");
    assert_eq!(decode.scheduler.preempted(&id("a")).unwrap(), Reuse::Later);
    assert_eq!(decode.scheduler.matched(&id("a"), 0), 0);
    let [done] = &decode.told(1)[..] else { panic!("one worker") };
    assert_eq!(done.received, [id("a")]);
    let stats = || decode.scheduler.stats().unwrap();
    // What was fetched before it was preempted has no lease any more.
    if stats().requests == 1 {
        assert_eq!(decode.scheduler.matched(&id("a"), 0), 48);
        allocate(&decode, "a");
        received_whole(&decode, &id("a"));
        assert_eq!(decode.content(0, &[5, 6, 7]), content);
    }
    sent(&prefill, &id("a"));
}

#[test]
fn a_text_that_is_malformed_or_forged_is_refused_or_computed_here() {
    let (prefill, decode) = (Make::default().start(), Make::default().start());
    let text = prefill.scheduler.computed(&id("a"), 48, lent(&[4, 9, 2])).unwrap().unwrap();
    let params = Params::from_text(&text).unwrap();
    let refused = |text: &str| decode.scheduler.arrive(&id("a"), 48, text).unwrap_err().to_string();
    assert_eq!(refused("what is this"), "grant \"what is this\": expected base64url");
    let granted = |bytes: &[u8]| {
        let granted = Granted { grant: bytes.into(), ..params.granted()[0].clone() };
        Params::new(params.tokens(), params.ttl(), vec![granted]).unwrap().to_text()
    };
    assert_eq!(refused(&granted(b"none")), "shard 0 of group 0: grant: `magic` at byte 4 is not that of a grant");
    let said = decode.scheduler.arrive(&id("a"), 0, &text).unwrap_err().to_string();
    assert_eq!(said, "request a has a prompt of 0 tokens: expected 1 or more");

    // One whose capability was guessed.
    let bytes = params.granted()[0].grant.to_vec();
    let grant = Grant::from_bytes(&bytes).unwrap();
    let forged = (0..bytes.len()).rev().find_map(|place| {
        let mut forged = bytes.clone();
        forged[place] ^= 1;
        let read = Grant::from_bytes(&forged).ok()?;
        let is_alike = read.agent() == grant.agent() && read.addresses() == grant.addresses();
        let is_of_it = read.lease() == grant.lease() && read.layout() == grant.layout() && read.pool() == grant.pool();
        (is_alike && is_of_it && read.blocks() == grant.blocks() && read.ttl() == grant.ttl()).then_some(forged)
    });
    decode.scheduler.arrive(&id("a"), 48, &granted(&forged.unwrap())).unwrap();
    allocate(&decode, "a");
    computed_here(&decode, "a");
    let stats = decode.scheduler.stats().unwrap();
    assert_eq!((stats.malformed, stats.arrived), (3, 1));
}

#[test]
fn what_the_engine_says_wrong_changes_nothing() {
    let (prefill, decode) = (Make::default().start(), Make::default().start());
    let text = arrive(&prefill, &decode, "a");
    let said = |result: llmd_core::Result<()>| result.unwrap_err().to_string();
    let allocated =
        |external, blocks: &[u32]| said(decode.scheduler.allocated(&id("a"), 0, external, vec![into(0, 0, blocks)]));
    assert_eq!(allocated(49, &[5, 6, 7, 8]), "request a with 49 tokens behind 0: expected at most 48 together");
    assert_eq!(allocated(48, &[5, 6]), "group 0 has 2 blocks: expected 3");
    assert_eq!(
        said(decode.scheduler.arrive(&id("a"), 48, &text)),
        "request a is known already: expected one that is not"
    );
    let said = prefill.scheduler.computed(&id("a"), 48, lent(&[4])).unwrap_err().to_string();
    assert_eq!(said, "request a is lent already: expected one that is not");
    allocate(&decode, "a");
    received_whole(&decode, &id("a"));
    // Of what is not offered any more, every block is told to be computed.
    allocate(&decode, "never-heard-of");
    computed_here(&decode, "never-heard-of");
}

#[test]
fn formats_that_differ_are_named_and_the_lease_is_given_up() {
    let (prefill, decode) = (Make { format: "dtype=float16", ..Make::default() }.start(), Make::default().start());
    let text = prefill.scheduler.computed(&id("a"), 16, lent(&[4])).unwrap().unwrap();
    let said = decode.scheduler.arrive(&id("a"), 16, &text).unwrap_err().to_string();
    assert_eq!(said, "group 0: dtype is `float16` there, expected `bfloat16`");
    sent(&prefill, &id("a"));
}

#[test]
fn a_scheduler_that_went_away_strands_nothing() {
    let (prefill, decode) = (Make::default().start(), slow(Make::default()));
    arrive(&prefill, &decode, "waits");
    arrive_another(&prefill, &decode, "fetched");
    let Engine { scheduler, workers, agents, pools, folder } = decode;
    drop(scheduler);
    // What waited is given up; what is fetched ends.
    sent_both(&prefill);
    let done = super::fleet::told(&workers[0], 1);
    assert_eq!((&done.received[..], &done.failed[..]), (&[id("fetched")][..], &[][..]));
    until("the worker sees that it is alone", || workers[0].stats().unwrap().lost_schedulers == 1);
    let addresses = [workers[0].address()];
    let scheduler = Scheduler::new(&addresses, KEY, Make::default().scheduler).unwrap();
    let decode = Engine { scheduler, workers, agents, pools, folder };
    arrive(&prefill, &decode, "anew");
    allocate(&decode, "anew");
    received_whole(&decode, &id("anew"));
    sent(&prefill, &id("anew"));
}

fn arrive_another(prefill: &Engine, decode: &Engine, name: &str) {
    let text = prefill.scheduler.computed(&id(name), 48, lent(&[10, 11, 12])).unwrap().unwrap();
    decode.scheduler.arrive(&id(name), 48, &text).unwrap();
    decode.scheduler.allocated(&id(name), 0, 48, vec![into(0, 0, &[15, 16, 17])]).unwrap();
    until("it is begun", || decode.workers[0].stats().unwrap().loading == 1);
}

fn sent_both(prefill: &Engine) {
    let [done] = &prefill.told(2)[..] else { panic!("one worker") };
    let mut both = done.sent.clone();
    both.sort();
    assert_eq!(both, [id("fetched"), id("waits")]);
}

#[test]
fn a_worker_that_is_gone_is_said_to_be_and_one_that_comes_back_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix://{}/worker.sock", folder.path().display());
    let mut make = Make::default();
    make.worker.bind = Some(path);
    let mut engine = make.clone().start();
    assert!(engine.scheduler.computed(&id("a"), 16, lent(&[4])).unwrap().is_some());
    drop(engine.workers.pop());
    // Nobody waits for it.
    until("its end is seen", || engine.scheduler.stats().unwrap().connected == 0);
    assert_eq!(engine.scheduler.computed(&id("b"), 16, lent(&[5])).unwrap(), None);
    assert!(engine.scheduler.stats().unwrap().not_connected >= 1);
    let groups = vec![(llmd_core::GroupIdx(0), engine.pools[0][0].clone())];
    engine.workers.push(Worker::new(engine.agents[0].clone(), groups, KEY, make.worker).unwrap());
    until("it is connected with again", || engine.scheduler.stats().unwrap().connected == 1);
    assert!(engine.scheduler.computed(&id("b"), 16, lent(&[5])).unwrap().is_some());
    // What another worker had lent is nobody's any more.
    until("that is heard", || engine.scheduler.abort(&id("a")).unwrap() == Reuse::Now);
}

#[test]
fn nobody_waits_longer_than_it_has_patience() {
    let mut make = Make::default();
    make.scheduler.patience = Duration::ZERO;
    let engine = make.start();
    // It may be answered at once, or not.
    let granted = engine.scheduler.computed(&id("a"), 16, lent(&[4])).unwrap();
    if granted.is_none() {
        assert_eq!(engine.scheduler.stats().unwrap().too_late, 1);
        engine.is_silent();
        assert_eq!(engine.scheduler.abort(&id("a")).unwrap(), Reuse::Now);
        until("the lease is given up", || engine.workers[0].stats().unwrap().agent.leases == 0);
    }
}
