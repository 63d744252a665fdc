//! Stores that go around the caches, and sums folded while bytes pass, on x86-64.

#![expect(unsafe_code, reason = "vectors are read from and written to memory by pointer")]

use std::arch::x86_64::*;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Sum;

/// Bytes of one round: four vectors of 64.
pub(super) const STRIDE: usize = 256;
const LINE: usize = 64;

/// Whether 64 bytes at a time can be multiplied without carry.
pub(super) fn has_wide_sums() -> bool {
    // What the library remembers takes several loads and tests.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vpclmulqdq");
            KNOWN.store(1 + u8::from(has), Ordering::Relaxed);
            has
        }
        known => known == 2,
    }
}

/// Has the processor fetch the beginning of what is read next.
pub(super) fn prefetch(from: *const u8) {
    for line in 0..PREFETCHED {
        // SAFETY: it only says what may be read soon, and no address is wrong for that.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line * LINE).cast()) };
    }
}

/// How many lines are fetched ahead: from then on the processor guesses right by itself.
const PREFETCHED: usize = 8;

/// Waits until what went around the caches is there for others to see.
pub(super) fn settle() {
    // SAFETY: every processor of this architecture has it.
    unsafe { _mm_sfence() };
}

/// Copies with stores that go around the caches; others see them after [`settle`].
///
/// # Safety
///
/// `from` must be readable and `to` writable for `len` bytes, and the two must not overlap.
pub(super) unsafe fn stream(from: *const u8, to: *mut u8, len: usize) {
    let head = to.align_offset(LINE).min(len);
    let rounds = (len - head) / STRIDE;
    let tail = head + rounds * STRIDE;
    // SAFETY: head, rounds and tail are parts of `len`, of which the caller says that they are there; after the head `to` is
    // aligned for the stores; the processor was asked what it has.
    unsafe {
        to.copy_from_nonoverlapping(from, head);
        if has_wide_sums() {
            stream_512(from.add(head), to.add(head), rounds);
        } else {
            stream_128(from.add(head), to.add(head), rounds);
        }
        to.add(tail).copy_from_nonoverlapping(from.add(tail), len - tail);
    }
}

/// Copies and sums, with stores that go around the caches or into them.
///
/// # Safety
///
/// As for [`stream`]; and [`has_wide_sums`] must have said yes, and `len` must be at least [`STRIDE`].
pub(super) unsafe fn copy_summed(from: *const u8, to: *mut u8, len: usize, streams: bool, sum: &mut Sum) {
    let head = if streams { to.align_offset(LINE) } else { 0 };
    let rounds = (len - head) / STRIDE;
    let tail = head + rounds * STRIDE;
    // SAFETY: head, rounds and tail are parts of `len`, of which the caller says that they are there; where stores go around the
    // caches, `to` is aligned after the head. What was written is this call's alone.
    unsafe {
        small(from, to, head, sum);
        if streams {
            fold::<{ TO_MEMORY }>(from.add(head), to.add(head), rounds, sum);
        } else {
            fold::<{ TO_CACHE }>(from.add(head), to.add(head), rounds, sum);
        }
        small(from.add(tail), to.add(tail), len - tail, sum);
    }
}

/// Sums without copying.
///
/// # Safety
///
/// `from` must be readable for `len` bytes; and as for [`stream_summed`].
pub(super) unsafe fn summed(from: *const u8, len: usize, sum: &mut Sum) {
    let rounds = len / STRIDE;
    let mut tail = [0; STRIDE];
    let rest = len - rounds * STRIDE;
    // SAFETY: rounds and the rest are parts of `len`, of which the caller says that they are there. Nothing is written but `tail`,
    // which has room for the rest.
    unsafe {
        fold::<{ NOWHERE }>(from, std::ptr::null_mut(), rounds, sum);
        tail.as_mut_ptr().copy_from_nonoverlapping(from.add(rounds * STRIDE), rest);
    }
    sum.add(&tail[..rest]);
}

/// Copies less than a round, and sums what was written.
///
/// # Safety
///
/// As for [`stream`].
unsafe fn small(from: *const u8, to: *mut u8, len: usize, sum: &mut Sum) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller's word is the same; what was written is this call's alone.
    let written = unsafe {
        to.copy_from_nonoverlapping(from, len);
        std::slice::from_raw_parts(to, len)
    };
    sum.add(written);
}

const NOWHERE: u8 = 0;
const TO_CACHE: u8 = 1;
const TO_MEMORY: u8 = 2;

/// Folds `rounds` rounds of bytes onto the sum's register, and stores them on the way.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `rounds` rounds, unless nothing is stored; `to` must be aligned to a line where
/// stores go around the caches.
#[target_feature(enable = "avx512f,vpclmulqdq")]
unsafe fn fold<const STORES: u8>(from: *const u8, to: *mut u8, rounds: usize, sum: &mut Sum) {
    if rounds == 0 {
        return;
    }
    let keys = _mm512_broadcast_i32x4(_mm_set_epi64x(KEYS[1] as i64, KEYS[0] as i64));
    let start = _mm512_zextsi128_si512(_mm_set_epi64x(0, sum.register() as i64));
    let mut lanes = [start, _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()];
    for round in 0..rounds {
        let (from, to) = (from.wrapping_add(round * STRIDE), to.wrapping_add(round * STRIDE));
        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 2 * LINE).cast());
        for (place, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: the caller says that this round is there to be read.
            let bytes = unsafe { _mm512_loadu_si512(from.add(place * LINE).cast()) };
            match STORES {
                // SAFETY: the caller says that this round is there to be written.
                TO_CACHE => unsafe { _mm512_storeu_si512(to.add(place * LINE).cast(), bytes) },
                // SAFETY: and that it is aligned.
                TO_MEMORY => unsafe { _mm512_stream_si512(to.add(place * LINE).cast(), bytes) },
                _ => {}
            }
            let folded = if round == 0 { *lane } else { folded(*lane, keys) };
            *lane = _mm512_xor_si512(folded, bytes);
        }
    }
    let mut rest = [0_u8; STRIDE];
    for (place, lane) in lanes.into_iter().enumerate() {
        // SAFETY: `rest` has room for four lanes.
        unsafe { _mm512_storeu_si512(rest.as_mut_ptr().add(place * LINE).cast(), lane) };
    }
    sum.resume(&rest);
}

/// How far ahead of what is read the memory is asked for: within a block pages follow each other, and the processor's own guess
/// ends at each.
const AHEAD: usize = 4 * STRIDE;

/// Each 16 bytes moved on by one round: the polynomial that they are, times x to the power of 2,048, but for its multiples.
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn folded(lane: __m512i, keys: __m512i) -> __m512i {
    let first = _mm512_clmulepi64_epi128::<0x00>(lane, keys);
    let second = _mm512_clmulepi64_epi128::<0x11>(lane, keys);
    _mm512_xor_si512(first, second)
}

/// What the first and the second 8 bytes of 16 are multiplied with to stand a round further on. Both are one power less, since the
/// product of two reversed numbers stands one bit off.
const KEYS: [u64; 2] = [power(STRIDE * 8 + 64 - 1), power(STRIDE * 8 - 1)];

/// x to this power, modulo CRC-64/NVME's polynomial, its bits in reverse as bytes from memory have them.
const fn power(exponent: usize) -> u64 {
    const REVERSED: u64 = 0x9a6c_9329_ac4b_c9b5;
    let mut value = 1 << 63;
    let mut left = exponent;
    while left > 0 {
        value = (value >> 1) ^ if value & 1 == 1 { REVERSED } else { 0 };
        left -= 1;
    }
    value
}

#[target_feature(enable = "avx512f")]
unsafe fn stream_512(from: *const u8, to: *mut u8, rounds: usize) {
    for round in 0..rounds {
        let (from, to) = (from.wrapping_add(round * STRIDE), to.wrapping_add(round * STRIDE));
        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 2 * LINE).cast());
        // SAFETY: the caller says that this round is there on both sides, and aligned where it is written.
        unsafe {
            let lanes: [__m512i; 4] = std::array::from_fn(|place| _mm512_loadu_si512(from.add(place * LINE).cast()));
            for (place, lane) in lanes.into_iter().enumerate() {
                _mm512_stream_si512(to.add(place * LINE).cast(), lane);
            }
        }
    }
}

#[target_feature(enable = "sse2")]
unsafe fn stream_128(from: *const u8, to: *mut u8, rounds: usize) {
    for round in 0..rounds * (STRIDE / 16) {
        // SAFETY: the caller says that these rounds are there on both sides, and aligned where they are written.
        unsafe { _mm_stream_si128(to.add(round * 16).cast(), _mm_loadu_si128(from.add(round * 16).cast())) };
    }
}
