//! How many blocks the names of an engine cover.

use std::collections::HashMap;

use super::super::super::snapshot::Cursor;
use crate::Result;

/// Names to have before it is worth looking which of them still mean something.
const FEW: usize = 1024;

/// How many blocks the names of an engine cover: all the same, but where parts of blocks have names too.
#[derive(Debug)]
pub(super) struct Covers {
    /// What the first event said that told what is in blocks it named.
    usual: Option<u32>,
    /// Names that cover another number than the usual one.
    others: HashMap<u64, u32>,
    /// How many of these there may be before those that mean nothing are thrown out.
    room: usize,
}

impl Default for Covers {
    fn default() -> Self {
        Self { usual: None, others: HashMap::new(), room: FEW }
    }
}

impl Covers {
    /// An event said what is in blocks that it named, of which each name covers so many.
    pub(super) fn hear(&mut self, span: u32) {
        self.usual.get_or_insert(span);
    }

    /// Some names cover so many blocks.
    #[inline]
    pub(super) fn learn(&mut self, names: &[u64], span: u32) {
        if self.usual != Some(span) {
            self.others.extend(names.iter().map(|&name| (name, span)));
        } else if !self.others.is_empty() {
            names.iter().for_each(|name| _ = self.others.remove(name));
        }
    }

    /// How many blocks a name covers, as far as it was said.
    pub(super) fn of(&self, name: u64) -> u32 {
        self.others.get(&name).copied().unwrap_or_else(|| self.usual.unwrap_or(1))
    }

    /// Whether every name covers the usual number.
    pub(super) fn are_all_usual(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether there are so many names that it is time to [`retain`](Self::retain) those that mean something.
    pub(super) fn is_crowded(&self) -> bool {
        self.others.len() > self.room
    }

    /// Throws out the names that mean nothing any longer.
    pub(super) fn retain(&mut self, means_something: impl Fn(u64) -> bool) {
        self.others.retain(|&name, _| means_something(name));
        self.others.shrink_to(FEW);
        self.room = FEW.max(2 * self.others.len());
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.others.capacity() * (size_of::<(u64, u32)>() + 1)
    }

    /// Writes the usual number, or 0 when nothing was said.
    pub(super) fn write_usual(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.usual.unwrap_or(0).to_le_bytes());
    }

    /// Reads what [`write_usual`](Self::write_usual) wrote.
    pub(super) fn read_usual(&mut self, from: &mut Cursor<'_>) -> Result<()> {
        match from.u32("number of blocks that names cover")? {
            0 => {}
            span => self.hear(span),
        }
        Ok(())
    }

    /// The names that cover another number than the usual one.
    pub(super) fn others(&self) -> impl Iterator<Item = (u64, u32)> {
        self.others.iter().map(|(&name, &span)| (name, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_nothing_any_longer_do_not_stay() {
        let mut covers = Covers::default();
        covers.hear(2);
        covers.hear(1);
        covers.learn(&[7], 1);
        covers.learn(&[7], 2);
        assert_eq!(covers.of(7), 2, "as was said last");
        for name in 1..=100_000_u64 {
            covers.learn(&[name], 1);
            covers.learn(&[name + 1_000_000], 2);
            if covers.is_crowded() {
                covers.retain(|other| other + 10 > name);
            }
        }
        assert!(covers.others().count() <= FEW + 1, "{} names", covers.others().count());
        assert_eq!((covers.of(100_000), covers.of(1), covers.of(1_000_001)), (1, 2, 2));
    }
}
