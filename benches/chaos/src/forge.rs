//! Grants that are not what was granted. They are made from bytes, as one would who has only those.

use crate::chance::Chance;
use crate::message::Kind;
use crate::pools::{LENDING, POOLS};

/// A grant's bytes, in the fields that are forged.
#[derive(Clone, Debug)]
struct Fields {
    /// Magic, version, agent.
    head: Vec<u8>,
    addresses: Vec<(Vec<u8>, Vec<u8>)>,
    pool: u64,
    slot: u64,
    generation: u64,
    capability: Vec<u8>,
    /// The ttl, and the layout as it stands there.
    middle: Vec<u8>,
    /// How many blocks the layout has.
    there: u64,
    blocks: Vec<u64>,
}

/// The grant as one of this kind; `None` when it cannot be made one. `place` is where it leads to when its address is forged.
pub(crate) fn forge(grant: &[u8], kind: Kind, place: &str, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut fields = Fields::read(grant)?;
    match kind {
        Kind::Address => fields.addresses = vec![(b"shm".to_vec(), place.as_bytes().to_vec())],
        Kind::Beyond => {
            let more = 1 + chance.below(8);
            fields.blocks.extend((0..more).map(|_| chance.below(fields.there as usize) as u64));
        }
        Kind::Blocks => {
            let place = chance.below(fields.blocks.len());
            let block = fields.blocks.get_mut(place)?;
            *block = (*block + 1 + chance.below(fields.there as usize - 1) as u64) % fields.there;
        }
        Kind::Capability => {
            let bit = chance.below(128);
            fields.capability[bit / 8] ^= 1 << (bit % 8);
        }
        Kind::Cut => return Some(grant[..chance.below(grant.len())].to_vec()),
        Kind::Flipped => {
            let mut flipped = grant.to_vec();
            let bit = chance.below(grant.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A cache may be mapped by whoever knows its number, and would be counted as something new.
            let is_a_cache =
                Fields::read(&flipped).is_some_and(|fields| (LENDING..POOLS).contains(&(fields.pool as usize)));
            return (!is_a_cache).then_some(flipped);
        }
        Kind::Lease => match chance.below(3) {
            0 => fields.slot ^= 1 + chance.below(7) as u64,
            1 => fields.generation = fields.generation.saturating_sub(1),
            _ => fields.generation += 1 + chance.below(3) as u64,
        },
        Kind::Pool => fields.pool = (fields.pool + 1 + chance.below(2) as u64) % 3,
        Kind::Honest | Kind::Mesh | Kind::Replayed | Kind::WrongKey | Kind::WrongTenant => return Some(grant.to_vec()),
    }
    Some(fields.write())
}

/// Numbers of a layout before its blocks' bytes: eight counts, an offset, five strides.
const NUMBERS: usize = 14;

impl Fields {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        let head = take(bytes, &mut at, 21)?.to_vec();
        let count = number(bytes, &mut at)?;
        let mut addresses = Vec::new();
        for _ in 0..count {
            let transport = text(bytes, &mut at)?;
            addresses.push((transport, text(bytes, &mut at)?));
        }
        let [pool, slot, generation] = [number(bytes, &mut at)?, number(bytes, &mut at)?, number(bytes, &mut at)?];
        let capability = take(bytes, &mut at, 16)?.to_vec();
        let begin = at;
        number(bytes, &mut at)?;
        let mut numbers = [0; NUMBERS];
        for value in &mut numbers {
            *value = number(bytes, &mut at)?;
        }
        take(bytes, &mut at, 1)?;
        text(bytes, &mut at)?;
        let middle = bytes[begin..at].to_vec();
        let (mut blocks, mut last) = (Vec::new(), -1_i64);
        for _ in 0..number(bytes, &mut at)? {
            let delta = number(bytes, &mut at)?;
            last += 1 + ((delta >> 1) as i64 ^ -((delta & 1) as i64));
            blocks.push(u64::try_from(last).ok()?);
        }
        Some(Self { head, addresses, pool, slot, generation, capability, middle, there: numbers[1], blocks })
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        put(&mut bytes, self.addresses.len() as u64);
        for part in self.addresses.iter().flat_map(|(transport, place)| [transport, place]) {
            put(&mut bytes, part.len() as u64);
            bytes.extend(part);
        }
        [self.pool, self.slot, self.generation].into_iter().for_each(|value| put(&mut bytes, value));
        bytes.extend(&self.capability);
        bytes.extend(&self.middle);
        put(&mut bytes, self.blocks.len() as u64);
        let mut last = -1_i64;
        for &block in &self.blocks {
            let delta = block as i64 - last - 1;
            put(&mut bytes, ((delta << 1) ^ (delta >> 63)) as u64);
            last = block as i64;
        }
        bytes
    }
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, count: usize) -> Option<&'a [u8]> {
    let taken = bytes.get(*at..*at + count)?;
    *at += count;
    Some(taken)
}

fn text(bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let count = number(bytes, at)? as usize;
    Some(take(bytes, at, count)?.to_vec())
}

fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

pub(crate) fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use llmd_kvxfer::{Agent, Grant, KvLayout, Lease, Local, Region};

    use super::*;

    #[test]
    fn what_is_forged_still_reads_as_a_grant_and_is_another() {
        let agent = Agent::builder("a").transport(Local::default()).build().unwrap();
        let layout = KvLayout::opaque("bytes", 300, 64).unwrap();
        let pool = agent.register(Region::memfd(300 * 64).unwrap(), layout).unwrap();
        let grant = agent.grant(&pool, &[7, 299, 0, 1], Lease::new(Duration::from_millis(300))).unwrap();
        let bytes = grant.to_bytes();
        assert_eq!(Fields::read(&bytes).unwrap().write(), bytes);
        let mut chance = Chance::new(1);
        for kind in [Kind::Address, Kind::Beyond, Kind::Blocks, Kind::Capability, Kind::Lease, Kind::Pool] {
            for _ in 0..50 {
                let forged = forge(&bytes, kind, "/nowhere", &mut chance).unwrap();
                let forged = Grant::from_bytes(&forged).unwrap();
                assert_ne!(forged, grant, "{kind:?}");
            }
        }
    }
}
