//! What the blocks of this part hold: bytes that follow from a block's number.

use llmd_core::Result;
use llmd_kvxfer::Pool;

/// An odd number without a pattern: 2⁶⁴ divided by the golden ratio.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bytes of this block.
pub(super) fn of(block: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut word = u64::from(block) << 32;
    for place in bytes.chunks_mut(8) {
        word = word.wrapping_add(STRIDE);
        let mixed = (word ^ (word >> 29)).wrapping_mul(STRIDE);
        place.copy_from_slice(&(mixed ^ (mixed >> 32)).to_le_bytes()[..place.len()]);
    }
    bytes
}

/// Whether a block of a pool holds what the block of the same number does where it came from.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for a block that is not there.
pub(super) fn holds(pool: &Pool, block: u32) -> Result<bool> {
    let bytes = pool.read_block(block)?;
    Ok(bytes == of(block, bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_differ_and_are_the_same_each_time() {
        assert_eq!(of(3, 100), of(3, 100));
        let equal = of(3, 8192).iter().zip(of(4, 8192)).filter(|(one, other)| **one == *other).count();
        assert!(equal < 100, "{equal} of 8192 bytes are equal by chance");
    }
}
