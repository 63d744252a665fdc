//! A notification as a number in shared memory, which the other side sees when it looks.

use std::hint::spin_loop;
use std::sync::atomic::Ordering;

use llmd_core::{Error, ErrorKind, Result};

use crate::memory::Memory;

/// Bytes of the memory: two words on cache lines of their own.
pub(super) const BYTES: usize = 4096;
const ASKED: usize = 0;
const ANSWERED: usize = 32;

/// Looks until the other side is given up: some seconds.
const LOOKS: u64 = 1_000_000_000;
/// Looks of one turn of the side that answers.
const TURN: u32 = 1_000_000;

/// Asks, and waits for the answer.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when none comes.
pub(super) fn ask(memory: &Memory) -> Result<()> {
    // Only this side writes the question.
    let question = memory.atomic(ASKED).load(Ordering::Relaxed).wrapping_add(1);
    // Whoever sees the number sees what was written before it: a notification is about something. Likewise below.
    memory.atomic(ASKED).store(question, Ordering::Release);
    for _ in 0..LOOKS {
        if memory.atomic(ANSWERED).load(Ordering::Acquire) == question {
            return Ok(());
        }
        spin_loop();
    }
    Err(Error::new(ErrorKind::Unavailable, format!("question {question} was not answered")))
}

/// Answers what is asked, for a while.
pub(super) fn answer(memory: &Memory) {
    for _ in 0..TURN {
        let question = memory.atomic(ASKED).load(Ordering::Acquire);
        if memory.atomic(ANSWERED).load(Ordering::Relaxed) != question {
            memory.atomic(ANSWERED).store(question, Ordering::Release);
        }
        spin_loop();
    }
}
