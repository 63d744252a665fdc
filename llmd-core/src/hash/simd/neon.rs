//! Block by block, with PMULL.

use std::arch::aarch64::vmull_p64;
use std::mem::MaybeUninit;

use super::positions::PositionKey;
use super::{Line, PAIR, portable, words_of};
use crate::{BlockHash, TokenId};

/// Writes the sums of the blocks of `size` tokens, as many as `out` has room for; gives the last.
#[target_feature(enable = "neon,aes")]
pub(super) fn run(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    let mut sum = parent;
    for ((out, PositionKey(key)), block) in out.iter_mut().zip(keys).zip(tokens.chunks_exact(size)) {
        let mut product = 0;
        let pairs = words.iter().flat_map(|line| line.0.as_chunks::<2>().0);
        for (tokens, keys) in block.chunks(PAIR).zip(pairs) {
            let [left, right] = words_of(tokens);
            product ^= vmull_p64(left ^ keys[0], right ^ keys[1]);
        }
        sum ^= portable::reduce(vmull_p64(product as u64 ^ key[0], (product >> 64) as u64 ^ key[1]));
        out.write(BlockHash(sum));
    }
    sum
}
