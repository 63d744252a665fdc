//! Bytes as they go between agents: numbers without a fixed width, and nothing longer than it may be.

use llmd_core::{Error, ErrorKind, Result};

/// Writes what [`Reader`] reads.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Seven bits at a time, the lowest first; the highest bit of a byte says that more follow.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Small ones in few bytes, whatever their sign.
    pub(crate) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Their number first.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Each by how much it differs from the one before.
    pub(crate) fn blocks(&mut self, blocks: &[u32]) {
        self.number(blocks.len() as u64);
        let mut last = -1;
        for &block in blocks {
            self.signed(i64::from(block) - last - 1);
            last = block.into();
        }
    }
}

/// Reads bytes from a peer, none of which are believed.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
    /// What is read, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len(), what }
    }

    pub(crate) fn byte(&mut self, field: &str) -> Result<u8> {
        Ok(self.raw(field, 1)?[0])
    }

    pub(crate) fn raw(&mut self, field: &str, count: usize) -> Result<&'a [u8]> {
        let (raw, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.wrong(field, format_args!("ends after {} bytes of {count}", self.rest.len())))?;
        self.rest = rest;
        Ok(raw)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        Ok(self.raw(field, N)?.try_into().expect("as many were read"))
    }

    pub(crate) fn number(&mut self, field: &str) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(self.wrong(field, format_args!("is a number of more than 64 bits")));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.wrong(field, format_args!("is a number with bytes that say nothing")));
                }
                break;
            }
        }
        Ok(value)
    }

    /// One that is not above `most`.
    pub(crate) fn at_most(&mut self, field: &str, most: u64) -> Result<u64> {
        let value = self.number(field)?;
        if value > most {
            return Err(self.wrong(field, format_args!("is {value}, expected at most {most}")));
        }
        Ok(value)
    }

    pub(crate) fn small(&mut self, field: &str) -> Result<u32> {
        Ok(self.at_most(field, u32::MAX.into())? as u32)
    }

    pub(crate) fn signed(&mut self, field: &str) -> Result<i64> {
        let value = self.number(field)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn bytes(&mut self, field: &str, most: usize) -> Result<&'a [u8]> {
        let count = self.at_most(field, most as u64)? as usize;
        self.raw(field, count)
    }

    pub(crate) fn text(&mut self, field: &str, most: usize) -> Result<&'a str> {
        let bytes = self.bytes(field, most)?;
        std::str::from_utf8(bytes).map_err(|cause| self.wrong(field, format_args!("is no text: {cause}")))
    }

    pub(crate) fn blocks(&mut self, field: &str, most: usize) -> Result<Vec<u32>> {
        let count = self.at_most(field, most as u64)? as usize;
        // Each takes a byte at least: no more room is taken than there were bytes for.
        let mut blocks = Vec::with_capacity(count.min(self.rest.len()));
        let mut last = -1_i64;
        for _ in 0..count {
            let block = self.signed(field)?.checked_add(last + 1);
            let block = block.and_then(|block| u32::try_from(block).ok());
            let block = block.ok_or_else(|| self.wrong(field, format_args!("names a block beyond 32 bits")))?;
            last = block.into();
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// That nothing follows.
    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let message = format!("{}: {} bytes follow its end", self.what, self.rest.len());
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    /// That this field is wrong, and why.
    pub(crate) fn wrong(&self, field: &str, why: std::fmt::Arguments<'_>) -> Error {
        let at = self.len - self.rest.len();
        Error::new(ErrorKind::Corrupt, format!("{}: `{field}` at byte {at} {why}", self.what))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec(any::<u64>(), 0..9), blocks in prop::collection::vec(any::<u32>(), 0..50), text in ".{0,20}") {
            let mut writer = Writer::default();
            for &number in &numbers {
                writer.number(number);
                writer.signed(number as i64);
            }
            writer.blocks(&blocks);
            writer.text(&text);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new("test", &bytes);
            for &number in &numbers {
                prop_assert_eq!(reader.number("number").unwrap(), number);
                prop_assert_eq!(reader.signed("signed").unwrap(), number as i64);
            }
            prop_assert_eq!(reader.blocks("blocks", 50).unwrap(), blocks);
            prop_assert_eq!(reader.text("text", 80).unwrap(), text);
            reader.end().unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said = |bytes: &[u8]| {
            let mut reader = Reader::new("grant", bytes);
            reader.byte("version").unwrap();
            reader.blocks("blocks", 3).unwrap_err().to_string()
        };
        assert_eq!(said(&[1]), "grant: `blocks` at byte 1 ends after 0 bytes of 1");
        assert_eq!(said(&[1, 4]), "grant: `blocks` at byte 2 is 4, expected at most 3");
        assert_eq!(said(&[1, 1, 1]), "grant: `blocks` at byte 3 names a block beyond 32 bits");
        assert_eq!(said(&[1, 0x80, 0]), "grant: `blocks` at byte 3 is a number with bytes that say nothing");
        assert_eq!(
            said(&[[1].as_slice(), &[0xff; 9], &[2]].concat()),
            "grant: `blocks` at byte 11 is a number of more than 64 bits"
        );
        assert!(Reader::new("x", &[0]).end().is_err());
    }
}
