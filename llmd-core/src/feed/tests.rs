use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmpv::Value;

use super::{Fed, Feed, FeedSettings};
use crate::event::{KvEvent, Numbered, TrtllmDecoder};
use crate::hash::HashKey;
use crate::index::{IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState::*};
use crate::testing::{offloaded, removed, stored};
use crate::{ErrorKind, ExternalBlockHash, Medium, WorkerId};

const START: Duration = Duration::from_secs(100);
const LATER: Duration = Duration::from_secs(111);

pub(super) fn settings() -> IndexSettings {
    IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]))
}

/// What an engine writes that says this at `second` of its clock.
pub(super) fn payload(second: f64, events: &[KvEvent]) -> Vec<u8> {
    let batch = Value::Array(vec![second.into(), events.iter().map(value).collect::<Vec<_>>().into(), 0.into()]);
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, &batch).unwrap();
    payload
}

fn value(event: &KvEvent) -> Value {
    let hashes = |names: &[ExternalBlockHash]| -> Value {
        names.iter().map(|name| name.as_int().unwrap().into()).collect::<Vec<Value>>().into()
    };
    let medium = |medium: Medium| Value::from(medium.to_string());
    let fields: Vec<(&str, Value)> = match event {
        KvEvent::AllBlocksCleared => vec![("type", "AllBlocksCleared".into())],
        KvEvent::BlockRemoved(removed) => vec![
            ("type", "BlockRemoved".into()),
            ("block_hashes", hashes(&removed.block_hashes)),
            ("medium", medium(removed.medium)),
        ],
        KvEvent::BlockStored(stored) => vec![
            ("type", "BlockStored".into()),
            ("block_hashes", hashes(&stored.block_hashes)),
            (
                "parent_block_hash",
                stored.parent_block_hash.as_ref().and_then(ExternalBlockHash::as_int).map_or(Value::Nil, Value::from),
            ),
            ("token_ids", stored.token_ids.iter().map(|&token| token.into()).collect::<Vec<Value>>().into()),
            ("block_size", stored.block_size.into()),
            ("medium", medium(stored.medium)),
        ],
    };
    Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn feed() -> Feed {
    Feed::new(settings()).unwrap()
}

/// The batch of this number, in which an engine stores one more block after those before.
fn batch(seq: u64) -> Vec<u8> {
    said(seq, KvEvent::BlockStored(stored(seq.checked_sub(1), [seq], &[seq as u32, 1])))
}

fn said(seq: u64, event: KvEvent) -> Vec<u8> {
    payload(seq as f64, &[event])
}

fn hear(feed: &Feed, seq: u64) -> Fed {
    feed.apply(START, "a", Some(seq), &batch(seq)).unwrap()
}

/// The names of what is held, in order.
fn held(feed: &Feed) -> Vec<u64> {
    let residents = feed.residents("a").unwrap();
    let mut held: Vec<_> = residents.iter().map(|resident| resident.block.as_int().unwrap()).collect();
    held.sort_unstable();
    held
}

#[test]
fn who_hears_everything_from_the_first_batch_on_is_exact() {
    let feed = feed();
    for seq in 0..3 {
        let fed = hear(&feed, seq);
        assert_eq!((fed.state, fed.missing_from, fed.applied.stored, fed.events.len()), (Exact, None, 1, 1));
    }
    let chain = feed.reader().hasher().chain(&[0, 1, 1, 1, 2, 1], &Default::default());
    assert_eq!(feed.reader().query(&chain).leading(feed.worker("a").unwrap()), 3);
}

#[test]
fn a_gap_is_filled_by_what_is_replayed_and_then_what_waited_is_taken() {
    let feed = feed();
    hear(&feed, 0);
    hear(&feed, 1);
    let gap = hear(&feed, 4);
    assert_eq!((gap.state, gap.missing_from, gap.events.len()), (Recovering, Some(1), 0));
    assert_eq!(hear(&feed, 5).missing_from, Some(1));

    let anchor = hear(&feed, 1);
    assert_eq!((anchor.duplicate, anchor.state, anchor.missing_from), (true, Recovering, Some(1)));
    assert_eq!((hear(&feed, 2).events.len(), held(&feed)), (1, vec![0, 1, 2]));
    let filled = hear(&feed, 3);
    assert_eq!((filled.state, filled.missing_from, filled.events.len()), (Exact, None, 3));
    assert_eq!(held(&feed), [0, 1, 2, 3, 4, 5]);
    assert!(hear(&feed, 4).duplicate);
    assert_eq!(feed.counts("a").unwrap().gaps, 1);
}

#[test]
fn what_is_missing_waits_for_the_proof_that_it_is_of_the_same_engine() {
    let feed = feed();
    hear(&feed, 0);
    hear(&feed, 2);
    assert_eq!((hear(&feed, 1).missing_from, held(&feed)), (Some(0), vec![0]));
    assert_eq!((hear(&feed, 0).state, held(&feed)), (Exact, vec![0, 1, 2]));
}

#[test]
fn who_comes_late_may_ask_for_everything_before() {
    let feed = feed();
    let late = hear(&feed, 2);
    assert_eq!((late.state, late.missing_from, held(&feed)), (Recovering, Some(0), vec![]));
    hear(&feed, 0);
    assert_eq!((hear(&feed, 1).state, held(&feed)), (Exact, vec![0, 1, 2]));
}

#[test]
fn who_gives_up_takes_what_waited_and_is_approximate() {
    let feed = feed();
    hear(&feed, 0);
    hear(&feed, 2);
    hear(&feed, 4);
    hear(&feed, 5);
    let fed = feed.give_up(START, "a").unwrap();
    assert_eq!((fed.state, fed.missing_from, fed.applied.stored, held(&feed)), (Approximate, None, 2, vec![4, 5]));
    assert_eq!((hear(&feed, 6).state, held(&feed)), (Approximate, vec![4, 5, 6]));
    assert_eq!(feed.give_up(START, "a").unwrap().events, []);

    let cleared = feed.apply(START, "a", Some(7), &said(7, KvEvent::AllBlocksCleared)).unwrap();
    assert_eq!((cleared.state, held(&feed)), (Exact, vec![]));
}

#[test]
fn what_is_missing_too_long_is_given_up() {
    let feed = feed();
    hear(&feed, 0);
    hear(&feed, 2);
    let fed = feed.apply(LATER, "a", Some(3), &batch(3)).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed)), (Approximate, None, vec![2, 3]));
}

#[test]
fn without_replay_a_gap_is_given_up_at_once_and_a_restart_is_known_from_its_beginning() {
    let feed = Feed::with_limits(settings(), FeedSettings::default().with_recover_within(Duration::ZERO)).unwrap();
    assert_eq!(hear(&feed, 5).state, Approximate);
    assert_eq!((hear(&feed, 7).missing_from, held(&feed)), (None, vec![7]));
    let first = feed.apply(START, "a", Some(0), &said(90, KvEvent::BlockStored(stored(None, [9], &[9, 9])))).unwrap();
    assert_eq!((first.state, held(&feed)), (Exact, vec![9]));
}

#[test]
fn an_engine_that_begins_anew_is_forgotten_and_rebuilt() {
    let feed = feed();
    (0..3).for_each(|seq| drop(hear(&feed, seq)));
    let first = feed.apply(START, "a", Some(0), &said(50, KvEvent::BlockStored(stored(None, [7], &[7, 7])))).unwrap();
    assert_eq!((first.state, first.duplicate, held(&feed)), (Exact, false, vec![7]));
    assert_eq!(feed.counts("a").unwrap().restarts, 1);
}

#[test]
fn an_engine_that_began_anew_unheard_is_asked_for_its_beginning() {
    let feed = feed();
    (0..3).for_each(|seq| drop(hear(&feed, seq)));
    let reborn = |seq: u64| said(50 + seq, KvEvent::BlockStored(stored(None, [70 + seq], &[70 + seq as u32, 7])));
    let fed = feed.apply(START, "a", Some(1), &reborn(1)).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed)), (Recovering, Some(0), vec![]));
    let fed = feed.apply(START, "a", Some(0), &reborn(0)).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed)), (Exact, None, vec![70, 71]));
}

#[test]
fn a_first_batch_that_comes_after_its_successors_were_made_do_with_has_them_come_again() {
    let feed = feed();
    feed.apply(START, "a", Some(0), &said(1, KvEvent::AllBlocksCleared)).unwrap();
    feed.reconnected(START, "a").unwrap();
    // Another engine, whose first batch was lost.
    let later = |seq: u64| said(2 + seq, KvEvent::AllBlocksCleared);
    (1..4).for_each(|seq| drop(feed.apply(START, "a", Some(seq), &later(seq)).unwrap()));
    feed.give_up(START, "a").unwrap();
    assert_eq!((feed.state("a").unwrap(), held(&feed)), (Approximate, vec![]));

    let first = said(2, KvEvent::BlockStored(stored(None, [0], &[0, 1])));
    let fed = feed.apply(START, "a", Some(0), &first).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed)), (Recovering, Some(0), vec![0]), "three were made after it");
    (1..4).for_each(|seq| drop(feed.apply(START, "a", Some(seq), &later(seq)).unwrap()));
    assert_eq!((feed.state("a").unwrap(), held(&feed)), (Exact, vec![]));
}

#[test]
fn a_stray_batch_of_an_engine_that_is_gone_has_all_come_again() {
    let feed = feed();
    let batch = |seq: u64| said(100 + seq, KvEvent::BlockStored(stored(None, [seq], &[seq as u32, 1])));
    (0..11).for_each(|seq| drop(feed.apply(START, "a", Some(seq), &batch(seq)).unwrap()));
    assert_eq!((feed.state("a").unwrap(), held(&feed).len()), (Exact, 11));

    let stray = said(50, KvEvent::BlockStored(stored(None, [99], &[9, 9])));
    let fed = feed.apply(START, "a", Some(3), &stray).unwrap();
    assert_eq!((fed.state, fed.missing_from), (Recovering, Some(0)));
    for seq in 0..10 {
        let fed = feed.apply(START, "a", Some(seq), &batch(seq)).unwrap();
        assert_eq!(fed.state, Recovering, "more was heard of than up to {seq}");
    }
    let fed = feed.apply(START, "a", Some(10), &batch(10)).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed).len()), (Exact, None, 11));
}

#[test]
fn an_engine_that_began_at_the_same_moment_need_not_say_as_much_as_the_one_before() {
    let feed = feed();
    let batch = |hash: u64| said(100, KvEvent::BlockStored(stored(None, [hash], &[hash as u32, 1])));
    (0..11).for_each(|seq| drop(feed.apply(START, "a", Some(seq), &batch(seq)).unwrap()));
    let fed = feed.apply(START, "a", Some(0), &batch(70)).unwrap();
    assert_eq!((fed.state, fed.missing_from, held(&feed)), (Exact, None, vec![70]));
}

#[test]
fn a_batch_without_a_number_is_never_exact() {
    let feed = feed();
    let fed = feed.apply(START, "a", None, &batch(0)).unwrap();
    assert_eq!((fed.state, held(&feed)), (Approximate, vec![0]));
    feed.clear("a").unwrap();
    assert_eq!((feed.state("a").unwrap(), held(&feed)), (Approximate, vec![]));

    feed.apply(START, "b", Some(0), &batch(0)).unwrap();
    feed.apply(START, "b", None, &batch(1)).unwrap();
    assert_eq!(feed.apply(START, "b", Some(1), &batch(1)).unwrap().state, Approximate);
    feed.clear("b").unwrap();
    assert_eq!(feed.state("b").unwrap(), Approximate, "what was said before may still be on its way");
    assert_eq!(feed.apply(START, "b", Some(2), &said(2, KvEvent::AllBlocksCleared)).unwrap().state, Exact);
}

#[test]
fn what_cannot_be_read_keeps_its_place_and_is_not_exact() {
    let feed = feed();
    hear(&feed, 0);
    let mut unknown = batch(1);
    let place = unknown.windows(11).position(|window| window == b"BlockStored").unwrap();
    unknown[place] = b'X';
    let fed = feed.apply(START, "a", Some(1), &unknown).unwrap();
    assert_eq!((fed.state, fed.errors.len(), fed.missing_from), (Approximate, 1, None));
    feed.apply(START, "a", Some(2), &said(2, KvEvent::AllBlocksCleared)).unwrap();

    let error = feed.apply(START, "a", Some(3), b"what?").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().starts_with(r#"worker "a": no batch of events"#), "{error}");
    assert_eq!(feed.state("a").unwrap(), Approximate);
    assert_eq!((hear(&feed, 4).missing_from, held(&feed)), (None, vec![4]));
}

#[test]
fn a_worker_that_offloads_is_not_known_by_its_gpu_being_cleared() {
    let feed = feed();
    feed.apply(START, "a", Some(3), &said(3, KvEvent::BlockStored(offloaded(Medium::Cpu, [3])))).unwrap();
    feed.give_up(START, "a").unwrap();
    assert_eq!(feed.apply(START, "a", Some(4), &said(4, KvEvent::AllBlocksCleared)).unwrap().state, Approximate);
}

#[test]
fn what_waits_is_bounded_and_counted() {
    let feed = Feed::with_limits(settings(), FeedSettings::default().with_max_waiting(2)).unwrap();
    (1..=4).for_each(|seq| drop(hear(&feed, seq)));
    assert_eq!(feed.counts("a").unwrap().dropped, 2);
    assert_eq!((hear(&feed, 0).missing_from, held(&feed)), (Some(2), vec![0, 1, 2]));
    assert_eq!(hear(&feed, 3).state, Recovering);
    assert_eq!((hear(&feed, 4).state, held(&feed)), (Exact, vec![0, 1, 2, 3, 4]));
}

#[test]
fn names_are_given_once_and_bounded() {
    let feed = Feed::with_limits(settings(), FeedSettings::default().with_max_workers(2)).unwrap();
    assert_eq!((feed.worker("a").unwrap(), feed.worker("b").unwrap()), (WorkerId(0), WorkerId(1)));
    assert_eq!(feed.worker("a").unwrap(), WorkerId(0));
    assert_eq!(feed.name(WorkerId(1)).as_deref(), Some("b"));
    let error = feed.worker("c").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Exhausted, r#"no room for worker "c": there are 2"#)
    );

    feed.remove_worker("a").unwrap();
    assert_eq!((feed.name(WorkerId(0)), feed.worker("c").unwrap()), (None, WorkerId(2)));
    assert_eq!(feed.names(), [(WorkerId(1), "b".into()), (WorkerId(2), "c".into())]);
    assert_eq!(feed.worker("").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(feed.worker(&"x".repeat(1025)).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn calls_that_are_wrong_are_refused_and_change_nothing() {
    assert_eq!(Feed::new(settings().with_block_size(0)).unwrap_err().kind(), ErrorKind::Invalid);
    let feed = Feed::with_limits(settings(), FeedSettings::default().with_max_payload(100)).unwrap();
    let error = feed.state("a").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Invalid, r#"worker "a" is not known; known: none is"#)
    );
    for refused in [
        feed.apply(START, "a", Some(0), &[0; 101]),
        feed.apply(START, "a", Some(u64::MAX), b""),
        feed.give_up(START, "a"),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(feed.names(), []);
    (0..9).for_each(|number| drop(feed.worker(&number.to_string())));
    let error = feed.clear("a").unwrap_err().to_string();
    assert!(error.ends_with(r#""6", "7" and 1 more"#), "{error}");
}

#[test]
fn a_followed_worker_is_written_by_whoever_follows_and_by_nobody_else() {
    let feed = feed();
    hear(&feed, 0);
    let mut writer = feed.writer();
    let events = [KvEvent::BlockStored(stored(None, [5], &[5, 5]))];
    assert_eq!(writer.apply(WorkerId(0), 0.0, &events).stored, 0, "it is not followed yet");

    let followed = feed.follow("a").unwrap();
    assert_eq!((followed.worker(), held(&feed)), (WorkerId(0), vec![]));
    let error = feed.apply(START, "a", Some(1), &batch(1)).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Invalid, r#"worker "a" is followed by a live stream"#)
    );
    for refused in [feed.clear("a"), feed.remove_worker("a"), feed.follow("a").map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    writer.set_state(WorkerId(0), Exact);
    assert_eq!((writer.apply(WorkerId(0), 0.0, &events).stored, held(&feed)), (1, vec![5]));
    assert_eq!((feed.state("a").unwrap(), writer.residents(WorkerId(0)).len()), (Exact, 1));

    drop(followed);
    writer.set_state(WorkerId(0), Exact);
    assert_eq!((feed.state("a").unwrap(), held(&feed)), (Recovering, vec![]));
    assert_eq!(hear(&feed, 0).state, Exact);
}

#[test]
fn a_removal_of_what_is_not_held_is_said() {
    let feed = feed();
    let fed = feed.apply(START, "a", Some(0), &said(0, removed(Medium::Gpu, [1]))).unwrap();
    assert_eq!((fed.applied.unknown_removals, feed.stats().unknown_removals), (1, 1));
}

#[test]
fn readers_go_on_while_others_feed() {
    let (feed, done) = (feed(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    let chain = feed.reader().hasher().chain(&[0, 1, 1, 1], &Default::default());
                    while !done.load(Ordering::Relaxed) {
                        assert!(feed.reader().query(&chain).leading(WorkerId(0)) <= 2);
                        assert!(feed.names().len() <= 4);
                    }
                })
            })
            .collect();
        let feeders: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| {
                let feed = feed.clone();
                threads.spawn(move || {
                    for seq in 0..200 {
                        assert_eq!(feed.apply(START, name, Some(seq), &batch(seq)).unwrap().state, Exact);
                    }
                })
            })
            .into_iter()
            .collect();
        feeders.into_iter().for_each(|feeder| feeder.join().unwrap());
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!((feed.names().len(), feed.stats().held.residents), (4, 800));
    assert!(!feed.is_writing());
}

#[test]
fn batches_that_were_decoded_before_are_put_in_order_too() {
    let feed = feed();
    let said = r#"[
        {"event_id": 0, "data": {"type": "created", "num_blocks_per_cache_level": [9]}},
        {"event_id": 1, "data": {"type": "stored", "parent_hash": null, "blocks": [{"block_hash": 7,
            "tokens": [{"token_id": 1}, {"token_id": 2}], "cache_level": 0}]}},
        {"event_id": 2, "data": {"type": "removed", "block_hashes": [7]}}]"#;
    let [created, stored, removed] = TrtllmDecoder::new(2).decode(said.as_bytes()).unwrap().batches.try_into().unwrap();

    assert_eq!(feed.apply_numbered(START, "a", created).unwrap().state, Exact);
    let fed = feed.apply_numbered(START, "a", stored).unwrap();
    assert_eq!((fed.state, fed.events.len(), fed.applied.stored), (Exact, 1, 1));
    let fed = feed.apply_numbered(START, "a", removed.clone()).unwrap();
    assert_eq!((fed.state, fed.applied.removed, fed.duplicate), (Exact, 1, false));
    assert!(feed.apply_numbered(START, "a", removed.clone()).unwrap().duplicate);
    let end = Numbered::new(u64::MAX, 0, removed.batch);
    assert_eq!(feed.apply_numbered(START, "a", end).unwrap_err().kind(), ErrorKind::Invalid);
}
