//! Answers about many workers at once, as numbers in the order in which the workers are named.

use std::cell::RefCell;
use std::mem;

use llmd_core::hash::{Chain, Namespace};
use llmd_core::index::{ExactReader, Overlap, PrefixIndex as _};
use llmd_core::{ExternalBlockHash, TokenId, WorkerId};

thread_local! {
    /// What the last call of this thread made, whose room the next one takes.
    static SCRATCH: RefCell<(Chain, Overlap)> = RefCell::default();
}

/// Puts how many leading blocks of a prompt each of `workers` holds into the place of its number.
pub(super) fn leading_of(
    reader: &ExactReader,
    tokens: &[TokenId],
    namespace: &Namespace,
    names: Vec<ExternalBlockHash>,
    workers: &mut [u32],
) {
    SCRATCH.with_borrow_mut(|(chain, overlap)| {
        reader.hasher().chain_into(tokens, namespace, chain);
        if !names.is_empty() {
            *chain = mem::take(chain).with_names(names);
        }
        reader.query_into(chain, overlap);
        tell(overlap, workers);
    });
}

/// The same for a prompt that is hashed already.
pub(super) fn leading(reader: &ExactReader, chain: &Chain, workers: &mut [u32]) {
    SCRATCH.with_borrow_mut(|(_, overlap)| {
        reader.query_into(chain, overlap);
        tell(overlap, workers);
    });
}

/// The same for an answer that is there.
pub(super) fn tell(overlap: &Overlap, workers: &mut [u32]) {
    for number in workers {
        *number = overlap.leading(WorkerId(*number));
    }
}
