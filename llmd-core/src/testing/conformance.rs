//! What every index that is fed with events must do.

mod copies;
mod hybrid;
mod places;
mod shared;
mod sizes;
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

/// Runs the sentences that such a pair must make true besides, if it knows hybrid models, several block sizes and storage
/// that is shared.
///
/// `make` gives an empty index for blocks of so many tokens.
///
/// # Panics
///
/// When one is not true.
pub fn index_at_full_width<W: IndexWriter, R: PrefixIndex>(make: impl Fn(usize) -> (W, R)) {
    let sentences = [
        hybrid::a_window_needs_the_blocks_before_the_end,
        hybrid::a_state_is_needed_at_the_end_alone,
        hybrid::a_hit_ends_where_every_group_allows_it,
        hybrid::the_last_token_is_never_hit,
        hybrid::sparse_names_stand_where_the_full_group_has_them,
        hybrid::a_group_that_names_nothing_is_one_all_the_same,
        hybrid::a_lookup_takes_from_the_gpu,
        hybrid::a_group_without_a_rule_changes_no_answer,
        hybrid::a_group_stays_what_it_was_first,
        hybrid::an_explanation_names_the_group,
        sizes::a_name_covers_several_blocks,
        sizes::wide_blocks_lie_on_other_media_too,
        sizes::a_hit_is_a_multiple_of_the_widest_group,
        sizes::a_part_of_a_block_can_be_hit,
        sizes::a_part_behind_a_part_without_a_name_is_nothing_exact,
        sizes::such_a_part_is_found_by_its_own_name,
        sizes::a_salt_stands_in_the_first_of_the_blocks,
        sizes::an_image_in_a_wide_block_cannot_be_placed,
        shared::the_pools_blocks_count_for_all_who_hold_some,
        shared::one_who_holds_a_later_block_is_not_left_out,
        shared::the_last_word_about_a_shared_block_counts,
        shared::a_shared_block_waits_for_its_place,
        shared::a_shared_block_outlives_those_who_stored_it,
        shared::a_lookup_does_not_count_shared_blocks,
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

/// Leading blocks of the prompt and one more token.
fn taken(reader: &dyn PrefixIndex, worker: WorkerId) -> u32 {
    let tokens = [&PROMPT[..], &[99]].concat();
    reader.query(&reader.hasher().chain(&tokens, &Namespace::default())).leading(worker)
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
