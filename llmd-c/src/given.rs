//! What comes in by pointer: strings and arrays that the caller owns.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use std::ffi::{CStr, c_char};
use std::slice;

use llmd_core::Result;

use crate::boundary::{invalid, null};

/// The text at `pointer`; `name` says which one it is.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for NULL, and for bytes that are not UTF-8.
///
/// # Safety
///
/// `pointer` is NULL, or points to a string that ends with NUL and stays as it is for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise is the same.
    unsafe { text_or_null(pointer, name) }?.ok_or_else(|| null(name))
}

/// The same; `None` for NULL.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn text_or_null<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not NULL, and so by the caller's promise a string that stays as it is for `'a`.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map(Some).map_err(|error| {
        let at = error.valid_up_to();
        invalid(format!("{name}: byte {at} is {:#04x}, expected UTF-8", bytes.to_bytes()[at]))
    })
}

/// The `len` texts at `data`.
///
/// # Errors
///
/// As for [`items`] and [`text`].
///
/// # Safety
///
/// As for [`items`], and as for [`text`] for each.
pub(crate) unsafe fn texts<'a>(data: *const *const c_char, len: usize, name: &str) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise is the same.
    let pointers = unsafe { items(data, len, name) }?;
    // SAFETY: as above.
    let text = |(place, &pointer)| unsafe { text(pointer, &format!("{name}[{place}]")) };
    pointers.iter().enumerate().map(text).collect()
}

/// The `len` items at `data`, which is not looked at when there are none.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) for NULL, an address that no item can have, and a length that no
/// memory has.
///
/// # Safety
///
/// `data` is NULL, or points to `len` items that stay as they are for `'a`.
pub(crate) unsafe fn items<'a, T>(data: *const T, len: usize, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(invalid(format!("{name} is NULL, expected {len} of them")));
    }
    if !data.is_aligned() {
        return Err(invalid(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(invalid(format!("{name}: {len} of them, more than fit into memory")));
    }
    // SAFETY: the caller promises the items; NULL, a bad address and an impossible length were answered above.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn text_that_is_not_utf8_is_named_by_its_byte() {
        // SAFETY: literals.
        let said = unsafe { text(c"pod-\xff".as_ptr(), "worker") }.unwrap_err().to_string();
        assert_eq!(said, "worker: byte 4 is 0xff, expected UTF-8");

        // SAFETY: as above, and NULL.
        let (good, null) = unsafe { (text(c"pod-é".as_ptr(), "worker"), text(ptr::null(), "worker")) };
        assert_eq!(good.unwrap(), "pod-é");
        assert_eq!(null.unwrap_err().to_string(), "worker is NULL");
    }

    #[test]
    fn no_items_may_lie_nowhere_and_items_may_not() {
        let (nothing, odd) = (ptr::null::<u32>(), ptr::without_provenance::<u32>(6));

        // SAFETY: NULL is allowed; the other addresses are refused before they are read.
        unsafe {
            assert!(items(nothing, 0, "tokens").unwrap().is_empty());
            assert_eq!(items(nothing, 3, "tokens").unwrap_err().to_string(), "tokens is NULL, expected 3 of them");
            assert_eq!(items(odd, 3, "tokens").unwrap_err().to_string(), "tokens is not aligned to 4 bytes");
            assert!(items(&raw const nothing, usize::MAX, "tokens").is_err());
        }
    }
}
