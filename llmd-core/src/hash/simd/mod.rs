//! One term per block under secret keys, and the running sum of the terms: the inner loop of llmd's own names.
//!
//! With ⊗ the carry-less product of two 64-bit words, the words *w* of a block (two tokens each), keys *s* per word and
//! *K*, *K'* per position, the term of the block at a position is
//!
//! ```text
//! (lo, hi) = ⊕ (w[2j] ⊕ s[2j]) ⊗ (w[2j+1] ⊕ s[2j+1])
//! term     = (lo ⊕ K) · (hi ⊕ K')     in GF(2^64) modulo x^64 + x^4 + x^3 + x + 1
//! ```
//!
//! and a digest is the exclusive or of all terms up to its block. Words are padded with zero to an even number.

mod portable;
mod positions;

use std::fmt;

use aes::Aes128;
use aes::cipher::KeyInit as _;

use self::positions::{Positions, encrypt};
use crate::{BlockHash, TokenId};

/// Tokens that one line of keys covers.
const LINE: usize = 16;

/// The keys of 16 tokens, two per word.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; LINE / 2]);

/// The terms of blocks of one size under one master key.
pub(super) struct Kernel {
    block_size: usize,
    /// One line per 16 tokens of a block. The keys of words that are not there are zero, so that reading zeros for them adds
    /// nothing.
    words: Box<[Line]>,
    positions: Positions,
}

impl Kernel {
    /// The kernel of `master` for blocks of `block_size` tokens, at least 1.
    pub(super) fn new(master: [u8; 16], block_size: usize) -> Self {
        let master = Aes128::new(&master.into());
        let part = |number: u128| Aes128::new(&encrypt(&master, number).to_le_bytes().into());
        let of_words = part((1 << 127) | 1);
        let pairs = block_size.div_ceil(4);
        let mut words = vec![Line::default(); block_size.div_ceil(LINE)].into_boxed_slice();
        for pair in 0..pairs {
            let keys = encrypt(&of_words, pair as u128);
            let line = &mut words[pair / 4].0;
            line[pair % 4 * 2] = keys as u64;
            line[pair % 4 * 2 + 1] = (keys >> 64) as u64;
        }
        Self { block_size, words, positions: Positions::new(part(1 << 127)) }
    }

    /// Tokens per block.
    pub(super) const fn block_size(&self) -> usize {
        self.block_size
    }

    /// Appends the sums of the full blocks of `tokens`, which stand at `position` (in blocks) behind what sums up to
    /// `parent`.
    pub(super) fn extend(&self, parent: u64, position: u64, tokens: &[TokenId], out: &mut Vec<BlockHash>) {
        let blocks = tokens.len() / self.block_size;
        out.reserve(blocks);
        let (mut sum, mut rest) = (parent, tokens);
        self.positions.runs(position, blocks, |keys| {
            let (run, after) = rest.split_at(keys.len() * self.block_size);
            sum = portable::run(self, keys, sum, run, out);
            rest = after;
        });
    }

    /// The term of one block, which has [`block_size`](Self::block_size) tokens, at `position`.
    pub(super) fn term(&self, position: u64, block: &[TokenId]) -> u64 {
        let mut term = 0;
        self.positions.runs(position, 1, |keys| term = portable::term(self, &keys[0], block));
        term
    }
}

/// Keys are not shown.
impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the construction, made by another program.
    #[test]
    fn the_sums_are_those_of_the_construction() {
        let kernel = Kernel::new(std::array::from_fn(|byte| byte as u8), 16);
        let mut sums = Vec::new();
        kernel.extend(0, 0, &(0..48).collect::<Vec<_>>(), &mut sums);
        assert_eq!(sums, [0xf4bd_4538_bf46_9ed7, 0x30c2_2e91_40e7_32ed, 0x8234_c3a2_4faa_6166].map(BlockHash));
    }
}
