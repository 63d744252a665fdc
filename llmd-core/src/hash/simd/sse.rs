//! Two blocks at a time, with SSE2 and PCLMULQDQ.

#![expect(unsafe_code, reason = "vectors are read from and written to memory by pointer")]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::positions::PositionKey;
use super::{LINE, Line, PAIR};
use crate::{BlockHash, TokenId};

/// Writes the sums of the blocks of `size` tokens, as many as `out` has room for; gives the last.
#[target_feature(enable = "pclmulqdq")]
pub(super) fn run(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    let mut before = _mm_set1_epi64x(parent as i64);
    let (groups, last) = out.as_chunks_mut::<2>();
    let (whole, tail) = tokens.split_at(groups.len() * 2 * size);
    let (pairs, key) = keys.as_chunks::<2>();
    for ((group, keys), tokens) in groups.iter_mut().zip(pairs).zip(whole.chunks_exact(2 * size)) {
        let (one, other) = tokens.split_at(size);
        let terms = reduce(product(words, &keys[0], one), product(words, &keys[1], other));
        let sums = _mm_xor_si128(terms, _mm_slli_si128::<8>(terms));
        store(group, _mm_xor_si128(sums, before));
        before = _mm_xor_si128(before, _mm_unpackhi_epi64(sums, sums));
    }
    if let (Some(out), Some(key)) = (last.first_mut(), key.first()) {
        let product = product(words, key, tail);
        before = _mm_xor_si128(before, reduce(product, product));
        out.write(BlockHash(_mm_cvtsi128_si64(before) as u64));
    }
    _mm_cvtsi128_si64(before) as u64
}

/// The product of which a block's term is the remainder.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn product(words: &[Line], key: &PositionKey, block: &[TokenId]) -> __m128i {
    let (lines, rest) = block.as_chunks::<LINE>();
    let mut sum = load_keys(&key.0);
    for (tokens, keys) in lines.iter().zip(words) {
        sum = _mm_xor_si128(sum, products(tokens.as_chunks().0, keys));
    }
    if let (false, Some(keys)) = (rest.is_empty(), words.get(lines.len())) {
        let (pairs, rest) = rest.as_chunks();
        sum = _mm_xor_si128(sum, products(pairs, keys));
        if let (false, Some(keys)) = (rest.is_empty(), keys.0.as_chunks::<2>().0.get(pairs.len())) {
            let mut padded = [0; PAIR];
            padded[..rest.len()].copy_from_slice(rest);
            sum = _mm_xor_si128(sum, multiply(_mm_xor_si128(load(&padded), load_keys(keys))));
        }
    }
    multiply(sum)
}

/// The sum of the products of pairs of words that stand in one line.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn products(pairs: &[[TokenId; PAIR]], Line(keys): &Line) -> __m128i {
    let mut sum = _mm_setzero_si128();
    for (tokens, keys) in pairs.iter().zip(keys.as_chunks::<2>().0) {
        sum = _mm_xor_si128(sum, multiply(_mm_xor_si128(load(tokens), load_keys(keys))));
    }
    sum
}

/// Low by high half.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn multiply(words: __m128i) -> __m128i {
    _mm_clmulepi64_si128::<0x10>(words, words)
}

/// The remainders of two products modulo x^64 + x^4 + x^3 + x + 1.
#[inline]
#[target_feature(enable = "sse2")]
fn reduce(one: __m128i, other: __m128i) -> __m128i {
    let (low, high) = (_mm_unpacklo_epi64(one, other), _mm_unpackhi_epi64(one, other));
    let over = _mm_xor_si128(_mm_srli_epi64::<63>(high), _mm_srli_epi64::<61>(high));
    let over = _mm_xor_si128(_mm_xor_si128(high, over), _mm_srli_epi64::<60>(high));
    let sum = _mm_xor_si128(_mm_xor_si128(low, over), _mm_slli_epi64::<1>(over));
    _mm_xor_si128(_mm_xor_si128(sum, _mm_slli_epi64::<3>(over)), _mm_slli_epi64::<4>(over))
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(tokens: &[TokenId; PAIR]) -> __m128i {
    // SAFETY: 4 tokens are the 16 bytes that are read, and this load asks for no alignment.
    unsafe { _mm_loadu_si128(tokens.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_keys(keys: &[u64; 2]) -> __m128i {
    // SAFETY: two keys are the 16 bytes that are read, and this load asks for no alignment.
    unsafe { _mm_loadu_si128(keys.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(out: &mut [MaybeUninit<BlockHash>; 2], sums: __m128i) {
    // SAFETY: 2 names are the 16 bytes that are written: a name is a `u64`. This store asks for no alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) }
}
