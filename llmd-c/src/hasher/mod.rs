//! Naming the blocks of a prompt as an engine does.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

mod memo;

use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_core::hash::EngineHasher;
use llmd_core::{Error, ErrorKind, Result, TokenId};

pub use self::memo::{
    llmd_memo, llmd_memo_dropped, llmd_memo_forget, llmd_memo_free, llmd_memo_hash, llmd_memo_new, llmd_memo_sessions,
};
use crate::boundary::{boundary, given, made};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::{items, text, text_or_null};
use crate::namespace::{llmd_namespace, namespace};
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, settings};
use crate::status::llmd_status;

/// Names the blocks of a prompt as an engine does, bit for bit. May be used by several threads at once.
#[derive(Debug)]
pub struct llmd_hasher(EngineHasher);

/// What a hasher is made with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_hasher_settings {
    /// sizeof(llmd_hasher_settings).
    pub struct_size: usize,
    /// `vllm-sha256`, `vllm-sha256_cbor`, `vllm-xxhash`, `vllm-xxhash_cbor` or `sglang`.
    pub scheme: *const c_char,
    /// Tokens per block, as the engine has it.
    pub block_size: usize,
    /// The engine's PYTHONHASHSEED; NULL when it was started without.
    pub seed: *const c_char,
    /// The version of vLLM, such as `0.30`; NULL for the newest that is known.
    pub engine_version: *const c_char,
}

impl Sizes for llmd_hasher_settings {
    const NAME: &'static str = "llmd_hasher_settings";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_hasher_settings {}

/// A hasher; NULL when it cannot be made. LLMD_INVALID names what is not known of scheme, version and seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_hasher_new(
    settings: *const llmd_hasher_settings,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_hasher>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        unsafe { new(settings) }.map(llmd_hasher)
    })
}

unsafe fn new(given: *const llmd_hasher_settings) -> Result<EngineHasher> {
    // SAFETY: as llmd.h says, for the struct and for all that it points to.
    let (block_size, scheme, seed, version) = unsafe {
        let given = settings(given)?;
        (
            given.block_size,
            text(given.scheme, "scheme")?,
            text_or_null(given.seed, "seed")?,
            text_or_null(given.engine_version, "engine_version")?,
        )
    };
    let mut hasher = EngineHasher::new(scheme, block_size)?;
    if let Some(version) = version {
        hasher = hasher.with_engine_version(version)?;
    }
    match seed {
        Some(seed) => hasher.with_seed(seed),
        None => Ok(hasher),
    }
}

/// Bytes per name: 32 or 16. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_hasher_digest_len(hasher: Option<&llmd_hasher>) -> usize {
    hasher.map_or(0, |hasher| hasher.0.digest_len())
}

/// Writes the names of all full blocks to `digests`, first block first and nothing between them. `digests_len` counts
/// bytes: it says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing
/// else is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_hasher_hash(
    hasher: Option<&llmd_hasher>,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    digests: *mut u8,
    digests_len: Option<&mut usize>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let hasher = &given(hasher, "hasher")?.0;
        let digests_len = given(digests_len, "digests_len")?;
        // SAFETY: as llmd.h says.
        let (tokens, namespace) = unsafe { (items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        check_room(hasher, tokens, digests_len)?;
        let mut names = Vec::new();
        hasher.hash_into(tokens, &namespace, &mut names)?;
        // SAFETY: as llmd.h says.
        unsafe { fill(digests, Some(digests_len), names.into_iter(), "digests") }
    })
}

/// Whether there is room for as many bytes as the names of `tokens` have; tells how many those are when there is not.
fn check_room(hasher: &EngineHasher, tokens: &[TokenId], digests_len: &mut usize) -> Result<()> {
    let (room, needed) = (*digests_len, tokens.len() / hasher.block_size() * hasher.digest_len());
    if needed <= room {
        return Ok(());
    }
    *digests_len = needed;
    let message = format!("digests has room for {room} bytes, expected {needed} or more");
    Err(Error::new(ErrorKind::Exhausted, message))
}

/// The integer that KV events say instead of a name that a hasher made. SGLang's events carry it as a signed number, which
/// has the same bits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_hasher_event_int(
    hasher: Option<&llmd_hasher>,
    digest: *const u8,
    digest_len: usize,
    number: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let hasher = &given(hasher, "hasher")?.0;
        let number = given(number, "number")?;
        // SAFETY: as llmd.h says.
        let digest = unsafe { items(digest, digest_len, "digest") }?;
        number.write(hasher.event_int(digest)?);
        Ok(())
    })
}

/// Frees a hasher. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_hasher_free(hasher: Option<Box<llmd_hasher>>) {
    quietly((), || drop(hasher));
}
