//! What only the system can say: how long a thread has worked, how much memory the process takes. Linux with glibc.

#![expect(unsafe_code, reason = "clocks of threads and the allocator's settings are calls into the C library")]

use std::mem::MaybeUninit;
use std::time::Duration;

use libc::{CLOCK_THREAD_CPUTIME_ID, c_int, clockid_t};

/// How long a thread has worked. Valid while the thread lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock(clockid_t);

impl ThreadClock {
    /// The clock of the thread that calls, for others to read.
    pub(crate) fn of_this_thread() -> Self {
        let mut clock = CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: the thread is the one that calls, and `clock` is a place to write to.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(failed, 0, "a running thread has a clock");
        Self(clock)
    }

    pub(crate) fn read(self) -> Duration {
        let mut time = MaybeUninit::<libc::timespec>::zeroed();
        // SAFETY: `time` is a place to write a timespec to.
        let failed = unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) };
        assert_eq!(failed, 0, "the thread of the clock lives");
        // SAFETY: zeroed is a timespec, and the call succeeded.
        let time = unsafe { time.assume_init() };
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
    }
}

/// How long the thread that calls has worked.
pub(crate) fn thread_time() -> Duration {
    ThreadClock(CLOCK_THREAD_CPUTIME_ID).read()
}

/// How long `work` keeps this thread busy.
pub(crate) fn worked<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = thread_time();
    let answer = work();
    (answer, thread_time() - began)
}

/// Keeps freed memory in the process, so that no timed part pays for giving it back and taking it again.
pub(crate) fn keep_freed_memory() {
    let settings =
        [(libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, c_int::MAX), (libc::M_TOP_PAD, 1 << 26)];
    for (setting, value) in settings {
        // SAFETY: the allocator takes these settings at any time.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Bytes of memory that the process takes, after what is free was given back.
pub(crate) fn resident_bytes() -> usize {
    // SAFETY: the allocator gives back what is free at any time.
    unsafe { libc::malloc_trim(0) };
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: it only says a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * usize::try_from(page).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_has_worked() {
        let (sum, took) = worked(|| (0..2_000_000_u64).map(std::hint::black_box).sum::<u64>());
        assert_eq!(sum, 1_999_999_000_000);
        assert!(took > Duration::ZERO);
    }

    #[test]
    fn memory_that_is_written_to_is_resident() {
        let before = resident_bytes();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() >= before + held.len() / 2);
    }
}
