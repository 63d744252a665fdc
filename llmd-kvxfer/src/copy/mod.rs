//! Copies from memory to memory, and the sum of what was copied, taken in the same pass.

#![expect(
    unsafe_code,
    reason = "what is copied may be written meanwhile by who owns it: by pointer, never by reference"
)]

mod blocks;
mod packed;
mod pulled;
mod sum;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use self::blocks::{Copying, Expected, Origin, Readable, sum_of, takes};
pub(crate) use self::packed::{Packed, Renamed, Span, copy_span, fill, pack, places};
pub(crate) use self::sum::Sum;

/// Whether what is written goes around the caches. What is much is not read soon, and what it would push out is needed now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stores {
    /// Into the caches.
    Cached,
    /// Around them, where a run is long enough; others see it after [`settle`].
    Around,
}

/// From how many bytes on a run goes around the caches, where it may.
const LONG: usize = 1 << 10;

/// Waits until what went around the caches is there for others to see.
pub(crate) fn settle() {
    #[cfg(target_arch = "x86_64")]
    x86::settle();
}

/// Says that this is read next.
pub(crate) fn prefetch(from: *const u8) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(from);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Copies `len` bytes.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `len` bytes, and the two must not overlap. What is read may be changed by others
/// meanwhile; then what is written is neither before nor after, and whoever reads it must know by other means.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize, stores: Stores) {
    #[cfg(target_arch = "x86_64")]
    if stores == Stores::Around && len >= LONG {
        // SAFETY: the caller's word is the same.
        unsafe { x86::stream(from, to, len) };
        return;
    }
    // SAFETY: the caller's word is the same.
    unsafe { to.copy_from_nonoverlapping(from, len) };
}

/// The same, and adds the bytes to `sum`: those that were written, whatever happened to the others meanwhile.
///
/// # Safety
///
/// As for [`copy`].
pub(crate) unsafe fn copy_summed(from: *const u8, to: *mut u8, len: usize, stores: Stores, sum: &mut Sum) {
    #[cfg(target_arch = "x86_64")]
    if x86::has_wide_sums() && len >= x86::STRIDE {
        // SAFETY: the caller's word is the same, and the processor was asked.
        unsafe { x86::copy_summed(from, to, len, stores == Stores::Around && len >= LONG, sum) };
        return;
    }
    for start in (0..len).step_by(PIECE) {
        let len = PIECE.min(len - start);
        // SAFETY: `start + len` is not beyond what the caller says is there. What was written is this call's alone.
        let written = unsafe {
            to.add(start).copy_from_nonoverlapping(from.add(start), len);
            std::slice::from_raw_parts(to.add(start), len)
        };
        sum.add(written);
    }
}

/// Bytes that are still in the first cache when they are summed.
const PIECE: usize = 8 << 10;

/// Adds `len` bytes of memory to `sum`.
///
/// # Safety
///
/// `from` must be readable for `len` bytes. They may be changed by others meanwhile; then the sum is of neither.
pub(crate) unsafe fn add_memory(from: *const u8, len: usize, sum: &mut Sum) {
    #[cfg(target_arch = "x86_64")]
    if x86::has_wide_sums() && len >= x86::STRIDE {
        // SAFETY: the caller's word is the same, and the processor was asked.
        unsafe { x86::summed(from, len, sum) };
        return;
    }
    let mut piece = [0_u8; 1024];
    for start in (0..len).step_by(piece.len()) {
        let len = piece.len().min(len - start);
        // SAFETY: `start + len` is not beyond what the caller says is there, and `piece` has room for `len`.
        unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(from.add(start), len) };
        sum.add(&piece[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn plain(bytes: &[u8]) -> u64 {
        let mut sum = Sum::default();
        sum.add(bytes);
        sum.value()
    }

    #[test]
    fn the_sum_is_crc_64_nvme() {
        assert_eq!(plain(b"123456789"), 0xae8b_1486_0a79_9888, "the check value of its definition");
    }

    /// From how far off a line, to how far off one, and whether around the caches.
    const WAYS: [(usize, usize, Stores); 7] = [
        (0, 0, Stores::Cached),
        (1, 0, Stores::Cached),
        (3, 61, Stores::Cached),
        (0, 0, Stores::Around),
        (0, 1, Stores::Around),
        (3, 61, Stores::Around),
        (64, 32, Stores::Around),
    ];

    /// All lengths around the widths that are handled apart, from and to places that are aligned and not.
    #[test]
    fn every_way_to_copy_gives_the_same_bytes_and_the_same_sum() {
        let source = bytes(48 << 10, 7);
        let lengths = [0, 1, 7, 63, 64, 65, 255, 256, 257, 511, 512, 1000, 4096, 5000, 16_383, 16_384, 16_385, 40_000];
        for len in lengths {
            for (from, to, stores) in WAYS {
                let part = &source[from..from + len];
                let mut copied = vec![0xee; len + 128];
                // SAFETY: both are long enough.
                unsafe { copy(part.as_ptr(), copied.as_mut_ptr().add(to), len, stores) };
                settle();
                assert_eq!(&copied[to..to + len], part, "{len} bytes from {from} to {to}");
                assert!(copied[..to].iter().chain(&copied[to + len..]).all(|&byte| byte == 0xee), "nothing beside it");

                let mut copied = vec![0xee; len + 128];
                let (mut sum, mut read) = (Sum::default(), Sum::default());
                // SAFETY: both are long enough.
                unsafe {
                    copy_summed(part.as_ptr(), copied.as_mut_ptr().add(to), len, stores, &mut sum);
                    add_memory(part.as_ptr(), len, &mut read);
                }
                assert_eq!(&copied[to..to + len], part, "{len} bytes from {from} to {to}, summed");
                assert!(copied[..to].iter().chain(&copied[to + len..]).all(|&byte| byte == 0xee), "nothing beside it");
                assert_eq!((sum.value(), read.value()), (plain(part), plain(part)), "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn a_sum_may_be_taken_in_parts() {
        let source = bytes(20_000, 3);
        let mut sum = Sum::default();
        for part in source.chunks(1777) {
            let mut copied = vec![0; part.len()];
            // SAFETY: both are as long.
            unsafe { copy_summed(part.as_ptr(), copied.as_mut_ptr(), part.len(), Stores::Cached, &mut sum) };
        }
        assert_eq!(sum.value(), plain(&source));
    }
}
