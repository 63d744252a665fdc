//! Blocks copied from one mapping to another: with the library's `memcpy`, or past the caches.

#![expect(unsafe_code, reason = "blocks of another process's memory are copied by address")]

use std::ptr;

use crate::memory::Memory;

/// How a block is copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Memcpy,
    /// With stores that go past the caches.
    NonTemporal,
}

/// Copies block `theirs[n]` of `from` to block `mine[n]` of `to`, for all `n`.
///
/// # Safety
///
/// Nobody writes to the blocks of `from`, nobody else reads or writes those of `to`, and the two are not the same memory.
pub(super) unsafe fn blocks(from: &Memory, to: &Memory, theirs: &[u32], mine: &[u32], size: usize, how: How) {
    for (&theirs, &mine) in theirs.iter().zip(mine) {
        let (from, to) = (from.block(theirs, size), to.block(mine, size));
        match how {
            // SAFETY: both blocks were found to lie inside, and the caller has them to itself.
            How::Memcpy => unsafe { ptr::copy_nonoverlapping(from, to, size) },
            // SAFETY: the same.
            How::NonTemporal => unsafe { past_the_caches(from, to, size) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn past_the_caches(from: *const u8, to: *mut u8, size: usize) {
    if size.is_multiple_of(256) && (to as usize).is_multiple_of(64) && (from as usize).is_multiple_of(64) {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it, and both were found to be aligned and a multiple of 256 bytes long.
            return unsafe { avx512(from, to, size) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the same.
            return unsafe { avx2(from, to, size) };
        }
    }
    // SAFETY: the caller has both for itself.
    unsafe { ptr::copy_nonoverlapping(from, to, size) };
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn past_the_caches(from: *const u8, to: *mut u8, size: usize) {
    // SAFETY: the caller has both for itself.
    unsafe { ptr::copy_nonoverlapping(from, to, size) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(from: *const u8, to: *mut u8, size: usize) {
    use std::arch::x86_64::{__m512i, _MM_HINT_NTA, _mm_prefetch, _mm_sfence, _mm512_load_si512, _mm512_stream_si512};
    for at in (0..size).step_by(256) {
        // SAFETY: `at` and the 255 bytes after it lie in both blocks, which are aligned; a prefetch may be of any address.
        unsafe {
            let (from, to) = (from.add(at).cast::<__m512i>(), to.add(at).cast::<__m512i>());
            // Written out: a closure would not be compiled for the same processor.
            let four = [
                _mm512_load_si512(from),
                _mm512_load_si512(from.add(1)),
                _mm512_load_si512(from.add(2)),
                _mm512_load_si512(from.add(3)),
            ];
            _mm_prefetch::<_MM_HINT_NTA>(from.wrapping_add(16).cast());
            _mm_prefetch::<_MM_HINT_NTA>(from.wrapping_add(18).cast());
            for (n, word) in four.into_iter().enumerate() {
                _mm512_stream_si512(to.add(n), word);
            }
        }
    }
    _mm_sfence();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(from: *const u8, to: *mut u8, size: usize) {
    use std::arch::x86_64::{__m256i, _mm_sfence, _mm256_load_si256, _mm256_stream_si256};
    for at in (0..size).step_by(128) {
        // SAFETY: `at` and the 127 bytes after it lie in both blocks, which are aligned.
        unsafe {
            let (from, to) = (from.add(at).cast::<__m256i>(), to.add(at).cast::<__m256i>());
            let four = [
                _mm256_load_si256(from),
                _mm256_load_si256(from.add(1)),
                _mm256_load_si256(from.add(2)),
                _mm256_load_si256(from.add(3)),
            ];
            for (n, word) in four.into_iter().enumerate() {
                _mm256_stream_si256(to.add(n), word);
            }
        }
    }
    _mm_sfence();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::word;

    #[test]
    fn every_way_copies_the_blocks_that_were_named_and_no_others() {
        for how in [How::Memcpy, How::NonTemporal] {
            for size in [64, 4096, 65536] {
                let from = Memory::filled(1 << 20).unwrap();
                let mut to = Memory::create(1 << 20).unwrap();

                // SAFETY: both are of this test alone.
                unsafe { blocks(&from, &to, &[3, 0], &[1, 5], size, how) };

                let words = size / 8;
                for (place, found) in to.words_mut().iter().enumerate() {
                    let expected = match place / words {
                        1 => word(3 * words + place % words),
                        5 => word(place % words),
                        _ => 0,
                    };
                    assert_eq!(*found, expected, "{how:?}, {size} bytes, place {place}");
                }
            }
        }
    }
}
