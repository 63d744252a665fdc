//! Asking an index who holds a prompt.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::MaybeUninit;

use llmd_core::index::PrefixIndex as _;

use super::answer::{ask, dense, llmd_overlap, tell_dense};
use super::llmd_index;
use crate::boundary::{boundary, delivered, given};
use crate::error::llmd_error;
use crate::given::items;
use crate::namespace::{llmd_namespace, namespace};
use crate::status::llmd_status;
use crate::string::llmd_string;

/// Writes to `overlaps` how many leading blocks of the prompt each worker holds, by worker; one that holds none is left out.
/// `overlaps_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing
/// else is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_query(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    overlaps: *mut llmd_overlap,
    overlaps_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let index = given(index, "index")?;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        // SAFETY: as llmd.h says.
        ask(index.feed.reader(), tokens, &namespace, |answer| unsafe { answer.tell(index, overlaps, overlaps_len) })
    })
}

/// Writes to `leading` how many leading blocks of the prompt each of `workers` holds, in their order: the ids that
/// llmd_index_worker gave, `workers_len` of them, and room for as many numbers. A worker that nobody knows holds nothing. The
/// two arrays are not the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_query_dense(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    workers: *const u32,
    workers_len: usize,
    leading: *mut u32,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let reader = given(index, "index")?.feed.reader();
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        // SAFETY: as llmd.h says.
        let (workers, leading) = unsafe { dense(workers, workers_len, leading) }?;
        ask(reader, tokens, &namespace, |answer| tell_dense(&answer.overlap, workers, leading));
        Ok(())
    })
}

/// Says in words where each worker's prefix of the prompt ends, and why; a line per worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_index_explain(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    explanation: Option<&mut MaybeUninit<Option<Box<llmd_string>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(explanation, "explanation", error, || {
        let feed = &given(index, "index")?.feed;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let chain = feed.reader().hasher().chain(tokens, &namespace);
        let explanation = feed.reader().explain(&chain);
        Ok(llmd_string::new(explanation.named(|worker| feed.name(worker)).to_string()))
    })
}
