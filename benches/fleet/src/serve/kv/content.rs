//! What a block holds: bytes that follow from its name, so that whoever has the name can check every one of them.

use llmd_kvxfer::Pool;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{BlockId, Digest};
use crate::splitmix::SplitMix64;

/// The bytes of the block of this name.
pub(super) fn content(name: &Digest, bytes: &mut [u8]) {
    let mut numbers = SplitMix64::new(xxh3_64(name));
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&numbers.next().to_le_bytes()[..word.len()]);
    }
}

/// Whether a block of a pool holds what its name says, to the byte.
pub(super) fn holds(pool: &Pool, block: BlockId, name: &Digest) -> bool {
    let mut expected = vec![0; pool.layout().block_bytes() as usize];
    content(name, &mut expected);
    pool.read_block(block).is_ok_and(|bytes| bytes == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_every_byte() {
        let bytes = |name: u8, len: usize| {
            let mut bytes = vec![0; len];
            content(&[name; 32], &mut bytes);
            bytes
        };
        assert_eq!(bytes(1, 4096), bytes(1, 4096));
        assert_eq!(bytes(1, 4096)[..13], bytes(1, 13));
        let equal = bytes(1, 4096).iter().zip(bytes(2, 4096)).filter(|(one, other)| **one == *other).count();
        assert!(equal < 64, "{equal} of 4096 bytes are equal by chance");
    }
}
