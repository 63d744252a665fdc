//! Eight blocks at a time, with AVX-512, and the keys of their positions made beside them, with VAES.

#![expect(unsafe_code, reason = "vectors are read from and written to memory by pointer")]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{LINE, Line};
use crate::{BlockHash, TokenId};

/// What AES makes of a key before it encrypts with it: one key per round.
#[derive(Clone, Copy, Default)]
pub(super) struct Rounds([[u64; 2]; 11]);

impl Rounds {
    /// The rounds of AES-128 under `key`.
    #[target_feature(enable = "aes")]
    pub(super) fn new(key: u128) -> Self {
        let mut rounds = [[0; 2]; 11];
        let mut round = _mm_set_epi64x((key >> 64) as i64, key as i64);
        let mut made = 0;
        let mut keep = |round: __m128i| {
            rounds[made] =
                [_mm_cvtsi128_si64(round) as u64, _mm_cvtsi128_si64(_mm_unpackhi_epi64(round, round)) as u64];
            made += 1;
        };
        keep(round);
        macro_rules! expand {
            ($($constant:literal)*) => {$(
                round = next_round(round, _mm_aeskeygenassist_si128::<$constant>(round));
                keep(round);
            )*};
        }
        expand!(0x01 0x02 0x04 0x08 0x10 0x20 0x40 0x80 0x1b 0x36);
        Self(rounds)
    }
}

/// Each word of a round's key is the word before, plus the word of the round before.
#[target_feature(enable = "aes")]
fn next_round(round: __m128i, assist: __m128i) -> __m128i {
    let sums = _mm_xor_si128(round, _mm_slli_si128::<4>(round));
    let sums = _mm_xor_si128(sums, _mm_slli_si128::<8>(sums));
    _mm_xor_si128(sums, _mm_shuffle_epi32::<0xff>(assist))
}

/// Writes the sums of the blocks of `size` tokens from `position` on, as many as `out` has room for; gives the last.
#[target_feature(enable = "aes,avx512f,vaes,vpclmulqdq")]
pub(super) fn run(
    (words, size): (&[Line], usize),
    rounds: &Rounds,
    (parent, position): (u64, u64),
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    // Sizes that compilers know beforehand cost no loops.
    match size {
        16 => sums::<16>((words, 16), rounds, (parent, position), tokens, out),
        32 => sums::<32>((words, 32), rounds, (parent, position), tokens, out),
        64 => sums::<64>((words, 64), rounds, (parent, position), tokens, out),
        _ => sums::<0>((words, size), rounds, (parent, position), tokens, out),
    }
}

/// `SIZE` is the size of blocks, or 0 for any.
#[target_feature(enable = "aes,avx512f,vaes,vpclmulqdq")]
fn sums<const SIZE: usize>(
    (words, size): (&[Line], usize),
    Rounds(rounds): &Rounds,
    (parent, position): (u64, u64),
    tokens: &[TokenId],
    out: &mut [MaybeUninit<BlockHash>],
) -> u64 {
    let size = if SIZE == 0 { size } else { SIZE };
    let words = &words[..size.div_ceil(LINE)];
    let rounds = rounds.map(|[low, high]| _mm512_broadcast_i32x4(_mm_set_epi64x(high as i64, low as i64)));
    let place = |ahead: u64| position.wrapping_add(ahead) as i64;
    // A position in the low half of each quarter. Only the low half counts on, as the portable form does.
    let mut first = _mm512_setr_epi64(place(0), 0, place(1), 0, place(2), 0, place(3), 0);
    let four = _mm512_setr_epi64(4, 0, 4, 0, 4, 0, 4, 0);
    let mut before = _mm512_set1_epi64(parent as i64);

    let (groups, last) = out.as_chunks_mut::<8>();
    let (whole, tail) = tokens.split_at(groups.len() * 8 * size);
    for (group, tokens) in groups.iter_mut().zip(whole.chunks_exact(8 * size)) {
        let product = |block: usize| products::<SIZE>(words, &tokens[block * size..][..size]);
        let products = [0, 1, 2, 3, 4, 5, 6, 7].map(product);
        let second = _mm512_add_epi64(first, four);
        let sums = up_to_each(terms(&rounds, [first, second], products));
        store(group, _mm512_xor_si512(sums, before));
        before = _mm512_xor_si512(before, _mm512_permutexvar_epi64(_mm512_set1_epi64(7), sums));
        first = _mm512_add_epi64(second, four);
    }
    if !last.is_empty() {
        let mut products_ = [_mm512_setzero_si512(); 8];
        for (product, block) in products_.iter_mut().zip(tail.chunks_exact(size)) {
            *product = products::<SIZE>(words, block);
        }
        let second = _mm512_add_epi64(first, four);
        let sums = up_to_each(terms(&rounds, [first, second], products_));
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
        let keyed = _mm512_xor_si512(load(tokens), load_keys(keys));
        sum = _mm512_xor_si512(sum, multiply(keyed));
    }
    if SIZE == 0
        && let (false, Some(keys)) = (rest.is_empty(), words.get(lines.len()))
    {
        let keyed = _mm512_xor_si512(load_part(rest), load_keys(keys));
        sum = _mm512_xor_si512(sum, multiply(keyed));
    }
    sum
}

/// The terms of eight blocks: `positions` has those of the first four and of the last four.
#[inline]
#[target_feature(enable = "avx512f,vaes,vpclmulqdq")]
fn terms(rounds: &[__m512i; 11], positions: [__m512i; 2], products: [__m512i; 8]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = products;
    let one = multiply(keyed(rounds, positions[0], by_block([a, b, c, d])));
    let other = multiply(keyed(rounds, positions[1], by_block([e, f, g, h])));
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

/// Adds to `sums` the keys of their positions. The last round adds a key, and what is keyed along with it.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn keyed(rounds: &[__m512i; 11], positions: __m512i, sums: __m512i) -> __m512i {
    let [begin, between @ .., end] = rounds;
    let mut state = _mm512_xor_si512(positions, *begin);
    for round in between {
        state = _mm512_aesenc_epi128(state, *round);
    }
    _mm512_aesenclast_epi128(state, _mm512_xor_si512(*end, sums))
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
fn load_keys(keys: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes and stands at a multiple of 64.
    unsafe { _mm512_load_si512(std::ptr::from_ref(keys).cast()) }
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
