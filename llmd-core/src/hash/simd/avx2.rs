//! Four blocks at a time, with AVX2 and VPCLMULQDQ.

#![expect(unsafe_code, reason = "vectors are read from and written to memory by pointer")]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::positions::PositionKey;
use super::{LINE, Line, sse};
use crate::{BlockHash, TokenId};

/// Tokens in a vector.
const HALF: usize = LINE / 2;

/// Writes the sums of the blocks of `size` tokens, as many as `out` has room for; gives the last.
#[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
pub(super) fn run(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    match size {
        16 => sums::<16>((words, 16), keys, parent, tokens, out),
        32 => sums::<32>((words, 32), keys, parent, tokens, out),
        64 => sums::<64>((words, 64), keys, parent, tokens, out),
        _ if size.is_multiple_of(LINE) => sums::<0>((words, size), keys, parent, tokens, out),
        _ => sse::run((words, size), keys, parent, tokens, out),
    }
}

/// `SIZE` is the size of blocks, or 0 for any that is made of whole lines.
#[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
fn sums<const SIZE: usize>(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    let size = if SIZE == 0 { size } else { SIZE };
    let words = &words[..size.div_ceil(LINE)];
    let mut before = _mm256_set1_epi64x(parent as i64);
    let (groups, last) = out.as_chunks_mut::<4>();
    let (whole, tail) = tokens.split_at(groups.len() * 4 * size);
    let (fours, rest) = keys.as_chunks::<4>();
    for ((group, keys), tokens) in groups.iter_mut().zip(fours).zip(whole.chunks_exact(4 * size)) {
        let products = |block: usize| products(words, &tokens[block * size..][..size]);
        let one = multiply(_mm256_xor_si256(by_block(products(0), products(1)), load_keys(&keys[0].0, &keys[1].0)));
        let other = multiply(_mm256_xor_si256(by_block(products(2), products(3)), load_keys(&keys[2].0, &keys[3].0)));
        let sums = up_to_each(reduce(one, other));
        store(group, _mm256_xor_si256(sums, before));
        before = _mm256_xor_si256(before, _mm256_permute4x64_epi64::<0xff>(sums));
    }
    let sum = _mm_cvtsi128_si64(_mm256_castsi256_si128(before)) as u64;
    if last.is_empty() { sum } else { sse::run((words, size), rest, sum, tail, last) }
}

/// The products of a block's pairs of words: two numbers, whose sum is the block's.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn products(words: &[Line], block: &[TokenId]) -> __m256i {
    let mut sum = _mm256_setzero_si256();
    for (tokens, Line(keys)) in block.as_chunks::<LINE>().0.iter().zip(words) {
        for (tokens, keys) in tokens.as_chunks::<HALF>().0.iter().zip(keys.as_chunks::<4>().0) {
            sum = _mm256_xor_si256(sum, multiply(_mm256_xor_si256(load(tokens), load_words(keys))));
        }
    }
    sum
}

/// Adds up the two products of each of two blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn by_block(one: __m256i, other: __m256i) -> __m256i {
    let (low, high) = (_mm256_permute2x128_si256::<0x20>(one, other), _mm256_permute2x128_si256::<0x31>(one, other));
    _mm256_xor_si256(low, high)
}

/// Low by high half of each half.
#[inline]
#[target_feature(enable = "avx2,vpclmulqdq")]
fn multiply(words: __m256i) -> __m256i {
    _mm256_clmulepi64_epi128::<0x10>(words, words)
}

/// The remainders of four products modulo x^64 + x^4 + x^3 + x + 1, in the order of the blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(one: __m256i, other: __m256i) -> __m256i {
    let (low, high) = (_mm256_unpacklo_epi64(one, other), _mm256_unpackhi_epi64(one, other));
    let over = _mm256_xor_si256(_mm256_srli_epi64::<63>(high), _mm256_srli_epi64::<61>(high));
    let over = _mm256_xor_si256(_mm256_xor_si256(high, over), _mm256_srli_epi64::<60>(high));
    let sum = _mm256_xor_si256(_mm256_xor_si256(low, over), _mm256_slli_epi64::<1>(over));
    let sum = _mm256_xor_si256(_mm256_xor_si256(sum, _mm256_slli_epi64::<3>(over)), _mm256_slli_epi64::<4>(over));
    // What was unpacked stands as 0, 2, 1, 3.
    _mm256_permute4x64_epi64::<0b11_01_10_00>(sum)
}

/// The sum of the terms up to and with each.
#[inline]
#[target_feature(enable = "avx2")]
fn up_to_each(terms: __m256i) -> __m256i {
    let pairs = _mm256_xor_si256(terms, _mm256_slli_si256::<8>(terms));
    let first = _mm256_permute4x64_epi64::<0b01_01_01_01>(pairs);
    _mm256_xor_si256(pairs, _mm256_blend_epi32::<0xf0>(_mm256_setzero_si256(), first))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(tokens: &[TokenId; HALF]) -> __m256i {
    // SAFETY: 8 tokens are the 32 bytes that are read, and this load asks for no alignment.
    unsafe { _mm256_loadu_si256(tokens.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(keys: &[u64; 4]) -> __m256i {
    // SAFETY: 4 keys are the 32 bytes that are read, and this load asks for no alignment.
    unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_keys(one: &[u64; 2], other: &[u64; 2]) -> __m256i {
    _mm256_setr_epi64x(one[0] as i64, one[1] as i64, other[0] as i64, other[1] as i64)
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(out: &mut [MaybeUninit<BlockHash>; 4], sums: __m256i) {
    // SAFETY: 4 names are the 32 bytes that are written: a name is a `u64`. This store asks for no alignment.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
}
