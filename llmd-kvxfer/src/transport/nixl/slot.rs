//! Memory of our own that NIXL reads into, in slots: what is registered once, and may be lost.

use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use crate::layout::KvLayout;
use crate::nixl::{self, AgentSettings, Memory, Nixl, Registration};
use crate::plan::Plan;
use crate::region::{HostMemory, Region};

/// The NIXL agent that reads, and the slots that it reads into.
#[derive(Debug)]
pub(super) struct Slots {
    nixl: Nixl,
    settings: AgentSettings,
    name: String,
    /// How many there are, and how many bytes of content each has room for.
    count: usize,
    room: u64,
    agent: Option<nixl::Agent>,
    /// How many agents there were.
    agents: u64,
    free: Vec<Slot>,
    /// Those that may be written to until the agent is dropped.
    lost: usize,
    /// Whether none is given out, so that the agent can be dropped.
    is_draining: bool,
}

/// Memory for one part of a transfer: the words by which it is known whether it may be relied on, and its bytes.
#[derive(Debug)]
pub(super) struct Slot {
    region: Region,
    registration: Registration,
    /// Of which agent.
    of: u64,
}

/// How blocks go from one pool to another by way of a slot.
#[derive(Debug)]
pub(super) struct Parts {
    from: KvLayout,
    /// From a slot to the pool.
    pub(super) plan: Arc<Plan>,
    /// From a slot to itself: the order in which its blocks are summed, which is that of the pool that they are from.
    pub(super) own: Arc<Plan>,
    /// How many periods go in one part.
    pub(super) periods: usize,
}

/// How much goes in one part, unless a period is more: long enough for a network, and short where NIXL copies while it is called.
const PART: u64 = 2 << 20;
/// How many blocks go in one part, and in how many runs.
const MAX_BLOCKS: usize = 4096;
const MAX_RUNS: usize = 1 << 16;

impl Slots {
    /// So many slots, for content of so many bytes each.
    pub(super) fn new(nixl: Nixl, settings: AgentSettings, name: String, count: usize, room: u64) -> Result<Self> {
        if !(2..=MAX_SLOTS).contains(&count) || !(MIN_ROOM..=MAX_ROOM).contains(&room) {
            let message =
                format!("{count} slots of {room} bytes, expected 2 to {MAX_SLOTS} of {MIN_ROOM} to {MAX_ROOM}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let (free, agent) = (Vec::new(), None);
        Ok(Self { nixl, settings, name, count, room, agent, agents: 0, free, lost: 0, is_draining: false })
    }

    /// How many bytes of content a slot has room for.
    pub(super) const fn room(&self) -> u64 {
        self.room
    }

    /// The agent that reads: made, with its slots, when it is first wanted.
    pub(super) fn agent(&mut self) -> Result<&mut nixl::Agent> {
        let agent = match self.agent.take() {
            Some(agent) => agent,
            None => self.made()?,
        };
        Ok(self.agent.insert(agent))
    }

    /// A slot, when one is free.
    pub(super) fn take(&mut self) -> Option<Slot> {
        if self.is_draining { None } else { self.free.pop() }
    }

    /// Nothing is written to it any more.
    pub(super) fn give_back(&mut self, slot: Slot) {
        if slot.of == self.agents {
            self.free.push(slot);
        }
    }

    /// Something may be written to it for as long as its agent is there, which keeps the memory.
    pub(super) fn lose(&mut self, slot: Slot) {
        if slot.of == self.agents {
            self.lost += 1;
        }
    }

    /// Whether none is free.
    pub(super) const fn is_none_free(&self) -> bool {
        self.free.is_empty()
    }

    /// Whether half of them are lost.
    pub(super) const fn is_short(&self) -> bool {
        self.lost * 2 >= self.count
    }

    /// Gives none out until there is a new agent, or does so again.
    pub(super) fn drain(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    /// Drops the agent, which closes its connections: whatever it still wrote to its slots, it does not any more. The next has new ones.
    pub(super) fn renew(&mut self) {
        self.agent = None;
        self.free.clear();
        self.lost = 0;
        self.is_draining = false;
    }

    fn made(&mut self) -> Result<nixl::Agent> {
        self.agents += 1;
        let mut agent = self.nixl.agent(&format!("{}-{}", self.name, self.agents), &self.settings)?;
        self.free.clear();
        for _ in 0..self.count {
            let region = HostMemory::new((Slot::CONTENT + self.room) as usize).allocate()?;
            let registration = agent.register(Memory::of_region(&region)?)?;
            self.free.push(Slot { region, registration, of: self.agents });
        }
        Ok(agent)
    }
}

/// How many slots there may be, and of how many bytes.
const MAX_SLOTS: usize = 256;
const MIN_ROOM: u64 = 64 << 10;
const MAX_ROOM: u64 = 1 << 30;

impl Slot {
    /// How many bytes the words have that belong together: two.
    pub(super) const WORDS: u64 = 16;
    /// Where the content begins: after the words of a lease and of as many blocks as there may be.
    pub(super) const CONTENT: u64 = ((MAX_BLOCKS as u64 + 1) * Self::WORDS).next_multiple_of(4096);

    pub(super) const fn region(&self) -> &Region {
        &self.region
    }

    pub(super) const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The first of its words, two by two.
    pub(super) fn words(&self, count: usize) -> Result<Vec<[u64; 2]>> {
        let mut bytes = vec![0; count * Self::WORDS as usize];
        self.region.read(0, &mut bytes)?;
        let (pairs, _) = bytes.as_chunks::<16>();
        Ok(pairs.iter().map(|pair| two_words(*pair)).collect())
    }
}

fn two_words(bytes: [u8; 16]) -> [u64; 2] {
    let both = u128::from_ne_bytes(bytes);
    let (low, high) = (both as u64, (both >> 64) as u64);
    if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
}

impl Parts {
    /// From a pool that is laid out like `from`, with `runs` runs in each block, to one like `to`, by slots with so much room.
    pub(super) fn new(from: &KvLayout, runs: usize, to: &KvLayout, room: u64) -> Result<Self> {
        let (bytes, blocks) = (from.block_bytes(), blocks_of_period(from, to));
        let period = bytes.saturating_mul(blocks);
        let runs = runs.saturating_mul(blocks as usize);
        if period > room || blocks as usize > MAX_BLOCKS || runs > nixl::MAX_COPIES {
            let message = format!(
                "{blocks} blocks of {bytes} bytes in {runs} runs that go together, expected at most {room} bytes, {MAX_BLOCKS} \
                 blocks and {} runs: give the transport larger slots",
                nixl::MAX_COPIES
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let most = [room.min(PART) / period, MAX_BLOCKS as u64 / blocks, (MAX_RUNS / runs.max(1)) as u64];
        let periods = most.into_iter().fold(u64::MAX, u64::min).max(1);
        let slot = from.packed((periods * blocks) as u32)?.at_offset(Slot::CONTENT)?;
        let (plan, own) = (Arc::new(Plan::new(&slot, to)?), Arc::new(Plan::new(&slot, &slot)?));
        Ok(Self { from: from.clone(), plan, own, periods: periods as usize })
    }

    /// Whether they are from a pool that is laid out like this.
    pub(super) fn is_of(&self, from: &KvLayout) -> bool {
        self.from == *from
    }
}

/// How many blocks of `from` have to be there before the first block of `to` is whole, and nothing is left over.
pub(super) fn blocks_of_period(from: &KvLayout, to: &KvLayout) -> u64 {
    let [a, b] = [from, to].map(|layout| u64::from(layout.shape().tokens));
    let (mut larger, mut smaller) = (a, b);
    while smaller > 0 {
        (larger, smaller) = (smaller, larger % smaller);
    }
    b / larger
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvShape;

    const SHAPE: KvShape = KvShape { layers: 2, blocks: 96, heads: 2, tokens: 16, parts: 2, content: 128 };

    #[test]
    fn as_many_periods_go_together_as_a_slot_has_room_for() {
        let from = KvLayout::named("LBNHC", SHAPE).unwrap();
        let same = Parts::new(&from, 2, &from, 64 << 10).unwrap();
        assert_eq!((same.periods, same.plan.period()), (4, (1, 1)), "of 16 KiB each");
        assert_eq!(Parts::new(&from, 2, &from, 8 << 20).unwrap().periods, 128, "2 MiB");
        assert_eq!(Parts::new(&from, 60_000, &from, 8 << 20).unwrap().periods, 1, "many runs");
        let wide = KvLayout::named("LBHNC", KvShape { blocks: 32, tokens: 48, ..SHAPE }).unwrap();
        let wider = Parts::new(&from, 2, &wide, 128 << 10).unwrap();
        assert_eq!((wider.periods, wider.plan.period()), (2, (3, 1)));
        let refused = Parts::new(&from, 2, &wide, 32 << 10).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().starts_with("3 blocks of 16384 bytes in 6 runs that go together"), "{refused}");
    }

    #[test]
    fn a_block_in_a_slot_is_one_run_in_the_order_of_its_sum() {
        for name in ["LBNHC", "LPBNHC", "BHLNC", "LHBNC"] {
            let from = KvLayout::named(name, SHAPE).unwrap();
            let parts = Parts::new(&from, 2, &from, 64 << 10).unwrap();
            let runs: Vec<_> = parts.own.copies(&[1], &[1]).unwrap().collect();
            assert_eq!(runs.len(), 1, "{name}");
            assert_eq!((runs[0].from, runs[0].len), (Slot::CONTENT + from.block_bytes(), from.block_bytes()));
            assert!(parts.plan.keeps_order(), "{name}");
        }
    }
}
