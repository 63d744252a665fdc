//! Caches that forget in places where no index likes it, and what is true of them.

use std::collections::HashMap;

use clap::ValueEnum;

use super::{Block, Event, Stream, chain};
use crate::chance::Chance;

/// Where a cache forgets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// From the tail only, with all that stands behind it.
    Tail,
    /// Anywhere; what is missing is stored again, and nothing else.
    Middle,
    /// Anywhere; all from the first missing block on is stored again, as copies of what is still there.
    MiddleRestore,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Tail, Self::Middle, Self::MiddleRestore];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tail => "tail",
            Self::Middle => "middle",
            Self::MiddleRestore => "middle_restore",
        }
    }
}

const PROMPTS: usize = 60;
/// Blocks that a prompt has of its own, at most.
const OWN: usize = 40;

/// What workers hold, copy by copy: obviously right, and slow.
#[derive(Debug)]
pub(crate) struct Truth(Vec<HashMap<u64, u32>>);

impl Truth {
    pub(crate) fn new(workers: usize) -> Self {
        Self(vec![HashMap::new(); workers])
    }

    pub(crate) fn apply(&mut self, worker: u32, event: Event<'_>) {
        let held = &mut self.0[worker as usize];
        match event {
            Event::Stored { blocks, .. } => blocks.iter().for_each(|block| *held.entry(block.name).or_default() += 1),
            Event::Removed { names } => {
                for name in names {
                    if let Some(copies) = held.get_mut(name) {
                        *copies -= 1;
                        if *copies == 0 {
                            held.remove(name);
                        }
                    }
                }
            }
        }
    }

    fn copies(&self, worker: usize, name: u64) -> u32 {
        self.0[worker].get(&name).copied().unwrap_or(0)
    }

    /// How many leading blocks each worker holds, without those that hold none.
    pub(crate) fn leading(&self, blocks: &[Block]) -> Vec<(u32, u32)> {
        let leading = |worker| blocks.iter().take_while(|block| self.copies(worker, block.name) > 0).count();
        let all = (0..self.0.len()).map(|worker| (worker as u32, leading(worker) as u32));
        all.filter(|&(_, leading)| leading > 0).collect()
    }
}

/// `steps` steps: each asks for a prompt, and then one of `workers` workers stores or forgets some of one.
pub(crate) fn stream(mode: Mode, steps: usize, workers: usize, seed: u64) -> Stream {
    let mut chance = Chance::new(seed);
    let prompts = prompts(&mut chance);
    let (mut stream, mut truth) = (Stream::new(workers), Truth::new(workers));
    for _ in 0..steps {
        let prompt = &prompts[chance.below(PROMPTS)];
        ask(&mut stream, prompt, &mut chance);
        let worker = chance.below(workers);
        stream.begin(worker as u32);
        let held = prompt.iter().take_while(|block| truth.copies(worker, block.name) > 0).count();
        if chance.unit() < 0.55 {
            let end = if chance.unit() < 0.7 { prompt.len() } else { held + 1 + chance.below(prompt.len()) };
            store(mode, &mut stream, prompt, held..end.min(prompt.len()), |block| truth.copies(worker, block.name) > 0);
        } else if held > 0 {
            let start = chance.below(held);
            let end = if mode == Mode::Tail { held } else { (start + 1 + chance.below(4)).min(held) };
            let gone = match mode {
                // Whatever stands behind the cut on this worker goes too.
                Mode::Tail => prompts
                    .iter()
                    .filter(|other| other.get(start).is_some_and(|b| b.name == prompt[start].name))
                    .map(|other| &other[start..])
                    .collect(),
                _ => vec![&prompt[start..end]],
            };
            forget(&mut stream, &gone, |block| truth.copies(worker, block.name));
        }
        let batch = stream.batches.last().expect("one was begun");
        stream.events(batch).for_each(|event| truth.apply(worker as u32, event));
    }
    stream
}

/// Prompts that share beginnings: three in four continue another, from anywhere in it.
fn prompts(chance: &mut Chance) -> Vec<Vec<Block>> {
    let mut prompts: Vec<Vec<u64>> = Vec::with_capacity(PROMPTS);
    for n in 0..PROMPTS {
        let mut prompt = Vec::new();
        if n > 0 && chance.unit() < 0.75 {
            let other = &prompts[chance.below(n)];
            prompt.extend_from_slice(&other[..1 + chance.below(other.len())]);
        }
        let own = 1 + chance.below(OWN);
        prompt.extend(chance.fresh(own));
        prompts.push(prompt);
    }
    prompts.iter().map(|prompt| chain(prompt)).collect()
}

/// Asks for the prompt or a part of it; three in ten go on with what nobody knows.
fn ask(stream: &mut Stream, prompt: &[Block], chance: &mut Chance) {
    let kept = if chance.unit() < 0.5 { prompt.len() } else { 1 + chance.below(prompt.len()) };
    let mut ids: Vec<_> = prompt[..kept].iter().map(|block| block.id).collect();
    let unknown = usize::from(chance.unit() < 0.3);
    ids.extend(chance.fresh(unknown));
    stream.ask(&ids);
}

fn store(
    mode: Mode,
    stream: &mut Stream,
    prompt: &[Block],
    range: std::ops::Range<usize>,
    is_held: impl Fn(&Block) -> bool,
) {
    let parent = |start: usize| start.checked_sub(1).map(|before| prompt[before].name);
    if mode == Mode::MiddleRestore {
        stream.store(parent(range.start), &prompt[range]);
        return;
    }
    let mut start = range.start;
    while start < range.end {
        let missing = prompt[start..range.end].iter().take_while(|block| !is_held(block)).count();
        stream.store(parent(start), &prompt[start..start + missing]);
        start += missing.max(1);
    }
}

/// Every copy of these blocks goes, the last block first.
fn forget(stream: &mut Stream, chains: &[&[Block]], copies: impl Fn(&Block) -> u32) {
    let mut blocks: Vec<_> = chains.iter().flat_map(|chain| chain.iter().enumerate()).collect();
    blocks.sort_unstable_by_key(|&(depth, block)| (std::cmp::Reverse(depth), block.name));
    blocks.dedup_by_key(|(_, block)| block.name);
    let names = blocks.iter().flat_map(|(_, block)| std::iter::repeat_n(block.name, copies(block) as usize));
    stream.remove(&names.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(mode: Mode) -> usize {
        let stream = stream(mode, 2_000, 4, 3);
        let mut truth = Truth::new(4);
        let mut holes = 0;
        let mut batches = stream.batches.iter();
        for query in &stream.queries {
            let blocks = chain(stream.ids(query));
            for worker in 0..4 {
                let held: Vec<_> = blocks.iter().map(|block| truth.copies(worker, block.name) > 0).collect();
                holes += usize::from(held.windows(2).any(|pair| pair == [false, true]));
            }
            let batch = batches.next().unwrap();
            stream.events(batch).for_each(|event| truth.apply(batch.worker, event));
        }
        holes
    }

    #[test]
    fn only_a_cache_that_forgets_in_the_middle_has_holes() {
        assert_eq!(holes(Mode::Tail), 0);
        assert!(holes(Mode::Middle) > 100);
        assert!(holes(Mode::MiddleRestore) > 100);
    }

    #[test]
    fn only_what_is_stored_anew_from_a_hole_on_has_copies() {
        let copies = |mode| {
            let stream = stream(mode, 2_000, 4, 3);
            let mut truth = Truth::new(4);
            let mut most = 0;
            for batch in &stream.batches {
                stream.events(batch).for_each(|event| truth.apply(batch.worker, event));
                most = truth.0.iter().flat_map(|held| held.values()).copied().max().unwrap_or(0).max(most);
            }
            most
        };
        assert_eq!((copies(Mode::Tail), copies(Mode::Middle)), (1, 1));
        assert!(copies(Mode::MiddleRestore) > 1);
    }
}
