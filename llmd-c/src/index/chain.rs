//! A prompt that grows, ready to be asked for again and again.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::mem::{self, MaybeUninit};

use llmd_core::hash::{Chain, Namespace};
use llmd_core::index::PrefixIndex as _;
use parking_lot::Mutex;

use super::answer::{ask_chain, dense, llmd_overlap, tell_dense};
use super::llmd_index;
use crate::boundary::{boundary, delivered, given};
use crate::error::llmd_error;
use crate::events::llmd_block_name;
use crate::given::items;
use crate::namespace::{llmd_namespace, namespace};
use crate::quiet::quietly;
use crate::status::llmd_status;

/// A prompt as an index sees it: it can be asked for again without being hashed again, and goes on as tokens are made. May be
/// used by several threads at once, which take turns. It keeps what it needs of its index, and may outlive it.
#[derive(Debug)]
pub struct llmd_chain {
    index: llmd_index,
    namespace: Namespace,
    chain: Mutex<Chain>,
}

/// A prompt, to be asked for again and again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_chain_new(
    index: Option<&llmd_index>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    chain: Option<&mut MaybeUninit<Option<Box<llmd_chain>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(chain, "chain", error, || {
        let index = given(index, "index")?.clone();
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let chain = Mutex::new(index.feed.reader().hasher().chain(tokens, &namespace));
        Ok(llmd_chain { index, namespace, chain })
    })
}

/// Goes on with more tokens, as they are made; what fills no block yet is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_chain_extend(
    chain: Option<&llmd_chain>,
    tokens: *const u32,
    tokens_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let llmd_chain { index, namespace, chain } = given(chain, "chain")?;
        // SAFETY: as llmd.h says.
        let tokens = unsafe { items(tokens, tokens_len, "tokens") }?;
        chain.lock().extend(index.feed.reader().hasher(), tokens, namespace)
    })
}

/// Says what the engines call the full blocks, first block first, in place of what was said before; llmd_hasher_hash and
/// llmd_hasher_event_int make such names. They find blocks of hybrid models of which events say no more than the name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_chain_set_names(
    chain: Option<&llmd_chain>,
    names: *const llmd_block_name,
    names_len: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let chain = given(chain, "chain")?;
        // SAFETY: as llmd.h says, for the array and for all that it points to.
        let names = unsafe {
            let names = items(names, names_len, "names")?;
            names.iter().map(|name| name.read()).collect::<Result<Vec<_>, _>>()?
        };
        let mut chain = chain.chain.lock();
        *chain = mem::take(&mut *chain).with_names(names);
        Ok(())
    })
}

/// How many full blocks the prompt has. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_chain_blocks(chain: Option<&llmd_chain>) -> usize {
    chain.map_or(0, |chain| chain.chain.lock().blocks().len())
}

/// Writes to `overlaps` how many leading blocks of the prompt each worker holds, as llmd_index_query does. Names live as long
/// as the index or any of its chains.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_chain_query(
    chain: Option<&llmd_chain>,
    overlaps: *mut llmd_overlap,
    overlaps_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let llmd_chain { index, chain, .. } = given(chain, "chain")?;
        // SAFETY: as llmd.h says.
        ask_chain(index.feed.reader(), &chain.lock(), |answer| unsafe { answer.tell(index, overlaps, overlaps_len) })
    })
}

/// Writes to `leading` how many leading blocks of the prompt each of `workers` holds, as llmd_index_query_dense does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_chain_query_dense(
    chain: Option<&llmd_chain>,
    workers: *const u32,
    workers_len: usize,
    leading: *mut u32,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let llmd_chain { index, chain, .. } = given(chain, "chain")?;
        // SAFETY: as llmd.h says.
        let (workers, leading) = unsafe { dense(workers, workers_len, leading) }?;
        ask_chain(index.feed.reader(), &chain.lock(), |answer| tell_dense(&answer.overlap, workers, leading));
        Ok(())
    })
}

/// Frees a chain. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_chain_free(chain: Option<Box<llmd_chain>>) {
    quietly((), || drop(chain));
}
