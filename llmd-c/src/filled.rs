//! What goes out into an array of the caller's.
#![expect(unsafe_code, reason = "the array is written through its pointer")]

use llmd_core::{Error, ErrorKind, Result};

use crate::boundary::{invalid, null};

/// Writes `items` to `out`, which has room for `*len` of them, and sets `*len` to how many there are.
///
/// # Errors
///
/// [`ErrorKind::Exhausted`] when there is no room for all; nothing is written then but `*len`.
/// [`ErrorKind::Invalid`] when `len` is NULL, or `out` is NULL or at an address that no item can have, and should hold
/// some.
///
/// # Safety
///
/// `out` is NULL, or may be written to for `*len` items.
pub(crate) unsafe fn fill<T>(
    out: *mut T,
    len: Option<&mut usize>,
    items: impl ExactSizeIterator<Item = T>,
    name: &str,
) -> Result<()> {
    let Some(len) = len else {
        return Err(null(&format!("the length of {name}")));
    };
    let (room, needed) = (*len, items.len());
    *len = needed;
    if needed > room {
        let message = format!("{name} has room for {room}, expected {needed} or more");
        return Err(Error::new(ErrorKind::Exhausted, message));
    }
    if needed > 0 && (out.is_null() || !out.is_aligned()) {
        return Err(invalid(format!("{name} is at {out:p}, expected room for {needed}")));
    }
    for (place, item) in items.take(needed).enumerate() {
        // SAFETY: `place` is below `needed`, which is not above `room`, for which the caller vouches.
        unsafe { out.add(place).write(item) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn too_little_room_is_answered_with_how_much_there_must_be() {
        let (mut out, mut len) = ([0_u32; 3], 2);

        // SAFETY: there is room for three.
        let refused = unsafe { fill(out.as_mut_ptr(), Some(&mut len), [7, 8, 9].into_iter(), "overlaps") }.unwrap_err();
        assert_eq!(refused.to_string(), "overlaps has room for 2, expected 3 or more");
        assert_eq!((len, out), (3, [0; 3]));

        // SAFETY: as above.
        unsafe { fill(out.as_mut_ptr(), Some(&mut len), [7, 8, 9].into_iter(), "overlaps") }.unwrap();
        assert_eq!((len, out), (3, [7, 8, 9]));
    }

    #[test]
    fn nothing_needs_no_room() {
        let mut len = 0;

        // SAFETY: nothing is written to NULL.
        unsafe {
            fill(ptr::null_mut::<u32>(), Some(&mut len), [].into_iter(), "overlaps").unwrap();
            let mut len = 5;
            assert!(fill(ptr::null_mut::<u32>(), Some(&mut len), [1].into_iter(), "overlaps").is_err());
            assert!(fill(ptr::null_mut::<u32>(), None, [1].into_iter(), "overlaps").is_err());
        }
    }
}
