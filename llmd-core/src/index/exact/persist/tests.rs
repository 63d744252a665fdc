use std::time::Duration;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::*;
use crate::event::{Anchor, EventExtraKey, KvEvent};
use crate::hash::{BlockHasher, Chain, HashKey};
use crate::index::{Applied, IndexStats, IndexWriter as _, PrefixIndex as _, Resident, WorkerState};
use crate::testing::{
    Step, engines, full_width_engines, full_width_prompts, offloaded, plainly, prompts, removed, stored,
};
use crate::{ErrorKind, ExternalBlockHash, Medium};

type Index = (ExactWriter, ExactReader);

fn settings() -> IndexSettings {
    IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]))
}

/// What stands for the streams, so that it can be told whether it comes back.
fn standing(worker: WorkerId) -> Standing {
    let (last, newest) = (Some((u64::from(worker.0), 0xfeed)), Some(Duration::from_millis(1_500)));
    let anchor = Anchor { last, newest, first: Some(0xbeef), complete: true, ..Anchor::default() };
    Standing { numbered: true, ..Standing::new(format!("decode-{worker}")).with_anchor(anchor) }
}

fn keep((writer, _): &Index) -> Vec<u8> {
    writer.snapshot(|worker| Some(standing(worker)))
}

fn id(standing: &Standing) -> Result<WorkerId> {
    let number = standing.name.rsplit(' ').next().and_then(|number| number.parse().ok());
    number.map(WorkerId).ok_or_else(|| Error::new(ErrorKind::Invalid, "these names end with a number"))
}

fn restore(snapshot: &[u8]) -> Result<Index> {
    ExactIndex::restore(settings(), snapshot, |standing| id(&standing))
}

fn step((writer, _): &mut Index, step: &Step) -> Applied {
    match step {
        Step::Apply(worker, events) => return writer.apply(*worker, 5.0, events),
        Step::Clear(worker) => writer.clear(*worker),
        Step::Remove(worker) => writer.remove_worker(*worker),
        Step::SetState(worker, state) => writer.set_state(*worker, *state),
    }
    Applied::default()
}

/// What is held now; what was only counted does not come back. How much is remembered later may differ: of blocks that a name
/// covers and nobody holds, some are still in the one index and not in the other.
fn held((_, reader): &Index) -> IndexStats {
    let IndexStats { workers, held, .. } = reader.stats();
    IndexStats { workers, held, ..IndexStats::default() }
}

fn residents((writer, _): &Index, worker: WorkerId) -> Vec<Resident> {
    let mut residents = writer.residents(worker);
    residents.sort_unstable();
    residents
}

fn assert_alike(one: &Index, other: &Index, prompts: fn(&BlockHasher) -> Vec<Chain>) {
    assert_eq!(held(one), held(other));
    for chain in prompts(one.1.hasher()) {
        assert_eq!(one.1.query(&chain), other.1.query(&chain));
        assert_eq!(plainly(one.1.explain(&chain)), plainly(other.1.explain(&chain)));
    }
    for worker in (0..3).map(WorkerId) {
        assert_eq!(residents(one, worker), residents(other, worker));
    }
}

/// Keeps an index after so many steps, and lets it and the one that was restored go on.
fn goes_on_as_if_nothing_was(
    steps: &[Step],
    cut: usize,
    prompts: fn(&BlockHasher) -> Vec<Chain>,
) -> std::result::Result<(), TestCaseError> {
    let mut kept = ExactIndex::new(settings());
    steps[..cut].iter().for_each(|said| {
        step(&mut kept, said);
    });

    let snapshot = keep(&kept);
    let mut restored = restore(&snapshot).unwrap();
    prop_assert_eq!(&keep(&restored), &snapshot);
    let workers: Vec<_> = kept.0.workers.keys().copied().collect();
    for worker in workers {
        prop_assert_eq!(restored.1.state(worker), WorkerState::Recovering);
        for index in [&mut kept, &mut restored] {
            index.0.set_state(worker, WorkerState::Exact);
        }
    }
    assert_alike(&kept, &restored, prompts);
    for said in &steps[cut..] {
        prop_assert_eq!(step(&mut kept, said), step(&mut restored, said));
        prop_assert_eq!(held(&kept), held(&restored));
    }
    assert_alike(&kept, &restored, prompts);
    Ok(())
}

/// An index with something of everything that a snapshot can hold.
fn sample() -> Index {
    let mut index = ExactIndex::new(settings());
    let (a, b) = (WorkerId(0), WorkerId(1));
    let mut keyed = stored(None, [1, 2, 3], &[0, 7, 1, 7, 0, 7]);
    keyed.lora_name = Some("poet".into());
    let item = EventExtraKey::Multimodal { identifier: "cafe".into(), offset: -3 };
    keyed.extra_keys =
        vec![vec![EventExtraKey::Text("poet".into()), item], vec![], vec![EventExtraKey::Digest(vec![9])]];
    let mut orphan = stored(Some(77), [5], &[1, 1]);
    orphan.extra_keys = vec![vec![EventExtraKey::Digest(vec![1, 2]), EventExtraKey::Text("salt".into())]];
    orphan.lora_id = Some(-4);
    let mut bytes = stored(None, [0], &[4, 4]);
    bytes.block_hashes = vec![ExternalBlockHash::from_bytes(&[0xab; 32])];
    let mut wide = stored(None, [6], &[5, 5, 6, 6]);
    wide.block_size = 4;
    let events = [keyed, orphan, bytes, wide, offloaded(Medium::Cpu, [2, 8])].map(KvEvent::BlockStored);
    index.0.apply(a, 1.0, &events);
    index.0.apply(a, 2.0, &[removed(Medium::Gpu, [3])]);
    index.0.apply(b, 1.0, &[KvEvent::BlockStored(stored(None, [1, 2], &[0, 7, 1, 7])), KvEvent::AllBlocksCleared]);
    index.0.apply(b, 1.0, &[KvEvent::BlockStored(stored(None, [1], &[0, 7]))]);
    index
}

/// The same bytes with the end that a whole snapshot of them has.
fn resealed(mut snapshot: Vec<u8>) -> Vec<u8> {
    snapshot.truncate(snapshot.len() - 24);
    let len = snapshot.len() as u64 + 24;
    snapshot.extend_from_slice(&len.to_le_bytes());
    snapshot.extend_from_slice(&xxh3_128(&snapshot).to_be_bytes());
    snapshot
}

fn refused(snapshot: &[u8]) -> (ErrorKind, String) {
    let error = restore(snapshot).map(drop).unwrap_err();
    (error.kind(), error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// A restored index answers as the one that was kept, and goes on as it does.
    #[test]
    fn what_is_restored_is_what_was_kept(steps in engines(), cut: prop::sample::Index) {
        goes_on_as_if_nothing_was(&steps, cut.index(steps.len() + 1), prompts)?;
    }

    /// The same for hybrid models, several block sizes, and storage that all share.
    #[test]
    fn what_is_restored_at_full_width_is_what_was_kept(steps in full_width_engines(), cut: prop::sample::Index) {
        goes_on_as_if_nothing_was(&steps, cut.index(steps.len() + 1), full_width_prompts)?;
    }

    /// Bytes that were made to look whole are refused or taken, and do no more harm than that.
    #[test]
    fn what_only_looks_whole_does_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut snapshot = keep(&sample());
        let len = snapshot.len();
        for (place, byte) in changes {
            snapshot[12 + place.index(len - 12)] = byte;
        }
        let _ = restore(&resealed(snapshot)).map(|index| keep(&index));
    }
}

#[test]
fn every_kind_of_record_comes_back() {
    let index = sample();
    let held = index.1.stats();
    assert_eq!((held.held.orphans, held.held.unplaced, held.remembered, held.workers), (1, 1, 3, 2));
    let snapshot = keep(&index);
    let mut standings = Vec::new();
    let restored = ExactIndex::restore(settings(), &snapshot, |standing| {
        standings.push(standing.clone());
        id(&standing)
    });
    assert_eq!(keep(&restored.unwrap()), snapshot);
    assert_eq!(standings, [standing(WorkerId(0)), standing(WorkerId(1))]);
}

#[test]
fn a_worker_of_whom_nothing_is_said_is_left_out() {
    let index = sample();
    let snapshot = index.0.snapshot(|worker| (worker == WorkerId(1)).then(|| standing(worker)));
    let restored = restore(&snapshot).unwrap();
    assert_eq!(restored.1.stats().workers, 1);
    assert_eq!((residents(&restored, WorkerId(0)), residents(&restored, WorkerId(1)).len()), (vec![], 1));
}

#[test]
fn every_changed_bit_is_found() {
    let snapshot = keep(&sample());
    for place in 0..snapshot.len() {
        for bit in 0..8 {
            let mut damaged = snapshot.clone();
            damaged[place] ^= 1 << bit;
            assert_eq!(refused(&damaged).0, ErrorKind::Corrupt, "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn every_cut_is_found_and_so_is_what_was_appended() {
    let snapshot = keep(&sample());
    for len in 0..snapshot.len() {
        assert_eq!(refused(&snapshot[..len]).0, ErrorKind::Corrupt, "{len} bytes");
        // Even when what is left has a right end.
        if len >= 36 {
            assert_eq!(refused(&resealed(snapshot[..len].to_vec())).0, ErrorKind::Corrupt, "{len} bytes");
        }
    }
    assert_eq!(refused(&[&snapshot[..], b"x"].concat()).0, ErrorKind::Corrupt);
    let longer = resealed([&snapshot[..], b"x"].concat());
    assert!(refused(&longer).1.contains("follow the last worker"));
}

#[test]
fn no_count_is_believed_that_cannot_be() {
    let snapshot = keep(&sample());
    for place in 12..snapshot.len() - 32 {
        for count in [u64::MAX, 1 << 40] {
            let mut damaged = snapshot.clone();
            damaged[place..place + 8].copy_from_slice(&count.to_le_bytes());
            let _ = restore(&resealed(damaged)).map(|index| keep(&index));
        }
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let snapshot = keep(&sample());
    let changed = |place: usize, byte: u8| {
        let mut changed = snapshot.clone();
        changed[place] = byte;
        resealed(changed)
    };
    assert!(refused(b"{}").1.contains("cut off"));
    assert!(refused(&[b'{'; 100]).1.contains("no snapshot"));
    for version in [1, 2, 4] {
        let (kind, message) = refused(&changed(8, version));
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(message.contains(&format!("version {version}")), "{message}");
    }
    assert_eq!(refused(&changed(8, 0)).0, ErrorKind::Corrupt);
    let mut no_tokens = snapshot.clone();
    no_tokens[44..52].fill(0);
    assert!(refused(&resealed(no_tokens)).1.contains("block size"));
}

#[test]
fn limits_are_those_of_who_restores() {
    let snapshot = keep(&sample());
    let under = |limits: IndexSettings| {
        let restored = ExactIndex::restore(limits, &snapshot, |standing| id(&standing));
        restored.map(drop).map_err(|error| (error.kind(), error.to_string()))
    };
    under(settings()).unwrap();
    for (limits, name) in [
        (settings().with_max_blocks(3), "max_blocks"),
        (settings().with_max_remembered(0), "max_remembered"),
        (settings().with_max_orphans(0), "max_orphans"),
    ] {
        let (kind, message) = under(limits).unwrap_err();
        assert_eq!(kind, ErrorKind::Exhausted);
        assert!(message.contains(name) && message.contains("decode-worker 0"), "{message}");
    }
}

#[test]
fn who_enlists_decides_who_comes_back() {
    let snapshot = keep(&sample());
    let twice = ExactIndex::restore(settings(), &snapshot, |_| Ok(WorkerId(3)));
    assert_eq!(twice.map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    let full = || Error::new(ErrorKind::Exhausted, "no room");
    let none = ExactIndex::restore(settings(), &snapshot, |_| Err(full()));
    assert_eq!(none.map(drop).unwrap_err().kind(), ErrorKind::Exhausted);
}

#[test]
fn block_size_and_secret_are_those_of_the_snapshot() {
    let index = sample();
    let other = IndexSettings::default().with_block_size(64);
    let (_, reader) = ExactIndex::restore(other, &keep(&index), |standing| id(&standing)).unwrap();
    let chain = prompts(index.1.hasher()).remove(0);
    assert_eq!(reader.hasher().block_size(), 2);
    assert_eq!(reader.query(&chain), index.1.query(&chain));
}
