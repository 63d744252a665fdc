//! Under which adapters and salts prompts were stored lately.

use std::sync::Arc;

use crate::event::BlockStored;
use crate::hash::{BlockHasher, HashScheme as _, event_extra_keys};

/// How many are remembered.
const MAX: usize = 64;

/// By what digests differ from those of the same tokens without extra keys at the first block: the last marks that were
/// seen, the last one at the end.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    marks: Vec<u64>,
    is_news: bool,
}

impl Namespaces {
    /// Learns from an event of which the blocks can be placed.
    pub(super) fn learn(&mut self, stored: &BlockStored, hasher: &BlockHasher) {
        if stored.parent_block_hash.is_some() || stored.block_hashes.is_empty() {
            return;
        }
        let adapter = stored.adapter();
        let extra = event_extra_keys(stored, 0, adapter.as_deref());
        if extra.is_empty() {
            return;
        }
        let (scheme, root) = (hasher.scheme(), hasher.root());
        let tokens = &stored.token_ids[..hasher.block_size().min(stored.token_ids.len())];
        self.saw(scheme.next(&root, 0, tokens, &extra).0 ^ scheme.next(&root, 0, tokens, &[]).0);
    }

    fn saw(&mut self, mark: u64) {
        if self.marks.last() == Some(&mark) {
            return;
        }
        if let Some(place) = self.marks.iter().position(|&known| known == mark) {
            self.marks[place..].rotate_left(1);
            return;
        }
        if self.marks.len() == MAX {
            self.marks.remove(0);
        }
        self.marks.push(mark);
        self.is_news = true;
    }

    /// What readers have to be told, when that is other than the last time.
    pub(super) fn take_news(&mut self) -> Option<Arc<Vec<u64>>> {
        std::mem::take(&mut self.is_news).then(|| Arc::new(self.marks.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_marks_are_remembered() {
        let mut seen = Namespaces::default();
        (0..MAX as u64).for_each(|mark| seen.saw(mark));
        seen.saw(0);
        seen.take_news();
        seen.saw(7);
        assert!(seen.take_news().is_none(), "it is known");
        seen.saw(100);
        let marks = seen.take_news().expect("one is new");
        assert_eq!((marks.len(), marks[MAX - 1]), (MAX, 100));
        assert!(marks.contains(&0) && !marks.contains(&1), "the one that was not seen for longest went");
    }
}
