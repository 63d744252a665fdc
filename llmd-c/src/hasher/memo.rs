//! Names that were made for a session before.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_core::hash::{EngineHasher, SessionMemo};
use parking_lot::Mutex;

use super::{check_room, llmd_hasher};
use crate::boundary::{boundary, given, made};
use crate::error::llmd_error;
use crate::filled::fill;
use crate::given::{items, text};
use crate::namespace::{llmd_namespace, namespace};
use crate::quiet::quietly;
use crate::status::llmd_status;

/// Remembers the names of each session's last prompt: of the next one that begins as that did, only what follows is hashed. May
/// be used by several threads at once, which take turns.
#[derive(Debug)]
pub struct llmd_memo(Mutex<SessionMemo<EngineHasher>>);

/// A memo of what `hasher` makes; NULL when it cannot be made. It keeps sessions of `max_tokens` tokens together at most, where
/// each counts as 64 more; those that were asked for longest ago make room.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_memo_new(
    hasher: Option<&llmd_hasher>,
    max_tokens: usize,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_memo>> {
    made(error, || Ok(llmd_memo(Mutex::new(SessionMemo::new(given(hasher, "hasher")?.0.clone(), max_tokens)))))
}

/// Writes the names of all full blocks to `digests`, as llmd_hasher_hash does, and to `remembered` how many of them were
/// remembered of `session`; `remembered` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_memo_hash(
    memo: Option<&llmd_memo>,
    session: *const c_char,
    tokens: *const u32,
    tokens_len: usize,
    under: *const llmd_namespace,
    digests: *mut u8,
    digests_len: Option<&mut usize>,
    remembered: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let memo = &given(memo, "memo")?.0;
        let digests_len = given(digests_len, "digests_len")?;
        // SAFETY: as llmd.h says.
        let (session, tokens, namespace) =
            unsafe { (text(session, "session")?, items(tokens, tokens_len, "tokens")?, namespace(under)?) };
        let mut names = Vec::new();
        let mut memo = memo.lock();
        check_room(memo.hasher(), tokens, digests_len)?;
        let known = memo.hash_into(session, tokens, &namespace, &mut names)?;
        drop(memo);
        if let Some(remembered) = remembered {
            remembered.write(known);
        }
        // SAFETY: as llmd.h says.
        unsafe { fill(digests, Some(digests_len), names.into_iter(), "digests") }
    })
}

/// Forgets what was hashed for a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_memo_forget(
    memo: Option<&llmd_memo>,
    session: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        // SAFETY: as llmd.h says.
        given(memo, "memo")?.0.lock().forget(unsafe { text(session, "session") }?);
        Ok(())
    })
}

/// How many sessions are remembered. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_memo_sessions(memo: Option<&llmd_memo>) -> usize {
    memo.map_or(0, |memo| memo.0.lock().sessions())
}

/// How many sessions had to make room for others, or were too long by themselves. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_memo_dropped(memo: Option<&llmd_memo>) -> u64 {
    memo.map_or(0, |memo| memo.0.lock().dropped())
}

/// Frees a memo. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_memo_free(memo: Option<Box<llmd_memo>>) {
    quietly((), || drop(memo));
}
