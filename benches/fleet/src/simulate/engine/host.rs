//! Memory of the host as a second tier: what was computed is copied there, and comes back over a link.

use super::name::Name;
use super::pool::NameMap;
use crate::model::{BlockId, FreeQueue};

/// Host memory for blocks, the least recently used of which goes first.
#[derive(Debug)]
pub(super) struct Host {
    slots: NameMap<BlockId>,
    names: Vec<Name>,
    /// Slots in the order in which they go, those that hold nothing first.
    order: FreeQueue,
}

impl Host {
    /// Memory for `blocks` blocks.
    pub(super) fn new(blocks: u32) -> Self {
        let mut order = FreeQueue::new(blocks);
        (0..blocks).for_each(|slot| order.push_back(slot));
        Self { slots: NameMap::default(), names: vec![0; blocks as usize], order }
    }

    pub(super) fn holds(&self, name: Name) -> bool {
        self.slots.contains_key(&name)
    }

    /// Uses those of these blocks that are held, the first of them most recently: the tail of a chain goes before its head.
    pub(super) fn touch(&mut self, names: &[Name]) {
        for name in names.iter().rev() {
            let Some(&slot) = self.slots.get(name) else { continue };
            self.order.remove(slot);
            self.order.push_back(slot);
        }
    }

    /// Copies a block here, if it is not here yet. Says whether it is new, and what had to go for it.
    pub(super) fn store(&mut self, name: Name) -> (bool, Option<Name>) {
        if self.holds(name) {
            return (false, None);
        }
        let Some(slot) = self.order.pop_front() else { return (false, None) };
        let gone = std::mem::replace(&mut self.names[slot as usize], name);
        if gone != 0 {
            self.slots.remove(&gone);
        }
        self.slots.insert(name, slot);
        self.order.push_back(slot);
        (true, Some(gone).filter(|&gone| gone != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut host = Host::new(2);
        assert_eq!(host.store(1), (true, None));
        assert_eq!(host.store(2), (true, None));
        host.touch(&[1]);
        assert_eq!(host.store(3), (true, Some(2)));
        assert_eq!(host.store(1), (false, None));
        assert_eq!([1, 2, 3].map(|name| host.holds(name)), [true, false, true]);
    }

    #[test]
    fn the_tail_of_a_chain_goes_before_its_head() {
        let mut host = Host::new(2);
        host.store(1);
        host.store(2);
        host.touch(&[1, 2]);
        assert_eq!(host.store(3), (true, Some(2)));
    }

    #[test]
    fn no_memory_holds_nothing() {
        assert_eq!(Host::new(0).store(1), (false, None));
    }
}
