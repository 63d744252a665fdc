//! Eight blocks at a time, with AVX-512 and VPCLMULQDQ.

#![expect(unsafe_code, reason = "vectors are read from and written to memory by pointer")]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::positions::PositionKey;
use super::{LINE, Line};
use crate::{BlockHash, TokenId};

/// Writes the sums of the blocks of `size` tokens, as many as `out` has room for; gives the last.
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) fn run(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    // Sizes that compilers know beforehand cost no loops.
    match size {
        16 => sums::<16>((words, 16), keys, parent, tokens, out),
        32 => sums::<32>((words, 32), keys, parent, tokens, out),
        64 => sums::<64>((words, 64), keys, parent, tokens, out),
        _ => sums::<0>((words, size), keys, parent, tokens, out),
    }
}

/// `SIZE` is the size of blocks, or 0 for any.
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn sums<const SIZE: usize>(
    (words, size): (&[Line], usize),
    keys: &[PositionKey],
    parent: u64,
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    let size = if SIZE == 0 { size } else { SIZE };
    let words = &words[..size.div_ceil(LINE)];
    let mut before = _mm512_set1_epi64(parent as i64);
    let (groups, last) = out.as_chunks_mut::<8>();
    let (whole, tail) = tokens.split_at(groups.len() * 8 * size);
    let (eights, rest) = keys.as_chunks::<8>();
    for ((group, keys), tokens) in groups.iter_mut().zip(eights).zip(whole.chunks_exact(8 * size)) {
        let products = |block: usize| products::<SIZE>(words, &tokens[block * size..][..size]);
        let one = by_block([products(0), products(1), products(2), products(3)]);
        let other = by_block([products(4), products(5), products(6), products(7)]);
        let sums = up_to_each(terms([one, other], load_keys(keys)));
        store(group, _mm512_xor_si512(sums, before));
        before = _mm512_xor_si512(before, _mm512_permutexvar_epi64(_mm512_set1_epi64(7), sums));
    }
    if !last.is_empty() {
        let mut blocks = tail.chunks_exact(size);
        let zero = _mm512_setzero_si512();
        let mut products = || if let Some(block) = blocks.next() { products::<SIZE>(words, block) } else { zero };
        let one = by_block([products(), products(), products(), products()]);
        let other = if last.len() > 4 { by_block([products(), products(), products(), products()]) } else { zero };
        let mut padded = [PositionKey::default(); 8];
        padded[..rest.len()].copy_from_slice(rest);
        let sums = up_to_each(terms([one, other], load_keys(&padded)));
        store_part(last, _mm512_xor_si512(sums, before));
        let end = _mm512_set1_epi64(last.len() as i64 - 1);
        before = _mm512_xor_si512(before, _mm512_permutexvar_epi64(end, sums));
    }
    _mm_cvtsi128_si64(_mm512_castsi512_si128(before)) as u64
}

/// The products of a block's pairs of words: four numbers, whose sum is the block's.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn products<const SIZE: usize>(words: &[Line], block: &[TokenId]) -> __m512i {
    let (lines, rest) = block.as_chunks::<LINE>();
    let mut sum = _mm512_setzero_si512();
    for (tokens, keys) in lines.iter().zip(words) {
        let keyed = _mm512_xor_si512(load(tokens), load_words(keys));
        sum = _mm512_xor_si512(sum, multiply(keyed));
    }
    if SIZE == 0
        && let (false, Some(keys)) = (rest.is_empty(), words.get(lines.len()))
    {
        let keyed = _mm512_xor_si512(load_part(rest), load_words(keys));
        sum = _mm512_xor_si512(sum, multiply(keyed));
    }
    sum
}

/// The terms of eight blocks, from the sums of their products.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn terms(sums: [__m512i; 2], keys: [__m512i; 2]) -> __m512i {
    let one = multiply(_mm512_xor_si512(sums[0], keys[0]));
    let other = multiply(_mm512_xor_si512(sums[1], keys[1]));
    let low = _mm512_permutex2var_epi64(one, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), other);
    let high = _mm512_permutex2var_epi64(one, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), other);
    reduce(low, high)
}

/// Adds up the four products of each of four blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn by_block([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let ab = _mm512_xor_si512(_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
    let cd = _mm512_xor_si512(_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
    _mm512_xor_si512(_mm512_shuffle_i64x2::<0x88>(ab, cd), _mm512_shuffle_i64x2::<0xdd>(ab, cd))
}

/// Low by high half of each quarter.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn multiply(words: __m512i) -> __m512i {
    _mm512_clmulepi64_epi128::<0x10>(words, words)
}

/// The remainders of eight products modulo x^64 + x^4 + x^3 + x + 1.
#[inline]
#[target_feature(enable = "avx512f")]
fn reduce(low: __m512i, high: __m512i) -> __m512i {
    let over = add(_mm512_srli_epi64::<63>(high), _mm512_srli_epi64::<61>(high), _mm512_srli_epi64::<60>(high));
    let over = _mm512_xor_si512(high, over);
    let sum = add(low, over, _mm512_slli_epi64::<1>(over));
    add(sum, _mm512_slli_epi64::<3>(over), _mm512_slli_epi64::<4>(over))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The sum of the terms up to and with each.
#[inline]
#[target_feature(enable = "avx512f")]
fn up_to_each(terms: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    let pairs = _mm512_xor_si512(terms, _mm512_alignr_epi64::<7>(terms, zero));
    let fours = _mm512_xor_si512(pairs, _mm512_alignr_epi64::<6>(pairs, zero));
    _mm512_xor_si512(fours, _mm512_alignr_epi64::<4>(fours, zero))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(tokens: &[TokenId; LINE]) -> __m512i {
    // SAFETY: 16 tokens are the 64 bytes that are read, and this load asks for no alignment.
    unsafe { _mm512_loadu_si512(tokens.as_ptr().cast()) }
}

/// Up to 16 tokens, and zero for those that are not there.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_part(tokens: &[TokenId]) -> __m512i {
    let there = mask(tokens.len().min(LINE));
    // SAFETY: of each 4 bytes, only those of tokens that are there are read; the rest is masked.
    unsafe { _mm512_maskz_loadu_epi32(there as __mmask16, tokens.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(keys: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes and stands at a multiple of 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(keys).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_keys(keys: &[PositionKey; 8]) -> [__m512i; 2] {
    let (halves, _) = keys.as_chunks::<4>();
    // SAFETY: 4 keys of 16 bytes are the 64 bytes that are read, and this load asks for no alignment.
    [0, 1].map(|half| unsafe { _mm512_loadu_si512(halves[half].as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(out: &mut [MaybeUninit<BlockHash>; 8], sums: __m512i) {
    // SAFETY: 8 names are the 64 bytes that are written: a name is a `u64`. This store asks for no alignment.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
}

/// Writes as many as there is room for, at most 8.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_part(out: &mut [MaybeUninit<BlockHash>], sums: __m512i) {
    let there = mask(out.len().min(8));
    // SAFETY: of each 8 bytes, only those of names that `out` has are written; the rest is masked.
    unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr().cast(), there as __mmask8, sums) }
}

/// As many ones, at most 31.
const fn mask(ones: usize) -> u32 {
    (1 << ones) - 1
}
