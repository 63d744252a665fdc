//! An engine's cache: it forgets what was used longest ago, the tail of a prompt before its head, as vLLM does.

use std::collections::HashMap;

use super::{Block, Stream};

/// How an engine announces what it evicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Removals {
    /// One event for all that one step evicts.
    Grouped,
    /// One event for each block: vLLM's way.
    Single,
}

/// The cache of one worker.
#[derive(Debug)]
pub(crate) struct Engine {
    worker: u32,
    capacity: usize,
    removals: Removals,
    slots: Vec<Slot>,
    places: HashMap<u64, usize>,
}

/// A place in a ring through slot 0, which stands between the newest and the oldest.
#[derive(Debug)]
struct Slot {
    name: u64,
    older: usize,
    newer: usize,
}

/// Blocks that one step prefills.
const CHUNK: usize = super::CHUNK;

impl Engine {
    pub(crate) fn new(worker: u32, capacity: usize, removals: Removals) -> Self {
        let ring = Slot { name: 0, older: 0, newer: 0 };
        Self { worker, capacity, removals, slots: vec![ring], places: HashMap::new() }
    }

    /// Serves a prompt, then decodes `output`, block by block; says it step by step.
    pub(crate) fn serve(&mut self, stream: &mut Stream, prompt: &[Block], output: &[Block]) {
        let prompt = &prompt[..prompt.len().min(self.capacity)];
        let held = prompt.iter().take_while(|block| self.places.contains_key(&block.name)).count();
        self.touch(&prompt[..held]);
        let mut parent = prompt[..held].last().map(|block| block.name);
        let decoded = output.chunks(1).take(self.capacity - prompt.len());
        for step in prompt[held..].chunks(CHUNK).chain(decoded) {
            stream.begin(self.worker);
            self.evict(stream, step.len());
            step.iter().for_each(|block| self.insert(block.name));
            stream.store(parent, step);
            parent = step.last().map(|block| block.name);
        }
        self.touch(&output[..output.len().min(self.capacity - prompt.len())]);
        self.touch(prompt);
    }

    /// Makes room for `new` blocks.
    fn evict(&mut self, stream: &mut Stream, new: usize) {
        let excess = (self.places.len() + new).saturating_sub(self.capacity);
        let mut gone = Vec::with_capacity(excess);
        for _ in 0..excess {
            let oldest = self.slots[0].newer;
            let name = self.slots[oldest].name;
            self.unlink(oldest);
            // The last slot moves to where the evicted one was.
            let last = self.slots.len() - 1;
            if oldest != last {
                let moved = self.slots[last].name;
                let (older, newer) = (self.slots[last].older, self.slots[last].newer);
                self.slots[older].newer = oldest;
                self.slots[newer].older = oldest;
                self.slots.swap(oldest, last);
                self.places.insert(moved, oldest);
            }
            self.slots.pop();
            self.places.remove(&name);
            gone.push(name);
        }
        match self.removals {
            Removals::Grouped => stream.remove(&gone),
            Removals::Single => gone.chunks(1).for_each(|name| stream.remove(name)),
        }
    }

    fn insert(&mut self, name: u64) {
        let place = self.slots.len();
        self.slots.push(Slot { name, older: 0, newer: 0 });
        self.places.insert(name, place);
        self.link_newest(place);
    }

    /// The head of the prompt becomes the newest.
    fn touch(&mut self, blocks: &[Block]) {
        for block in blocks.iter().rev() {
            let place = self.places[&block.name];
            self.unlink(place);
            self.link_newest(place);
        }
    }

    fn unlink(&mut self, place: usize) {
        let Slot { older, newer, .. } = self.slots[place];
        self.slots[older].newer = newer;
        self.slots[newer].older = older;
    }

    fn link_newest(&mut self, place: usize) {
        let newest = self.slots[0].older;
        (self.slots[place].older, self.slots[place].newer) = (newest, 0);
        self.slots[newest].newer = place;
        self.slots[0].older = place;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::chance::Chance;
    use crate::stream::{Event, chain};

    /// What is said is a cache that fits, has no holes, and stores nothing twice.
    #[test]
    fn an_engine_says_what_a_cache_does() {
        for removals in [Removals::Grouped, Removals::Single] {
            let (mut chance, mut stream) = (Chance::new(5), Stream::new(1));
            let mut engine = Engine::new(0, 40, removals);
            let mut known: Vec<Vec<u64>> = vec![chance.fresh(4)];
            for _ in 0..300 {
                let before = &known[chance.below(known.len())];
                let kept = 1 + chance.below(before.len());
                let new = 1 + chance.below(12);
                let ids = [&before[..kept], &chance.fresh(new)].concat();
                let blocks = chain(&ids);
                let prompt = kept + chance.below(new);
                engine.serve(&mut stream, &blocks[..prompt], &blocks[prompt..]);
                known.push(ids);
            }
            let mut held = HashSet::new();
            let mut evicted = 0;
            for event in stream.batches.iter().flat_map(|batch| stream.events(batch)) {
                match event {
                    Event::Stored { parent, blocks } => {
                        assert!(parent.is_none_or(|parent| held.contains(&parent)));
                        assert!(blocks.iter().all(|block| held.insert(block.name)));
                    }
                    Event::Removed { names } => {
                        assert!(removals == Removals::Grouped || names.len() == 1);
                        assert!(names.iter().all(|name| held.remove(name)));
                        evicted += names.len();
                    }
                }
                assert!(held.len() <= 40);
            }
            assert!(evicted > 500, "{evicted}");
        }
    }
}
