//! What every index that is fed with events must do.

mod copies;
mod places;
mod workers;

use std::cell::{Cell, RefCell};

use super::{reader, stored};
use crate::event::{BlockStored, EventExtraKey, KvEvent};
use crate::hash::{Chain, Namespace};
use crate::index::{Applied, IndexWriter, PrefixIndex, Resident};
use crate::{ExternalBlockHash, Medium, TokenId, WorkerId};

const W: WorkerId = WorkerId(4);
const BLOCK_SIZE: usize = 2;
/// A prompt of four blocks, which the engine of these tests names 1, 2, 3, 4.
const PROMPT: [TokenId; 8] = [11, 12, 21, 22, 31, 32, 41, 42];

/// Runs the sentences that every pair of an [`IndexWriter`] and a [`PrefixIndex`] must make true.
///
/// `make` gives an empty index for blocks of so many tokens.
///
/// # Panics
///
/// When one is not true.
pub fn index<W: IndexWriter, R: PrefixIndex>(make: impl Fn(usize) -> (W, R)) {
    readers_answer_as_all_readers_do(&make);
    let sentences = [
        copies::a_removed_block_ends_the_prefix_until_it_comes_back,
        copies::a_block_goes_with_its_last_copy,
        copies::names_are_a_workers_own,
        copies::a_block_may_have_two_names,
        copies::media_are_told_apart,
        copies::clearing_leaves_what_is_not_on_the_gpu,
        places::children_may_come_before_their_parents,
        places::names_alone_wait_for_their_place,
        places::a_tier_that_lists_no_keys_places_nothing,
        places::every_full_attention_group_must_hold_a_block,
        places::what_is_not_placed_is_counted_and_never_exact,
        copies::an_event_without_names_changes_nothing,
        copies::what_was_never_there_cannot_be_removed,
        workers::a_new_worker_is_recovering_until_told_otherwise,
        workers::a_cleared_worker_is_still_known,
        workers::a_removed_worker_is_not,
        workers::a_missing_block_has_a_fate,
    ];
    for sentence in sentences {
        let (mut writer, reader) = make(BLOCK_SIZE);
        sentence(&mut writer, &reader);
    }
}

fn readers_answer_as_all_readers_do<W: IndexWriter, R: PrefixIndex>(make: impl Fn(usize) -> (W, R)) {
    let writer = RefCell::new(None);
    let named = Cell::new(0);
    let make = |block_size| {
        let (new, reader) = make(block_size);
        writer.replace(Some(new));
        reader
    };
    reader(make, |reader: &R, worker, tokens, namespace| {
        let size = reader.hasher().block_size();
        let blocks = tokens.len() / size;
        let first = named.replace(named.get() + blocks as u64);
        let mut event = stored(None, (first..).take(blocks), &tokens[..blocks * size]);
        event.lora_name = namespace.lora.as_ref().map(|lora| lora.name.clone());
        let keys = (0..blocks).map(|block| {
            let salt = namespace.cache_salt.clone().filter(|_| block == 0);
            event.lora_name.iter().cloned().chain(salt).map(EventExtraKey::Text).collect()
        });
        event.extra_keys = keys.collect();
        let mut writer = writer.borrow_mut();
        writer.as_mut().expect("an index was made").apply(worker, 0.0, &[KvEvent::BlockStored(event)]);
    });
}

fn prompt() -> BlockStored {
    stored(None, 1..=4, &PROMPT)
}

fn chain(reader: &dyn PrefixIndex) -> Chain {
    reader.hasher().chain(&PROMPT, &Namespace::default())
}

fn leading(reader: &dyn PrefixIndex, worker: WorkerId) -> u32 {
    reader.query(&chain(reader)).leading(worker)
}

fn store(writer: &mut dyn IndexWriter, worker: WorkerId, event: BlockStored) -> Applied {
    writer.apply(worker, 0.0, &[KvEvent::BlockStored(event)])
}

fn resident(writer: &dyn IndexWriter, worker: WorkerId, name: u64) -> Option<Resident> {
    let name = ExternalBlockHash::from_int(name);
    writer.residents(worker).into_iter().find(|resident| resident.block == name)
}

/// Medium, name, copies; in order.
fn residents(writer: &dyn IndexWriter, worker: WorkerId) -> Vec<(Medium, u64, u32)> {
    let residents = writer.residents(worker).into_iter();
    let mut residents: Vec<_> = residents
        .map(|resident| (resident.medium, resident.block.as_int().expect("these names are integers"), resident.copies))
        .collect();
    residents.sort_unstable();
    residents
}
