//! The grid's state and questions: prompts of one length that share a system prompt, then a document, then nothing.

use std::collections::HashSet;

use super::{Block, Stream, chain};
use crate::chance::{Chance, Zipf, mix};

/// System prompts in all.
const SYSTEMS: usize = 8;
/// How uneven documents are asked for.
const SKEW: f64 = 0.8;
/// Workers that a document's prompts mostly go to.
const HOMES: usize = 4;

/// Prompts of `blocks` blocks (an eighth is the system prompt, three eighths a document): as many as have `entries` blocks
/// in all, fewer of them different, and one for each worker at least; three in ten have a second holder of a part.
/// Then `queries` questions of the same length: half for a whole prompt, 30 % leave it in the conversation, 15 % in the
/// document, 5 % know nothing.
pub(crate) fn stream(blocks: usize, workers: usize, entries: usize, queries: usize, seed: u64) -> Stream {
    let mut chance = Chance::new(seed ^ ((blocks as u64) << 32) ^ workers as u64);
    let mut stream = Stream::new(workers);
    let system = (blocks / 8).max(1);
    let document = (3 * blocks / 8).clamp(1, blocks - system);
    let conversation = blocks - system - document;
    let prompts = (entries / blocks).max(workers).max(16);

    let systems: Vec<_> = (0..SYSTEMS).map(|_| chance.fresh(system)).collect();
    let documents = (prompts / 16).clamp(1, 4096);
    let documents: Vec<_> =
        (0..documents).map(|_| [systems[chance.below(SYSTEMS)].clone(), chance.fresh(document)].concat()).collect();
    let popular = Zipf::new(documents.len(), SKEW);
    let mut caches = Caches::default();
    let mut known = Vec::with_capacity(prompts);
    for prompt in 0..prompts {
        let about = popular.draw(&mut chance);
        let ids = [documents[about].clone(), chance.fresh(conversation)].concat();
        let worker = if prompt < workers {
            prompt
        } else if chance.unit() < 0.75 {
            let home = (about * HOMES + chance.below(HOMES)) as u64;
            (mix(home) % workers as u64) as usize
        } else {
            chance.below(workers)
        };
        let chain = chain(&ids);
        caches.hold(&mut stream, worker, &chain);
        if workers > 1 && chance.unit() < 0.3 {
            let (second, part) = (chance.below(workers), 1 + chance.below(blocks));
            caches.hold(&mut stream, second, &chain[..part]);
        }
        known.push(ids);
    }
    for _ in 0..queries {
        let prompt = &known[chance.below(prompts)];
        let kept = match chance.unit() {
            ..0.5 => blocks,
            ..0.8 => system + document + chance.below(conversation.max(1)),
            ..0.95 => system + chance.below((document / 4).max(1)),
            _ => 0,
        };
        let ids = [&prompt[..kept], &chance.fresh(blocks - kept)].concat();
        stream.ask(&ids);
    }
    stream
}

/// Who holds what: an engine says only what it did not hold.
#[derive(Debug, Default)]
struct Caches(HashSet<(usize, u64)>);

impl Caches {
    fn hold(&mut self, stream: &mut Stream, worker: usize, blocks: &[Block]) {
        let held = blocks.iter().take_while(|block| self.0.contains(&(worker, block.name))).count();
        let (held, new) = blocks.split_at(held);
        self.0.extend(new.iter().map(|block| (worker, block.name)));
        stream.prefill(worker as u32, held.last().map(|block| block.name), new);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stream::Event;

    #[test]
    fn everyone_holds_something_and_nothing_is_stored_twice() {
        let stream = stream(64, 8, 10_000, 100, 7);
        let mut held = HashSet::new();
        for batch in &stream.batches {
            for event in stream.events(batch) {
                let Event::Stored { blocks, .. } = event else { panic!("{event:?}") };
                assert!(blocks.iter().all(|block| held.insert((batch.worker, block.name))));
            }
        }
        let workers: HashSet<_> = held.iter().map(|&(worker, _)| worker).collect();
        assert_eq!(workers.len(), 8);
        assert!((5_000..14_000).contains(&held.len()), "{}", held.len());
        assert!(stream.queries.iter().all(|query| stream.ids(query).len() == 64));
    }
}
