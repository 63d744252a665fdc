//! Many conversations that leave one system prompt at the same block: what a query, an eviction and a store cost then.

use clap::Args;
use llmd_core::Result;
use serde_json::json;

use crate::chance::Chance;
use crate::contender::prompt;
use crate::index::{Index, Reader as _, Who, With, feed, with};
use crate::say;
use crate::stream::{Block, Stream, chain};
use crate::system::worked;

/// Many conversations under one system prompt.
#[derive(Debug, Args)]
pub(crate) struct Fanout {
    #[arg(long)]
    who: Who,
    /// How many conversations there are, each time it is measured; ascending
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 200_000, 1_000_000])]
    children: Vec<usize>,
    #[arg(long, default_value_t = 64)]
    workers: usize,
}

/// Blocks of the system prompt, which every worker holds.
const SYSTEM: usize = 8;
/// Blocks of a conversation of its own.
const OWN: usize = 4;
/// Calls that are timed at once, and how often; the best time counts.
const CALLS: usize = 1_000;
const TURNS: usize = 5;

pub(crate) fn run(fanout: &Fanout) -> Result<()> {
    with(fanout.who, Grow(fanout));
    Ok(())
}

/// Grows the conversations of an index and says a row each time there are as many as wanted.
#[derive(Debug)]
struct Grow<'a>(&'a Fanout);

impl With for Grow<'_> {
    type Answer = ();

    fn with<I: Index>(self) {
        let Fanout { who, children, workers } = self.0;
        let mut family = Family::<I>::new(*workers);
        let most = children.iter().copied().max().unwrap_or(0);
        let progress = say::progress(&format!("fan-out, {}", who.name()), most);
        for &children in children {
            while family.conversations.len() < children {
                family.store(CALLS.min(children - family.conversations.len()));
                progress.set_position(family.conversations.len() as u64);
            }
            let row = family.measure();
            say::row(&json!({
                "part": "fanout", "who": who.name(), "children": children, "hit_us": row.hit, "miss_us": row.miss,
                "evict_us": row.evict, "store_us": row.store,
            }));
        }
        progress.finish_and_clear();
    }
}

/// Microseconds per call.
#[derive(Debug)]
struct Row {
    hit: f64,
    miss: f64,
    evict: f64,
    store: f64,
}

/// An index with conversations under one system prompt.
#[derive(Debug)]
struct Family<I> {
    index: I,
    chance: Chance,
    workers: usize,
    system: Vec<u64>,
    parent: u64,
    conversations: Vec<(u32, [Block; OWN])>,
}

impl<I: Index> Family<I> {
    fn new(workers: usize) -> Self {
        let mut chance = Chance::new(7);
        let system = chance.fresh(SYSTEM);
        let blocks = chain(&system);
        let mut stream = Stream::new(workers);
        (0..workers).for_each(|worker| stream.prefill(worker as u32, None, &blocks));
        let mut index = I::new(workers);
        feed(&mut index, &stream, &stream.batches);
        Self { index, chance, workers, system, parent: blocks[SYSTEM - 1].name, conversations: Vec::new() }
    }

    /// Adds conversations, an engine step each: microseconds per conversation.
    fn store(&mut self, count: usize) -> f64 {
        let mut stream = Stream::new(self.workers);
        for _ in 0..count {
            let ids = [self.system.clone(), self.chance.fresh(OWN)].concat();
            let own: [Block; OWN] = chain(&ids)[SYSTEM..].try_into().expect("a conversation has its own blocks");
            let worker = self.chance.below(self.workers) as u32;
            stream.prefill(worker, Some(self.parent), &own);
            self.conversations.push((worker, own));
        }
        feed(&mut self.index, &stream, &stream.batches).as_secs_f64() * 1e6 / count as f64
    }

    /// Evicts conversations, an event each: microseconds per conversation.
    fn evict(&mut self, count: usize) -> f64 {
        let mut stream = Stream::new(self.workers);
        for _ in 0..count {
            let place = self.chance.below(self.conversations.len());
            let (worker, own) = self.conversations.swap_remove(place);
            stream.begin(worker);
            stream.remove(&own.map(|block| block.name).into_iter().rev().collect::<Vec<_>>());
        }
        feed(&mut self.index, &stream, &stream.batches).as_secs_f64() * 1e6 / count as f64
    }

    /// Asks for conversations that are there, or for some that are not: microseconds per query.
    fn ask(&mut self, are_there: bool) -> f64 {
        let mut reader = self.index.reader();
        let mut query = || {
            let own = match are_there {
                true => {
                    self.conversations[self.chance.below(self.conversations.len())].1.map(|block| block.id).to_vec()
                }
                false => self.chance.fresh(OWN),
            };
            reader.query(&prompt(&[&self.system[..], &own].concat()))
        };
        let mut queries: Vec<_> = (0..CALLS).map(|_| query()).collect();
        let ((), took) = worked(|| queries.iter_mut().for_each(|query| reader.ask(query)));
        took.as_secs_f64() * 1e6 / CALLS as f64
    }

    fn measure(&mut self) -> Row {
        let mut best = Row { hit: f64::MAX, miss: f64::MAX, evict: f64::MAX, store: f64::MAX };
        for _ in 0..TURNS {
            best.hit = best.hit.min(self.ask(true));
            best.miss = best.miss.min(self.ask(false));
            best.evict = best.evict.min(self.evict(CALLS));
            best.store = best.store.min(self.store(CALLS));
        }
        best
    }
}
