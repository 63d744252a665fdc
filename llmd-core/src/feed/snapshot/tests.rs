use std::time::Duration;

use super::*;
use crate::event::KvEvent;
use crate::feed::Fed;
use crate::feed::tests::{payload, settings};
use crate::hash::Namespace;
use crate::index::{ExactIndex, PrefixIndex as _, WorkerState::*};
use crate::testing::{removed, stored};
use crate::{Medium, TokenId};

const NOW: Duration = Duration::from_secs(100);
const TOKENS: [TokenId; 20] = [0, 1, 1, 1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1, 8, 1, 9, 1];

/// What an engine of this life says in the batch of this number: one more block of [`TOKENS`], and now and then one less.
fn batch(life: u64, seq: u64) -> Vec<u8> {
    let name = |seq: u64| 1_000 * life + seq;
    let one_more = stored(seq.checked_sub(1).map(name), [name(seq)], &TOKENS[seq as usize * 2..][..2]);
    let mut events = vec![KvEvent::BlockStored(one_more)];
    if seq % 4 == 3 {
        events.push(removed(Medium::Gpu, [name(seq - 1)]));
    }
    payload((1_000 * life + seq) as f64, &events)
}

fn hear(feed: &Feed, life: u64, seq: u64) -> Fed {
    feed.apply(NOW, "a", Some(seq), &batch(life, seq)).unwrap()
}

/// A feed that heard the first batches of an engine's first life.
fn heard(batches: u64) -> Feed {
    let feed = Feed::new(settings()).unwrap();
    (0..batches).for_each(|seq| drop(hear(&feed, 1, seq)));
    feed
}

fn restored(feed: &Feed) -> Feed {
    Feed::restore(IndexSettings::default(), &feed.snapshot()).unwrap()
}

fn residents(feed: &Feed, worker: &str) -> Vec<crate::index::Resident> {
    let mut residents = feed.residents(worker).unwrap();
    residents.sort_unstable();
    residents
}

fn assert_alike(one: &Feed, other: &Feed) {
    assert_eq!(residents(one, "a"), residents(other, "a"));
    let chain = one.reader().hasher().chain(&TOKENS, &Namespace::default());
    assert_eq!(chain, other.reader().hasher().chain(&TOKENS, &Namespace::default()));
    assert_eq!(one.reader().query(&chain), other.reader().query(&chain));
    assert_eq!(one.state("a").unwrap(), other.state("a").unwrap());
}

#[test]
fn what_was_missed_is_replayed_and_the_worker_is_exact() {
    for (before, after) in (1..8).flat_map(|before| (before..=9).map(move |after| (before, after))) {
        let restored = restored(&heard(before));
        assert_eq!(residents(&restored, "a"), residents(&heard(before), "a"));
        assert_eq!((restored.state("a").unwrap(), restored.missing_from("a").unwrap()), (Recovering, Some(before - 1)));
        // The stream goes on ahead of what the engine replays, the anchor included.
        drop(hear(&restored, 1, after));
        (before - 1..after).for_each(|seq| drop(hear(&restored, 1, seq)));
        assert_eq!(restored.state("a").unwrap(), Exact, "from {before} to {after}");
        assert_alike(&restored, &heard(after + 1));
    }
}

#[test]
fn a_stream_that_begins_with_the_anchor_is_that_of_the_same_engine() {
    let restored = restored(&heard(5));
    assert!(hear(&restored, 1, 4).duplicate);
    assert_alike(&restored, &heard(5));
    assert_eq!(hear(&restored, 1, 5).state, Exact);
}

#[test]
fn a_stream_that_merely_goes_on_is_kept_and_approximate() {
    let restored = restored(&heard(5));
    let fed = hear(&restored, 1, 5);
    assert_eq!((fed.state, fed.missing_from), (Recovering, Some(4)));
    assert_eq!(restored.give_up(NOW, "a").unwrap().state, Approximate);
    assert_eq!(residents(&restored, "a"), residents(&heard(6), "a"));

    let unanswered = FeedSettings::default().with_recover_within(Duration::ZERO);
    let restored = Feed::restore_with_limits(settings(), unanswered, &heard(5).snapshot()).unwrap();
    assert_eq!(hear(&restored, 1, 5).state, Approximate);
    assert_eq!(residents(&restored, "a"), residents(&heard(6), "a"));
}

#[test]
fn an_engine_that_was_started_anew_meanwhile_is_known_from_its_first_batch() {
    let restored = restored(&heard(7));
    let fed = hear(&restored, 2, 0);
    assert_eq!((fed.state, fed.missing_from, fed.applied.stored), (Exact, None, 1));
    assert_eq!(residents(&restored, "a").len(), 1);
}

#[test]
fn an_engine_that_was_started_anew_and_came_further_is_found_out() {
    let restored = restored(&heard(3));
    let fed = hear(&restored, 2, 2);
    assert_eq!((fed.missing_from, residents(&restored, "a")), (Some(0), vec![]));
    drop(hear(&restored, 2, 0));
    assert_eq!(hear(&restored, 2, 1).state, Exact);
    assert_eq!(residents(&restored, "a").len(), 3);
}

#[test]
fn what_came_without_a_number_stays_without_proof() {
    let feed = Feed::new(settings()).unwrap();
    drop(feed.apply(NOW, "a", None, &batch(1, 0)).unwrap());
    let restored = restored(&feed);
    assert_eq!((restored.state("a").unwrap(), restored.missing_from("a").unwrap()), (Recovering, None));
    assert_eq!(hear(&restored, 1, 0).state, Approximate);
}

#[test]
fn blocks_of_which_no_batch_can_have_told_are_not_trusted() {
    let (mut writer, _) = ExactIndex::new(settings());
    writer.apply(WorkerId(0), 1.0, &[KvEvent::BlockStored(stored(None, [1], &TOKENS[..2]))]);
    let snapshot = writer.snapshot(|_| Some(Standing::new("a")));
    let restored = Feed::restore(settings(), &snapshot).unwrap();
    assert_eq!(hear(&restored, 1, 0).state, Approximate);
}

#[test]
fn workers_come_back_under_their_names_but_not_those_that_are_followed() {
    let feed = heard(2);
    drop(feed.apply(NOW, "b", Some(0), &batch(1, 0)).unwrap());
    drop(feed.apply(NOW, "c", Some(0), &batch(1, 0)).unwrap());
    let followed = feed.follow("b").unwrap();
    feed.remove_worker("a").unwrap();

    let restored = restored(&feed);
    assert_eq!(restored.names().iter().map(|(_, name)| &**name).collect::<Vec<_>>(), ["c"]);
    assert_eq!((restored.block_size(), restored.settings().key), (2, settings().key));
    assert_eq!(residents(&restored, "c").len(), 1);
    let new = restored.worker("d").unwrap();
    assert_ne!(Some(new), restored.names().first().map(|&(id, _)| id));
    drop(followed);
}

#[test]
fn snapshots_that_are_not_ours_are_refused() {
    let refused = |limits: FeedSettings, snapshot: &[u8]| {
        let error = Feed::restore_with_limits(settings(), limits, snapshot).unwrap_err();
        (error.kind(), error.to_string())
    };
    let snapshot = heard(3).snapshot();
    assert_eq!(refused(FeedSettings::default(), &snapshot[1..]).0, ErrorKind::Corrupt);
    let (kind, message) = refused(FeedSettings::default().with_max_workers(0), &snapshot);
    assert_eq!((kind, message.as_str()), (ErrorKind::Exhausted, "no room for worker \"a\": there are 0"));

    let (mut writer, _) = ExactIndex::new(settings());
    (0..2).for_each(|worker| writer.set_state(WorkerId(worker), Exact));
    for name in ["", "twice"] {
        let snapshot = writer.snapshot(|_| Some(Standing::new(name)));
        assert_eq!(refused(FeedSettings::default(), &snapshot).0, ErrorKind::Corrupt, "{name:?}");
    }
}
