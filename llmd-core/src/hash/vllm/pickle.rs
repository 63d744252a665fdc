//! Python's values as its pickle module writes them in C, protocol 5: for bytes, integers, texts, tuples and `None`.
//!
//! Everything stands in *frames*, each behind the number of its bytes. A frame ends before the first value that begins
//! behind its 64th KiB, and around a text or string of bytes that is as long by itself, which stands outside of any
//! frame. Texts, strings of bytes and tuples are *memoized*, that is, counted; one that occurs again as the same object
//! is written as its number.

use smallvec::SmallVec;

use super::Input;
use super::form::Encode;

/// How long a frame may be before it ends, and a value before it stands outside of frames.
const FRAME: usize = 64 << 10;
const HEADER: usize = 9;
/// A shorter frame has no header.
const MIN_FRAME: usize = 4;

/// Appends a pickle to what is hashed.
pub(super) struct Pickle<'a> {
    out: &'a mut Input,
    /// Where the frame that is being written has its header.
    frame: Option<usize>,
    memoized: u32,
    literals: SmallVec<[(&'static str, u32); 4]>,
}

impl<'a> Pickle<'a> {
    pub(super) fn begin(out: &'a mut Input) -> Self {
        out.extend_from_slice(&[0x80, 5]);
        Self { out, frame: None, memoized: 0, literals: SmallVec::new() }
    }

    pub(super) fn end(mut self) {
        self.write(b".");
        self.end_frame();
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.frame.is_none() {
            self.frame = Some(self.out.len());
            self.out.extend_from_slice(&[0; HEADER]);
        }
        self.out.extend_from_slice(bytes);
    }

    fn end_frame(&mut self) {
        let Some(start) = self.frame.take() else { return };
        let len = self.out.len() - start - HEADER;
        if len < MIN_FRAME {
            self.out.drain(start..start + HEADER);
        } else {
            self.out[start] = 0x95;
            self.out[start + 1..][..8].copy_from_slice(&(len as u64).to_le_bytes());
        }
    }

    /// Ends the frame when it is long enough: a value begins.
    fn value(&mut self) {
        if self.frame.is_some_and(|start| self.out.len() - start - HEADER >= FRAME) {
            self.end_frame();
        }
    }

    fn memoize(&mut self) -> u32 {
        self.write(&[0x94]);
        self.memoized += 1;
        self.memoized - 1
    }

    /// A string of bytes behind its length, which takes the opcode `short` in one byte, `long` in four and `huge` in
    /// eight.
    fn counted(&mut self, [short, long, huge]: [u8; 3], bytes: &[u8]) {
        let len = bytes.len();
        let mut header = SmallVec::<[u8; HEADER]>::new();
        if let Ok(len) = u8::try_from(len) {
            header.extend([short, len]);
        } else if let Ok(len) = u32::try_from(len) {
            header.push(long);
            header.extend(len.to_le_bytes());
        } else {
            header.push(huge);
            header.extend((len as u64).to_le_bytes());
        }
        if len < FRAME {
            self.write(&header);
            self.write(bytes);
        } else {
            self.end_frame();
            self.out.extend_from_slice(&header);
            self.out.extend_from_slice(bytes);
        }
    }
}

impl Encode for Pickle<'_> {
    fn none(&mut self) {
        self.value();
        self.write(b"N");
    }

    fn int(&mut self, int: i64) {
        self.value();
        if let Ok(int) = u8::try_from(int) {
            self.write(&[b'K', int]);
        } else if let Ok(int) = u16::try_from(int) {
            let [low, high] = int.to_le_bytes();
            self.write(&[b'M', low, high]);
        } else if let Ok(int) = i32::try_from(int) {
            self.write(b"J");
            self.write(&int.to_le_bytes());
        } else {
            // The fewest bytes whose first bit is the sign.
            let bytes = int.to_le_bytes();
            let bits = 65 - if int < 0 { int.leading_ones() } else { int.leading_zeros() };
            let len = bits.div_ceil(8) as usize;
            self.write(&[0x8a, len as u8]);
            self.write(&bytes[..len]);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.value();
        self.counted([b'C', b'B', 0x8e], bytes);
        self.memoize();
    }

    fn text(&mut self, text: &str) {
        self.value();
        self.counted([0x8c, b'X', 0x8d], text.as_bytes());
        self.memoize();
    }

    fn literal(&mut self, text: &'static str) {
        let Some(&(_, number)) = self.literals.iter().find(|(literal, _)| *literal == text) else {
            self.literals.push((text, self.memoized));
            return self.text(text);
        };
        self.value();
        if let Ok(number) = u8::try_from(number) {
            self.write(&[b'h', number]);
        } else {
            self.write(b"j");
            self.write(&number.to_le_bytes());
        }
    }

    fn tuple(&mut self, len: usize, write: impl FnOnce(&mut Self)) {
        self.value();
        if len > 3 {
            self.write(b"(");
        }
        write(self);
        match len {
            0 => return self.write(b")"), // one object for all, and not memoized
            1 => self.write(&[0x85]),
            2 => self.write(&[0x86]),
            3 => self.write(&[0x87]),
            _ => self.write(b"t"),
        }
        self.memoize();
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::super::ExtraKeyForm;
    use super::super::form::write_block;
    use super::*;
    use crate::hash::ExtraKey;

    fn pickled(write: impl FnOnce(&mut Pickle<'_>)) -> String {
        let mut out = Input::new();
        let mut pickle = Pickle::begin(&mut out);
        write(&mut pickle);
        pickle.end();
        hex::encode(out)
    }

    /// What `pickle.dumps` of CPython 3.11 says of the same.
    #[test]
    fn integers_take_as_many_bytes_as_they_need() {
        let integers = [0, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
        let negative = [-1, -0x8000_0000, -0x8000_0001, 1 << 40, i64::MIN, i64::MAX];
        assert_eq!(
            pickled(|to| to.tuple(8, |to| integers.iter().for_each(|&int| to.int(int)))),
            "8005952600000000000000284b004bff4d00014dffff4a000001004affffff7f8a0500000080008a05ffffffff0074942e"
        );
        assert_eq!(
            pickled(|to| to.tuple(6, |to| negative.iter().for_each(|&int| to.int(int)))),
            "8005953100000000000000284affffffff4a000000808a05ffffff7fff8a06000000000001\
             8a0800000000000000808a08ffffffffffffff7f74942e"
        );
    }

    #[test]
    fn a_literal_that_comes_again_is_its_number() {
        let twice = pickled(|to| {
            to.tuple(3, |to| {
                to.text("mm");
                to.literal("mm");
                to.literal("mm");
            });
        });
        assert_eq!(twice, "8005950f000000000000008c026d6d948c026d6d94680187942e");
    }

    #[test]
    fn a_frame_of_less_than_four_bytes_has_no_header() {
        assert_eq!(pickled(|to| to.none()), "80054e2e");
        assert_eq!(pickled(|to| to.tuple(0, |_| {})), "8005292e");
    }

    /// SHA-256 of what `pickle.dumps` of CPython 3.11 says of blocks with so many tokens 70000 and a salt of so many `x`.
    #[test]
    fn what_is_longer_than_a_frame_is_written_as_cpython_does() {
        for (tokens, salt, expected) in [
            (4, 65534, "871ef318b5dea1824039f1817da4e4da158cb6512c9ce52e11f03586bbec37ff"),
            (4, 65535, "5741d6d450c310d799ce47e16e4c07c2fde8605b5bc9c1ffcca7f2a6ecaa28d1"),
            (4, 65536, "b9b49649329fdc9ea4bd4158af22cb36dd5fc2e27d3060de80e0fc404d1ceca2"),
            (4, 200000, "ee0aef2c70747537b74fbfe0815784d822126fc3a72713c268c372334c9a4290"),
            (13090, 1, "ae4d1f5ce105b74095df0488bdc618852c962905ab48feecc411759f2e044e1f"),
            (13100, 70000, "9082e2b046dc71f704cab7f11cac341540d0838fde184aec59218be38019edc0"),
            (13107, 70000, "5ea5b7231982549aac875ea6ada4816f7c8d9303f3a7e4521d100d79e6035fee"),
            (40000, 255, "e07b6dcec8cb17828c3296bb0cc4565a1745032a6181fada9c8e6160838b20c0"),
            (40000, 256, "da9aa35e76e4b52f49bff3017ba20d51e8e044db987b9b764684e02c438c8fb9"),
        ] {
            let salt = "x".repeat(salt);
            let mut input = Input::new();
            let mut pickle = Pickle::begin(&mut input);
            write_block(
                &mut pickle,
                ExtraKeyForm::Tagged,
                &[0xee; 32],
                &vec![70_000; tokens],
                &[ExtraKey::CacheSalt(&salt)],
            );
            pickle.end();
            assert_eq!(hex::encode(Sha256::digest(&input)), expected, "{tokens} tokens, a salt of {}", salt.len());
        }
    }
}
