//! Structs that may grow: each begins with its size, so that callers and library of different versions understand one
//! another.
#![expect(unsafe_code, reason = "a struct is read as far as its caller knows it")]

use std::mem::MaybeUninit;
use std::ptr;

use llmd_core::Result;

use crate::boundary::{invalid, null};

/// A struct that begins with `struct_size: usize`.
pub(crate) trait Sizes: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Every size that it ever had, ascending; the last is that of now.
    const SIZES: &'static [usize];
}

/// A struct that callers fill in. Every field means its default when it is 0 or NULL.
///
/// # Safety
///
/// It is `repr(C)`, begins with `struct_size: usize`, and any bytes make a valid one: numbers and raw pointers only.
pub(crate) unsafe trait Settings: Sizes {}

/// What stands at `given`; what an older caller does not know is 0.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for NULL and for a size that the struct never had.
///
/// # Safety
///
/// `given` is NULL, or points to a struct whose first field says how many bytes of it there are.
pub(crate) unsafe fn settings<T: Settings>(given: *const T) -> Result<T> {
    if given.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: a struct begins with its size, wherever it lies.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    check::<T>(size)?;
    let mut known = MaybeUninit::<T>::zeroed();
    // SAFETY: by the caller's promise there are `size` bytes, and `check` saw that they fit; zeroes and any other bytes
    // make a valid struct, by `Settings`.
    unsafe {
        ptr::copy_nonoverlapping(given.cast::<u8>(), known.as_mut_ptr().cast::<u8>(), size);
        Ok(known.assume_init())
    }
}

/// Writes `answer` to `out`, as far as the caller knows it. The caller has set `struct_size`.
///
/// # Errors
///
/// As for [`settings`], and when there is no answer; nothing is written then.
///
/// # Safety
///
/// `out` is NULL, or points to a struct whose first field says how many bytes may be written.
pub(crate) unsafe fn answer<T: Sizes>(out: *mut T, answer: impl FnOnce(usize) -> Result<T>) -> Result<()> {
    if out.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: a struct begins with its size, wherever it lies.
    let size = unsafe { out.cast::<usize>().read_unaligned() };
    check::<T>(size)?;
    let answer = answer(size)?;
    // SAFETY: by the caller's promise there are `size` bytes, and `check` saw that `answer` has as many.
    unsafe { ptr::copy_nonoverlapping((&raw const answer).cast::<u8>(), out.cast::<u8>(), size) };
    Ok(())
}

fn check<T: Sizes>(size: usize) -> Result<()> {
    if T::SIZES.contains(&size) {
        return Ok(());
    }
    let known: Vec<_> = T::SIZES.iter().map(ToString::to_string).collect();
    Err(invalid(format!("{}: struct_size is {size}, expected {}", T::NAME, known.join(" or "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Now {
        struct_size: usize,
        old: u64,
        new: u64,
    }

    impl Sizes for Now {
        const NAME: &'static str = "now";
        const SIZES: &'static [usize] = &[size_of::<usize>() + 8, size_of::<Self>()];
    }

    // SAFETY: three numbers.
    unsafe impl Settings for Now {}

    #[test]
    fn what_an_older_caller_does_not_know_has_its_default_and_is_not_written() {
        let mut older = Now { struct_size: size_of::<usize>() + 8, old: 1, new: 99 };

        // SAFETY: the struct is longer than it says.
        let read = unsafe { settings(&raw const older) }.unwrap();
        assert_eq!((read.old, read.new), (1, 0));

        // SAFETY: as above.
        unsafe { answer(&raw mut older, |struct_size| Ok(Now { struct_size, old: 7, new: 8 })) }.unwrap();
        assert_eq!((older.old, older.new), (7, 99));
    }

    #[test]
    fn a_size_that_it_never_had_is_named_with_those_that_it_had() {
        for struct_size in [0, 1, size_of::<Now>() + 8] {
            let wrong = Now { struct_size, old: 0, new: 0 };
            // SAFETY: nothing behind the size is read.
            let said = unsafe { settings(&raw const wrong) }.unwrap_err().to_string();
            let known = format!("{} or {}", size_of::<usize>() + 8, size_of::<Now>());
            assert_eq!(said, format!("now: struct_size is {struct_size}, expected {known}"));
        }
    }
}
