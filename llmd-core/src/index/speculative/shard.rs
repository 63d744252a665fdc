//! The prompts that some of the workers are expected to hold.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use smallvec::SmallVec;

use super::prompt::{Prompt, mark};
use crate::{BlockHash, WorkerId};

/// When a prompt's time is up, and which of those whose time is up then it is.
type Place = (Duration, u64);

/// The prompts that some of the workers are expected to hold, by deadline, and where to find them by their blocks.
///
/// Blocks are looked up by a hash of their names under a secret of each map's own.
#[derive(Debug, Default)]
pub(super) struct Shard {
    prompts: BTreeMap<Place, Prompt>,
    marks: HashMap<WorkerId, HashMap<BlockHash, SmallVec<[Place; 1]>>>,
    added: u64,
}

impl Shard {
    pub(super) fn add(&mut self, prompt: Prompt) {
        let place = (prompt.deadline, self.added);
        self.added += 1;
        let marks = self.marks.entry(prompt.worker).or_default();
        prompt.marks().for_each(|mark| marks.entry(mark).or_default().push(place));
        self.prompts.insert(place, prompt);
    }

    /// The workers of which something is expected.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.marks.keys().copied()
    }

    /// How far a worker's prefix of `reached` blocks goes on through what is expected.
    pub(super) fn leading(&self, worker: WorkerId, chain: &[BlockHash], mut reached: usize, now: Duration) -> usize {
        let Some(marks) = self.marks.get(&worker) else { return reached };
        while let Some(places) = chain.get(mark(reached)).filter(|_| reached < chain.len()).and_then(|at| marks.get(at))
        {
            let before = reached;
            for place in places.iter().rev().filter(|(deadline, _)| *deadline > now) {
                reached = self.prompts.get(place).map_or(reached, |prompt| prompt.go_on(chain, reached));
            }
            if reached == before {
                break;
            }
        }
        reached
    }

    /// Takes out a prompt whose time is up; says how many names it kept.
    pub(super) fn pop_ended(&mut self, now: Duration) -> Option<usize> {
        self.prompts.first_key_value().filter(|((deadline, _), _)| *deadline <= now)?;
        self.pop()
    }

    /// Takes out the prompt whose time is up first.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let (place, prompt) = self.prompts.pop_first()?;
        Some(self.taken(place, &prompt))
    }

    /// Takes out a prompt of a worker.
    pub(super) fn pop_of(&mut self, worker: WorkerId) -> Option<usize> {
        let place = *self.marks.get(&worker)?.values().next()?.first()?;
        let prompt = self.prompts.remove(&place)?;
        Some(self.taken(place, &prompt))
    }

    fn taken(&mut self, place: Place, prompt: &Prompt) -> usize {
        if let Entry::Occupied(mut marks) = self.marks.entry(prompt.worker) {
            for mark in prompt.marks() {
                if let Entry::Occupied(mut places) = marks.get_mut().entry(mark) {
                    let nth = places.get().iter().position(|other| *other == place);
                    nth.map(|nth| places.get_mut().remove(nth));
                    if places.get().is_empty() {
                        places.remove();
                    }
                }
            }
            if marks.get().is_empty() {
                marks.remove();
            }
        }
        prompt.size()
    }
}
