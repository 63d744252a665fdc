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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_and_spelled_out_orders_are_one() {
        let native = if cfg!(target_endian = "little") { c"<I" } else { c">I" };
        for format in [c"I", c"@I", c"=I", native] {
            assert_eq!(Elements::parse(format, 4), Some(Elements::Unsigned(4)));
        }
        assert_eq!(Elements::parse(c"l", 8), Some(Elements::Signed(8)));
        assert_eq!(Elements::parse(c"c", 1), Some(Elements::Bytes));
    }

    #[test]
    fn other_orders_and_other_elements_are_none() {
        let foreign = if cfg!(target_endian = "little") { c">I" } else { c"<I" };
        for (format, size) in [(foreign, 4), (c"f", 4), (c"?", 1), (c"II", 8), (c"", 4), (c"I", 1)] {
            assert_eq!(Elements::parse(format, size), None, "{format:?}");
        }
    }
}
