//! Reads numbers and texts off the front of some bytes, and writes them; all numbers are least significant byte first.

use crate::{Error, ErrorKind, ExternalBlockHash, Result};

/// What is still to be read, and what of.
#[derive(Debug)]
pub(in super::super) struct Cursor<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, whole: bytes.len() }
    }

    /// What cannot be read, and where.
    pub(in super::super) fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        let at = self.whole - self.rest.len();
        Error::new(ErrorKind::Corrupt, format!("snapshot cannot be read before byte {at} of its body: {what}"))
    }

    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.corrupt(format_args!("{what} of {len} bytes; expected at most {}", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let taken = self.take(N, what)?;
        Ok(*taken.first_chunk().expect("as many bytes were taken"))
    }

    pub(in super::super) fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(in super::super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(in super::super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        self.array(what)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub(super) fn f64(&mut self, what: &'static str) -> Result<f64> {
        self.array(what).map(f64::from_le_bytes)
    }

    pub(in super::super) fn bool(&mut self, what: &'static str) -> Result<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.corrupt(format_args!("{what} {other}; expected 0 or 1"))),
        }
    }

    /// A number of things of which each takes `least` bytes and more: no more than there can be.
    pub(in super::super) fn count(&mut self, least: usize, what: &'static str) -> Result<usize> {
        let count = self.u64(what)?;
        let most = self.rest.len() / least;
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= most)
            .ok_or_else(|| self.corrupt(format_args!("{what} {count}; expected at most {most}")))
    }

    pub(super) fn long(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.count(1, what)?;
        self.take(len, what)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str> {
        let bytes = self.long(what)?;
        std::str::from_utf8(bytes).map_err(|_| self.corrupt(format_args!("{what} that is no text in UTF-8")))
    }

    pub(super) fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(if self.bool(what)? { Some(read(self, what)?) } else { None })
    }

    pub(in super::super) fn name(&mut self, what: &'static str) -> Result<ExternalBlockHash> {
        match self.u8(what)? {
            0 => self.u64(what).map(ExternalBlockHash::from_int),
            1 => self.long(what).map(ExternalBlockHash::from_bytes),
            other => Err(self.corrupt(format_args!("{what} of kind {other}; expected 0 or 1"))),
        }
    }

    /// Nothing may follow.
    pub(in super::super) fn end(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.corrupt(format_args!("{more} bytes follow the last worker"))),
        }
    }
}

pub(super) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put(out, value);
    }
}

pub(in super::super) fn put_name(out: &mut Vec<u8>, name: &ExternalBlockHash) {
    match (name.as_int(), name.as_bytes()) {
        (Some(int), _) => {
            out.push(0);
            out.extend_from_slice(&int.to_le_bytes());
        }
        (None, bytes) => {
            out.push(1);
            put_long(out, bytes.unwrap_or_default());
        }
    }
}
