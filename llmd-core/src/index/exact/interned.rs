//! Engines' names as numbers: integers as they are, byte strings by a keyed hash that leads back to them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::ExternalBlockHash;

/// Names that are not a number, by the number that stands for them.
///
/// No number is 0. Two strings with one number, which happens once in 2^64, pass for one name.
#[derive(Debug, Default)]
pub(super) struct Interned {
    names: HashMap<u64, ExternalBlockHash>,
    secret: RandomState,
}

impl Interned {
    /// The number of a name.
    #[inline]
    pub(super) fn number(&self, name: &ExternalBlockHash) -> u64 {
        match name.as_int() {
            Some(number) if number != 0 => number,
            _ => self.secret.hash_one(name).max(1),
        }
    }

    /// The number of a name that is about to be kept.
    #[inline]
    pub(super) fn keep(&mut self, name: &ExternalBlockHash) -> u64 {
        let number = self.number(name);
        if name.as_int() != Some(number) {
            self.names.entry(number).or_insert_with(|| name.clone());
        }
        number
    }

    /// The name of a number.
    pub(super) fn name(&self, number: u64) -> ExternalBlockHash {
        self.names.get(&number).cloned().unwrap_or_else(|| ExternalBlockHash::from_int(number))
    }

    /// Bytes that they take, about: most are digests of 32 bytes.
    pub(super) fn bytes(&self) -> usize {
        self.names.capacity() * (size_of::<(u64, ExternalBlockHash)>() + 1) + self.names.len() * 32
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A number stands for nothing that is in the index any longer.
    pub(super) fn forget(&mut self, number: u64) {
        self.names.remove(&number);
    }
}
