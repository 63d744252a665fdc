//! The terms of what enters a block besides its tokens.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::hash::{ExtraKey, HashKey, MultimodalItem};
use crate::{BlockHash, TokenId};

/// A keyed function of a position and a list of extra keys, in two steps: a list has a mark of 128 bits, which is the same
/// wherever it stands, and a position and a mark have a term. So an image of a hundred blocks is hashed once.
pub(super) struct Extra {
    /// What SHA-256 reads first.
    marks: [u8; 32],
    /// What makes a term of a mark and a position.
    terms: Aes128,
    block_size: usize,
}

/// What is hashed: on the stack for keys of the usual lengths.
type Input = SmallVec<[u8; 256]>;

/// What a list of keys begins with, and what tokens do.
const KEYS: u8 = 0;
const TOKENS: u8 = 1;

impl Extra {
    pub(super) fn new(key: &HashKey, block_size: usize) -> Self {
        let terms = key.derive(b"llmdterm", block_size);
        let (terms, _) = terms.split_first_chunk::<16>().expect("32 bytes begin with 16");
        Self { marks: key.derive(b"llmdmark", block_size), terms: Aes128::new(terms.into()), block_size }
    }

    /// The term of `keys` in the block at `position`: 0 where there are none. Behind the first block, the adapter is none.
    pub(super) fn term(&self, position: usize, keys: &[ExtraKey<'_>]) -> u64 {
        let start = (position as i64).wrapping_mul(self.block_size as i64);
        let mut input = self.begin(KEYS);
        let begin = input.len();
        let enters = |key: &&ExtraKey<'_>| position == 0 || !matches!(key, ExtraKey::Lora { .. });
        keys.iter().filter(enters).for_each(|key| write_key(&mut input, key, start));
        if input.len() == begin { 0 } else { self.spread(position, mark(&input)) }
    }

    /// The term of `tokens` that are not as many as a block has.
    pub(super) fn of_tokens(&self, position: usize, tokens: &[TokenId]) -> u64 {
        let mut input = self.begin(TOKENS);
        input.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        self.spread(position, mark(&input))
    }

    /// Adds the terms of `items` to `names`, which stand from `position` on, 1 or more.
    pub(super) fn add_items(&self, items: &[MultimodalItem], position: usize, names: &mut [BlockHash]) {
        let size = self.block_size;
        let by_offset = items.is_sorted_by_key(|item| item.offset);
        let mut here = SmallVec::<[usize; 4]>::new();
        let mut last: Option<(SmallVec<[usize; 4]>, u128)> = None;
        let (mut ended, mut sum) = (0, 0);
        for (position, name) in (position..).zip(names) {
            let start = position * size;
            while items.get(ended).is_some_and(|item| item.offset.saturating_add(item.len) <= start) {
                ended += 1;
            }
            let ahead = (ended..).zip(&items[ended..]);
            here.clear();
            here.extend(
                ahead
                    .take_while(|(_, item)| !by_offset || item.offset < start + size)
                    .filter(|(_, item)| item.overlaps(start, size))
                    .map(|(number, _)| number),
            );
            if !here.is_empty() {
                let mark = match &last {
                    Some((then, mark)) if *then == here => *mark,
                    _ => self.mark_items(here.iter().map(|&number| &items[number])),
                };
                sum ^= self.spread(position, mark);
                last = Some((here.clone(), mark));
            }
            name.0 ^= sum;
        }
    }

    fn mark_items<'a>(&self, items: impl Iterator<Item = &'a MultimodalItem>) -> u128 {
        let mut input = self.begin(KEYS);
        for item in items {
            let key = ExtraKey::Multimodal { identifier: &item.identifier, offset: item.offset as i64 };
            write_key(&mut input, &key, 0);
        }
        mark(&input)
    }

    fn begin(&self, what: u8) -> Input {
        let mut input = Input::from_slice(&self.marks);
        input.push(what);
        input
    }

    fn spread(&self, position: usize, mark: u128) -> u64 {
        let mut block = (mark ^ position as u128).to_le_bytes().into();
        self.terms.encrypt_block(&mut block);
        u128::from_le_bytes(block.into()) as u64
    }
}

fn mark(input: &[u8]) -> u128 {
    let digest: [u8; 32] = Sha256::digest(input).into();
    let (first, _) = digest.split_first_chunk().expect("32 bytes begin with 16");
    u128::from_le_bytes(*first)
}

/// Tag, number, length, content: no two lists of keys are written alike. An adapter is its name alone, since events say no
/// path. The number is where an item begins, counted from the prompt's first token, which is `start` before the block's.
fn write_key(input: &mut Input, key: &ExtraKey<'_>, start: i64) {
    let (tag, text, number) = match *key {
        ExtraKey::CacheSalt(salt) => (0, salt.as_bytes(), 0),
        ExtraKey::Lora { name, .. } => (1, name.as_bytes(), 0),
        ExtraKey::Multimodal { identifier, offset } => (2, identifier.as_bytes(), offset.wrapping_add(start)),
        ExtraKey::PromptEmbeds(digest) => (3, digest, 0),
    };
    input.push(tag);
    input.extend_from_slice(&number.to_le_bytes());
    input.extend_from_slice(&(text.len() as u64).to_le_bytes());
    input.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Namespace;
    use crate::hash::tests::{OwnedKey, borrowed, owned_keys};

    /// Reads back what [`write_key`] wrote.
    fn read_keys(mut input: &[u8], start: i64) -> Vec<OwnedKey> {
        fn number(input: &mut &[u8]) -> u64 {
            let (number, rest) = input.split_first_chunk().expect("a number is there");
            *input = rest;
            u64::from_le_bytes(*number)
        }
        let mut keys = Vec::new();
        while let [tag, rest @ ..] = input {
            input = rest;
            let offset = number(&mut input).cast_signed().wrapping_sub(start);
            let len = number(&mut input) as usize;
            let (bytes, rest) = input.split_at(len);
            input = rest;
            let text = || String::from_utf8(bytes.into()).expect("what was text is text");
            keys.push(match tag {
                0 => OwnedKey::CacheSalt(text()),
                1 => OwnedKey::Lora { name: text() },
                2 => OwnedKey::Multimodal { identifier: text(), offset },
                3 => OwnedKey::PromptEmbeds(bytes.into()),
                _ => panic!("no key has tag {tag}"),
            });
        }
        keys
    }

    fn items() -> impl Strategy<Value = Vec<MultimodalItem>> {
        let item = ("[a-c]", 0..60_usize, 0..30_usize);
        let item = item.prop_map(|(identifier, offset, len)| MultimodalItem { identifier, offset, len });
        prop::collection::vec(item, 0..5)
    }

    proptest! {
        /// What is hashed can be read back, and so no two lists are written alike.
        #[test]
        fn what_is_hashed_can_be_read_back(keys in owned_keys(), start: i64) {
            let mut input = Input::new();
            borrowed(&keys).iter().for_each(|key| write_key(&mut input, key, start));
            prop_assert_eq!(read_keys(&input, start), keys);
        }

        /// Items enter a whole prompt as they enter its blocks one by one, in whatever order they are listed.
        #[test]
        fn items_enter_together_as_they_do_one_by_one(items in items(), size in 1..7_usize, from in 1..12_usize) {
            let extra = Extra::new(&HashKey::from_bytes([7; 32]), size);
            let namespace = Namespace { multimodal: items, ..Namespace::default() };
            let mut names = [BlockHash(5); 40];
            extra.add_items(&namespace.multimodal, from, &mut names);
            let mut sum = 5;
            for (position, name) in (from..).zip(names) {
                sum ^= extra.term(position, &namespace.extra_keys(position * size, size));
                prop_assert_eq!(name.0, sum);
            }
        }
    }
}
