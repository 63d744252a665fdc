//! What the elements of a buffer are, from the format strings of Python's `struct`.

use std::ffi::CStr;

/// The elements of a buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Elements {
    /// Bytes.
    Bytes,
    /// Integers with a sign, of this many bytes.
    Signed(usize),
    /// Integers without a sign, of this many bytes.
    Unsigned(usize),
}

impl Elements {
    /// What `format` says about elements of `size` bytes. `None` for what is no integer of this machine.
    pub(super) fn parse(format: &CStr, size: usize) -> Option<Self> {
        let kind = match format.to_bytes() {
            [kind] | [b'@' | b'=', kind] => *kind,
            [b'<', kind] if cfg!(target_endian = "little") => *kind,
            [b'>' | b'!', kind] if cfg!(target_endian = "big") => *kind,
            _ => return None,
        };
        match (kind, size) {
            (b'B' | b'b' | b'c', 1) => Some(Self::Bytes),
            (b'h' | b'i' | b'l' | b'q' | b'n', 2 | 4 | 8) => Some(Self::Signed(size)),
            (b'H' | b'I' | b'L' | b'Q' | b'N', 2 | 4 | 8) => Some(Self::Unsigned(size)),
            _ => None,
        }
    }
}
