//! What others need to test their own code against ours: conformance suites, and models that are slow and obviously
//! right.
//!
//! - [`index`] runs the suite that every index must pass; [`reader`] the part of it that needs no writer, and
//!   [`index_at_full_width`] what it must do besides for hybrid models, several block sizes and shared storage.
//! - [`ModelIndex`] is the index that every other is compared with, on what [`engines`] do at random, and at full width
//!   on what [`full_width_engines`] do.
//! - [`stored`], [`names`], [`removed`] and [`offloaded`] make events in one line.

mod conformance;
mod engine;
mod model;
mod prompt;
mod reader;
mod wide_engine;

pub use conformance::{index, index_at_full_width};
pub use engine::{Step, engines};
pub use model::{ModelIndex, plainly};
pub use prompt::{full_width_prompts, prompts};
pub use reader::reader;
pub use wide_engine::full_width_engines;

use crate::event::{BlockRemoved, BlockStored, KvEvent};
use crate::{ExternalBlockHash, Medium, TokenId};

/// Some of an engine's names.
pub fn names(names: impl IntoIterator<Item = u64>) -> Vec<ExternalBlockHash> {
    names.into_iter().map(ExternalBlockHash::from_int).collect()
}

/// What an engine says that has stored `blocks`, the first of them after `parent`, as many tokens in each.
///
/// # Panics
///
/// When `tokens` cannot be shared out among the blocks.
pub fn stored(parent: Option<u64>, blocks: impl IntoIterator<Item = u64>, tokens: &[TokenId]) -> BlockStored {
    let block_hashes = names(blocks);
    let size = tokens.len().checked_div(block_hashes.len()).unwrap_or(0);
    assert!(size * block_hashes.len() == tokens.len(), "every block has as many tokens");
    BlockStored {
        block_hashes,
        parent_block_hash: parent.map(ExternalBlockHash::from_int),
        token_ids: tokens.to_vec(),
        block_size: u32::try_from(size).expect("a block is small"),
        ..BlockStored::default()
    }
}

/// What an offload tier says that has stored `blocks` and describes nothing but their names.
pub fn offloaded(medium: Medium, blocks: impl IntoIterator<Item = u64>) -> BlockStored {
    BlockStored { medium, ..stored(None, blocks, &[]) }
}

/// What an engine says that has removed a copy of each of `blocks` from `medium`.
pub fn removed(medium: Medium, blocks: impl IntoIterator<Item = u64>) -> KvEvent {
    KvEvent::BlockRemoved(BlockRemoved { block_hashes: names(blocks), medium, ..BlockRemoved::default() })
}
