//! Keeps the number of a label's values within bounds.

use std::collections::HashSet;

use parking_lot::RwLock;

/// Values of one label, of which at most so many are told apart; the others are `other`.
#[derive(Debug)]
pub(crate) struct Cap {
    seen: RwLock<HashSet<Box<str>>>,
    max: usize,
}

impl Cap {
    pub(crate) fn new(max: usize) -> Self {
        Self { seen: RwLock::default(), max }
    }

    /// The value as a metric says it.
    pub(crate) fn label(&self, value: &str) -> String {
        if self.seen.read().contains(value) {
            return value.to_owned();
        }
        let mut seen = self.seen.write();
        if seen.len() < self.max || seen.contains(value) {
            seen.insert(value.into());
            return value.to_owned();
        }
        "other".to_owned()
    }

    /// Makes room for another value.
    pub(crate) fn forget(&self, value: &str) {
        self.seen.write().remove(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_cap_are_other() {
        let cap = Cap::new(2);
        let labels = |values: [&str; 4]| values.map(|value| cap.label(value));

        assert_eq!(labels(["a", "b", "c", "a"]), ["a", "b", "other", "a"]);
        cap.forget("a");
        assert_eq!(labels(["c", "a", "b", "c"]), ["c", "other", "b", "c"]);
    }
}
