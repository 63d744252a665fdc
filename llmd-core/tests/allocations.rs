//! How often reading a batch of events takes memory: a few times per event, and never per block.

#![expect(unsafe_code, reason = "an allocator that counts is one by its unsafe trait, and passes every call on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;

use llmd_core::event::{KvEventBatch, decode_batch};
use rmp::encode;

/// Counts what each thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting takes no memory, since the counter is made
// before the program runs and has nothing to drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The batch that is in `payload`, and how often reading it took memory.
fn decoded(payload: &[u8]) -> (KvEventBatch, usize) {
    let before = TAKEN.get();
    let batch = decode_batch(payload).expect("a batch");
    let taken = TAKEN.get() - before;
    assert_eq!(batch.errors, []);
    (batch, taken)
}

/// How an engine names its blocks.
#[derive(Clone, Copy, Debug)]
enum Names {
    Integers,
    /// Digests of as many bytes.
    Bytes(u8),
}

type Written<T = ()> = Result<T, Box<dyn Error>>;

fn key(out: &mut Vec<u8>, key: &str) -> Written {
    Ok(encode::write_str(out, key)?)
}

fn block_hashes(out: &mut Vec<u8>, blocks: u32, names: Names) -> Written {
    key(out, "block_hashes")?;
    encode::write_array_len(out, blocks)?;
    for block in 0..blocks {
        match names {
            Names::Integers => encode::write_u64(out, u64::from(block) << 40)?,
            Names::Bytes(len) => encode::write_bin(out, &vec![block as u8; len.into()])?,
        }
    }
    Ok(())
}

/// What vLLM 0.32 says when it stores as many blocks of 16 tokens and when it removes them, so many times.
fn payload(times: u32, blocks: u32, names: Names) -> Written<Vec<u8>> {
    let mut out = Vec::new();
    encode::write_array_len(&mut out, 3)?;
    encode::write_f64(&mut out, 1.0)?;
    encode::write_array_len(&mut out, 2 * times)?;
    for _ in 0..times {
        encode::write_map_len(&mut out, 7)?;
        key(&mut out, "type")?;
        key(&mut out, "BlockStored")?;
        block_hashes(&mut out, blocks, names)?;
        key(&mut out, "token_ids")?;
        encode::write_array_len(&mut out, 16 * blocks)?;
        for token in 0..16 * blocks {
            encode::write_u32(&mut out, token)?;
        }
        key(&mut out, "block_size")?;
        encode::write_u32(&mut out, 16)?;
        key(&mut out, "medium")?;
        key(&mut out, "GPU")?;
        key(&mut out, "extra_keys")?;
        encode::write_array_len(&mut out, blocks)?;
        for _ in 0..blocks {
            encode::write_nil(&mut out)?;
        }
        key(&mut out, "group_idx")?;
        encode::write_u32(&mut out, 0)?;

        encode::write_map_len(&mut out, 3)?;
        key(&mut out, "type")?;
        key(&mut out, "BlockRemoved")?;
        block_hashes(&mut out, blocks, names)?;
        key(&mut out, "medium")?;
        key(&mut out, "GPU")?;
    }
    encode::write_nil(&mut out)?;
    Ok(out)
}

/// The list of events; and names, tokens and extra keys of what is stored, names of what is removed.
const fn expected(times: usize) -> usize {
    1 + 4 * times
}

#[test]
fn an_event_takes_as_much_memory_as_often_whatever_it_holds() {
    for names in [Names::Integers, Names::Bytes(8), Names::Bytes(32)] {
        for (times, blocks) in [(1, 1), (1, 4096), (7, 1), (7, 512)] {
            let (batch, taken) = decoded(&payload(times, blocks, names).unwrap());
            assert_eq!(batch.events.len(), 2 * times as usize);
            assert_eq!(taken, expected(times as usize), "{times} times {blocks} blocks, {names:?}");
        }
    }
}

#[test]
fn the_count_can_be_wrong() {
    let (_, taken) = decoded(&payload(1, 100, Names::Bytes(33)).unwrap());
    assert_eq!(taken, expected(1) + 200, "a name of more than 32 bytes takes memory of its own");
}
