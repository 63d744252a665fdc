//! The keys of positions: made once for the beginning of prompts, and each time behind it.

use std::sync::OnceLock;

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt as _;

/// The two keys of a position.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(super) struct PositionKey(pub(super) [u64; 2]);

/// Positions whose keys are made and kept together.
const CHUNK: usize = 1024;
/// Chunks that are kept at most: the keys of 65,536 blocks, 1 MiB.
const CHUNKS: usize = 64;
/// Positions whose keys are made together when they are not kept.
const PASSING: usize = 64;

/// The keys of all positions under one AES key.
pub(super) struct Positions {
    cipher: Aes128,
    kept: [OnceLock<Box<[PositionKey]>>; CHUNKS],
}

impl Positions {
    pub(super) const fn new(cipher: Aes128) -> Self {
        Self { cipher, kept: [const { OnceLock::new() }; CHUNKS] }
    }

    /// Gives the keys of `blocks` positions from `position` on to `take`, in runs of one and more.
    pub(super) fn runs(&self, position: u64, blocks: usize, mut take: impl FnMut(&[PositionKey])) {
        let (mut position, mut left) = (position, blocks);
        while left > 0 {
            let taken = match self.chunk(position) {
                Some(keys) => {
                    let keys = &keys[position as usize % CHUNK..];
                    let taken = left.min(keys.len());
                    take(&keys[..taken]);
                    taken
                }
                None => {
                    let mut keys = [PositionKey::default(); PASSING];
                    let taken = left.min(PASSING);
                    self.make(position, &mut keys[..taken]);
                    take(&keys[..taken]);
                    taken
                }
            };
            position = position.wrapping_add(taken as u64);
            left -= taken;
        }
    }

    /// The chunk in which `position` stands, when it is one that is kept.
    fn chunk(&self, position: u64) -> Option<&[PositionKey]> {
        let number = position / CHUNK as u64;
        let chunk = self.kept.get(usize::try_from(number).ok()?)?;
        Some(chunk.get_or_init(|| {
            let mut keys = vec![PositionKey::default(); CHUNK].into_boxed_slice();
            self.make(number * CHUNK as u64, &mut keys);
            keys
        }))
    }

    fn make(&self, first: u64, keys: &mut [PositionKey]) {
        let mut position = first;
        for keys in keys.chunks_mut(PASSING) {
            let mut blocks = [aes::Block::default(); PASSING];
            let blocks = &mut blocks[..keys.len()];
            for block in &mut *blocks {
                *block = u128::from(position).to_le_bytes().into();
                position = position.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(blocks);
            for (key, block) in keys.iter_mut().zip(blocks) {
                *key = halves(u128::from_le_bytes((*block).into()));
            }
        }
    }
}

const fn halves(number: u128) -> PositionKey {
    PositionKey([number as u64, (number >> 64) as u64])
}

/// What `cipher` makes of a number, both least significant byte first.
pub(super) fn encrypt(cipher: &Aes128, number: u128) -> u128 {
    let mut block = number.to_le_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_le_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use aes::cipher::KeyInit as _;
    use proptest::prelude::*;

    use super::*;

    const KEPT: u64 = (CHUNK * CHUNKS) as u64;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Kept, made in passing, or across the border between the two: every position has its own key.
        #[test]
        fn a_position_has_the_cipher_s_key(
            near in prop::sample::select(vec![0, CHUNK as u64, KEPT, u64::from(u32::MAX), u64::MAX - 40]),
            back in 0..80_u64,
            blocks in 0..200_usize,
        ) {
            let positions = Positions::new(Aes128::new(&[3; 16].into()));
            let first = near.saturating_sub(back);
            let (mut next, mut seen) = (first, 0);
            positions.runs(first, blocks, |keys| {
                for key in keys {
                    assert_eq!(key.0, halves(encrypt(&positions.cipher, next.into())).0);
                    next = next.wrapping_add(1);
                }
                seen += keys.len();
            });
            prop_assert_eq!(seen, blocks);
        }
    }
}
