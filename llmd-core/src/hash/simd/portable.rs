//! The form that every machine has: carry-less products made of integer ones, in constant time.

use std::mem::MaybeUninit;

use super::positions::PositionKey;
use super::{Line, PAIR, words_of};
use crate::{BlockHash, TokenId};

/// Writes the sums of the blocks of `size` tokens, as many as `out` has room for; gives the last.
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
            product ^= multiply(left ^ keys[0], right ^ keys[1]);
        }
        sum ^= reduce(multiply(product as u64 ^ key[0], (product >> 64) as u64 ^ key[1]));
        out.write(BlockHash(sum));
    }
    sum
}

/// How far apart the bits stand of which integer products are made: of 64 bits that is 13 a class, so that a sum of
/// products of bits stays below 32 and never reaches the next one.
const SPACING: usize = 5;

const CLASSES: [u128; SPACING] = {
    let mut classes = [0; SPACING];
    let mut bit = 0;
    while bit < 128 {
        classes[bit % SPACING] |= 1 << bit;
        bit += 1;
    }
    classes
};

/// The carry-less product.
fn multiply(left: u64, right: u64) -> u128 {
    let class = |word: u64, class: usize| u128::from(word & CLASSES[class] as u64);
    (0..SPACING).fold(0, |product, of| {
        let parts = (0..SPACING).map(|one| class(left, one) * class(right, (of + SPACING - one) % SPACING));
        product | parts.fold(0, |sum, part| sum ^ part) & CLASSES[of]
    })
}

/// The remainder of `product` modulo x^64 + x^4 + x^3 + x + 1.
pub(super) const fn reduce(product: u128) -> u64 {
    let (low, high) = (product as u64, (product >> 64) as u64);
    let over = high ^ (high >> 63) ^ (high >> 61) ^ (high >> 60);
    low ^ over ^ (over << 1) ^ (over << 3) ^ (over << 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shifts and adds, as on paper.
    fn slowly(left: u64, right: u64) -> u128 {
        (0..64).filter(|bit| right >> bit & 1 == 1).fold(0, |product, bit| product ^ u128::from(left) << bit)
    }

    /// Takes multiples of the polynomial away until nothing is left above.
    fn remainder(product: u128) -> u64 {
        let from_top = (64..128).rev();
        from_top
            .fold(product, |left, bit| if left >> bit & 1 == 1 { left ^ (0x1b | 1 << 64) << (bit - 64) } else { left })
            as u64
    }

    #[test]
    fn words_of_ones_only_do_not_carry() {
        assert_eq!(multiply(u64::MAX, u64::MAX), slowly(u64::MAX, u64::MAX));
        assert_eq!(reduce(slowly(u64::MAX, u64::MAX)), remainder(slowly(u64::MAX, u64::MAX)));
    }

    proptest! {
        #[test]
        fn products_and_remainders_are_those_made_on_paper(left: u64, right: u64, product: u128) {
            prop_assert_eq!(multiply(left, right), slowly(left, right));
            // A product of two words has 127 bits.
            prop_assert_eq!(reduce(product >> 1), remainder(product >> 1));
        }
    }
}
