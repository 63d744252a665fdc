//! The blocks that nobody computes with, in the order in which they are taken: a list through the blocks themselves.

use super::name::BlockId;

/// A queue of block ids that gives up any of them in constant time.
#[derive(Debug)]
pub(crate) struct FreeQueue {
    /// One link per block, and one more that stands before the first and after the last.
    links: Vec<Link>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: BlockId,
    after: BlockId,
}

impl FreeQueue {
    /// An empty queue for blocks with ids below `blocks`.
    pub(crate) fn new(blocks: BlockId) -> Self {
        let links = (0..=blocks).map(|id| Link { before: id, after: id }).collect();
        Self { links, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a block that is not in the queue, as the last one.
    pub(crate) fn push_back(&mut self, id: BlockId) {
        self.insert(id, self.links[self.end() as usize].before, self.end());
    }

    /// Adds a block that is not in the queue, as the first one.
    pub(crate) fn push_front(&mut self, id: BlockId) {
        self.insert(id, self.end(), self.links[self.end() as usize].after);
    }

    fn insert(&mut self, id: BlockId, before: BlockId, after: BlockId) {
        self.links[before as usize].after = id;
        self.links[after as usize].before = id;
        self.links[id as usize] = Link { before, after };
        self.len += 1;
    }

    /// Takes the first block.
    pub(crate) fn pop_front(&mut self) -> Option<BlockId> {
        let first = self.links[self.end() as usize].after;
        (first != self.end()).then(|| {
            self.remove(first);
            first
        })
    }

    /// Takes a block that is in the queue, wherever it stands.
    pub(crate) fn remove(&mut self, id: BlockId) {
        let Link { before, after } = self.links[id as usize];
        self.links[before as usize].after = after;
        self.links[after as usize].before = before;
        self.links[id as usize] = Link { before: id, after: id };
        self.len -= 1;
    }

    fn end(&self) -> BlockId {
        (self.links.len() - 1) as BlockId
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_in_the_order_in_which_they_came_unless_they_are_asked_for() {
        let mut free = FreeQueue::new(5);
        (0..5).for_each(|id| free.push_back(id));
        free.remove(2);
        free.remove(0);
        free.push_back(2);
        free.push_front(0);

        assert_eq!(free.len(), 5);
        assert_eq!(std::iter::from_fn(|| free.pop_front()).collect::<Vec<_>>(), [0, 1, 3, 4, 2]);
        assert_eq!(free.len(), 0);
    }
}
