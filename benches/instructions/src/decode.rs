//! A batch of vLLM's, from bytes to events.

use std::hint::black_box;

use llmd_core::event::decode_batch;
use rmp::encode;

use crate::prompt::{BLOCK_SIZE, names, tokens};
use crate::{TIMES, counted};

const BLOCKS: usize = 512;

/// A batch that stores 512 blocks.
pub(crate) fn batch() {
    let payload = payload().expect("memory takes it");
    let decoded = decode_batch(&payload).expect("the payload is a batch");
    assert!(decoded.errors.is_empty() && decoded.events.len() == 1, "{:?}", decoded.errors);
    for _ in 0..TIMES {
        counted(&mut || drop(black_box(decode_batch(black_box(&payload)))));
    }
}

/// `[timestamp, [stored], data-parallel rank]`, as vLLM 0.32 writes it.
fn payload() -> Result<Vec<u8>, encode::ValueWriteError> {
    let mut out = Vec::new();
    encode::write_array_len(&mut out, 3)?;
    encode::write_f64(&mut out, 1_764_000_000.5)?;
    encode::write_array_len(&mut out, 1)?;
    encode::write_map_len(&mut out, 6)?;
    encode::write_str(&mut out, "type")?;
    encode::write_str(&mut out, "BlockStored")?;
    encode::write_str(&mut out, "block_hashes")?;
    encode::write_array_len(&mut out, BLOCKS as u32)?;
    for name in names(2, BLOCKS) {
        encode::write_uint(&mut out, name)?;
    }
    encode::write_str(&mut out, "parent_block_hash")?;
    encode::write_uint(&mut out, 1 << 63)?;
    encode::write_str(&mut out, "token_ids")?;
    encode::write_array_len(&mut out, (BLOCKS * BLOCK_SIZE) as u32)?;
    for token in tokens(2, BLOCKS * BLOCK_SIZE) {
        encode::write_uint(&mut out, token.into())?;
    }
    encode::write_str(&mut out, "block_size")?;
    encode::write_uint(&mut out, BLOCK_SIZE as u64)?;
    encode::write_str(&mut out, "medium")?;
    encode::write_str(&mut out, "GPU")?;
    encode::write_uint(&mut out, 0)?;
    Ok(out)
}
