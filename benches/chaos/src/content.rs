//! What is in blocks: it follows from who wrote them and how often, byte by byte, so that whoever has a copy can tell what it is of.

use llmd_core::Result;
use llmd_kvxfer::{Axis, KvShape, Pool};
use serde::{Deserialize, Serialize};

use crate::chance::mix;

/// What was in the blocks of a grant when it was granted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Truth {
    /// Which life of which engine wrote it.
    pub(crate) life: u64,
    /// Which of its pools.
    pub(crate) pool: usize,
    /// Its blocks, and how often each was written before.
    pub(crate) blocks: Vec<(u32, u32)>,
}

/// What a block's content follows from.
pub(crate) fn seed(life: u64, pool: usize, (block, version): (u32, u32)) -> u64 {
    mix(mix(life << 8 | pool as u64) ^ (u64::from(block) << 32 | u64::from(version)))
}

/// Where something is that has one content: a token's key or value in one layer and head. The token is counted within its source block.
struct Unit {
    offset: usize,
    layer: u32,
    head: u32,
    token: u32,
    part: u32,
}

impl Unit {
    /// What lies there, when the block's content follows from `seed`.
    fn content(&self, seed: u64, bytes: &mut [u8]) {
        let Self { layer, head, token, part, .. } = *self;
        let place = u64::from(layer) << 48 | u64::from(head) << 32 | u64::from(token) << 8 | u64::from(part);
        let mut state = mix(seed ^ mix(place));
        for word in bytes.chunks_mut(8) {
            state = mix(state.wrapping_add(1));
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
    }
}

/// Every unit of a block of a pool.
fn units(pool: &Pool, block: u32) -> impl Iterator<Item = Unit> {
    let layout = pool.layout().clone();
    let KvShape { layers, heads, tokens, parts, .. } = *layout.shape();
    let stride = move |axis, index: u32| layout.stride(axis) * u64::from(index);
    let start = pool.layout().offset();
    (0..layers * heads * tokens * parts).map(move |place| {
        let (part, rest) = (place % parts, place / parts);
        let (head, rest) = (rest % heads, rest / heads);
        let (token, layer) = (rest % tokens, rest / tokens);
        let along =
            [(Axis::Layer, layer), (Axis::Block, block), (Axis::Head, head), (Axis::Token, token), (Axis::Part, part)];
        let offset = start + along.into_iter().map(|(axis, index)| stride(axis, index)).sum::<u64>();
        Unit { offset: offset as usize, layer, head, token, part }
    })
}

/// Writes the content that follows from `seed` into a block.
///
/// # Errors
///
/// [`Invalid`](llmd_core::ErrorKind::Invalid) for a block that the pool does not have.
pub(crate) fn fill(pool: &Pool, block: u32, seed: u64) -> Result<()> {
    let mut bytes = vec![0; pool.layout().shape().content as usize];
    for unit in units(pool, block) {
        unit.content(seed, &mut bytes);
        pool.region().write(unit.offset, &bytes)?;
    }
    Ok(())
}

/// What was found in a block that something was to be fetched into.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Bytes that are not what they should be.
    pub(crate) wrong: u64,
    /// Bytes that are neither what they should be nor what was there before.
    pub(crate) foreign: u64,
    /// Bytes that are not what was there before.
    pub(crate) changed: u64,
}

/// Looks at the block that is `place`-th in a list of them, which should hold `truth` and held what follows from `poison`.
///
/// # Errors
///
/// [`Invalid`](llmd_core::ErrorKind::Invalid) for a block that the pool does not have.
pub(crate) fn look(pool: &Pool, block: u32, place: usize, truth: &Truth, poison: u64) -> Result<Found> {
    let tokens = pool.layout().shape().tokens;
    let [mut there, mut right, mut before] = [(); 3].map(|()| vec![0; pool.layout().shape().content as usize]);
    let mut found = Found::default();
    for unit in units(pool, block) {
        pool.region().read(unit.offset, &mut there)?;
        unit.content(poison, &mut before);
        let sequence = place as u32 * tokens + unit.token;
        let source = truth.blocks.get((sequence / SOURCE_TOKENS) as usize);
        match source {
            Some(&source) => Unit { token: sequence % SOURCE_TOKENS, ..unit }
                .content(seed(truth.life, truth.pool, source), &mut right),
            None => right.copy_from_slice(&before),
        }
        for ((there, right), before) in there.iter().zip(&right).zip(&before) {
            found.wrong += u64::from(there != right);
            found.foreign += u64::from(there != right && there != before);
            found.changed += u64::from(there != before);
        }
    }
    Ok(found)
}

/// Tokens of a block of all pools that lend.
pub(crate) const SOURCE_TOKENS: u32 = 16;

#[cfg(test)]
mod tests {
    use llmd_kvxfer::{Agent, KvLayout, Local, Region};

    use super::*;

    #[test]
    fn what_was_written_is_known_again_whatever_the_layout_and_every_other_byte_is_found() {
        let agent = Agent::builder("a").transport(Local::default()).build().unwrap();
        let shape = KvShape { layers: 2, blocks: 4, heads: 2, tokens: 16, parts: 2, content: 24 };
        let pool = |name, shape: KvShape| {
            let layout = KvLayout::named(name, shape).unwrap();
            agent.register(Region::memfd(layout.end() as usize).unwrap(), layout).unwrap()
        };
        let truth = Truth { life: 7, pool: 1, blocks: vec![(2, 5)] };
        for name in ["NHD", "HND", "BLHNC"] {
            let pool = pool(name, shape);
            fill(&pool, 3, seed(7, 1, (2, 5))).unwrap();
            let found = look(&pool, 3, 0, &truth, 99).unwrap();
            assert_eq!((found.wrong, found.foreign), (0, 0));
            assert!(found.changed > 3000);
            let last = pool.layout().end() as usize - 1;
            pool.region().write(last, &[0]).unwrap();
            assert!(look(&pool, 3, 0, &truth, 99).unwrap().wrong <= 1);
            assert!(look(&pool, 3, 1, &truth, 99).unwrap().wrong > 3000, "that place has no content");
        }
        let half = pool("HND", KvShape { tokens: 8, ..shape });
        fill(&half, 0, 99).unwrap();
        assert_eq!(look(&half, 0, 1, &truth, 99).unwrap().changed, 0);
    }
}
