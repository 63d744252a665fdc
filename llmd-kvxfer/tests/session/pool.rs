//! The blocks of one engine, by group: the last that was freed is the first to be reused, so that whoever is early is found out.

#[derive(Debug)]
pub(crate) struct Pool {
    free: Vec<Vec<u32>>,
    size: u32,
}

impl Pool {
    pub(crate) fn new(groups: u32, size: u32) -> Self {
        Self { free: (0..groups).map(|_| (0..size).collect()).collect(), size }
    }

    /// As many of a group, if there are as many.
    pub(crate) fn take(&mut self, group: u32, count: usize) -> Option<Vec<u32>> {
        let free = &mut self.free[group as usize];
        let left = free.len().checked_sub(count)?;
        Some(free.split_off(left))
    }

    pub(crate) fn give(&mut self, group: u32, blocks: &[u32]) {
        let free = &mut self.free[group as usize];
        assert!(blocks.iter().all(|block| !free.contains(block)), "{blocks:?} of group {group} are freed twice");
        free.extend_from_slice(blocks);
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.free.iter().all(|free| free.len() == self.size as usize)
    }
}
