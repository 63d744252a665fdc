//! What names blocks of another agent, and lets one read them.

mod id;

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

pub use self::id::AgentId;
use crate::layout::KvLayout;
use crate::lease::{Capability, LeaseId};
use crate::wire::{Reader, Writer};

/// What names blocks of another agent, and lets whoever has it read them: which agent and where it is found, which of its pools
/// and how that is laid out, which lease, and which blocks. No address in memory is in it.
///
/// It goes from engine to engine as [bytes](Self::to_bytes), such as in `kv_transfer_params`. Whoever sees them may read the blocks
/// for as long as the lease holds: they are a secret between those who pass them on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    whole: Arc<Whole>,
    part: Range<u32>,
}

#[derive(Debug, Eq, PartialEq)]
struct Whole {
    agent: AgentId,
    addresses: Vec<Address>,
    pool: u32,
    layout: KvLayout,
    lease: LeaseId,
    capability: Capability,
    /// The capability's tag for these blocks.
    tag: u64,
    ttl: Duration,
    blocks: Arc<[u32]>,
    /// A hash of each address's place.
    places: SmallVec<[u64; 4]>,
}

/// Where an agent is found, by one of its transports.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an address is this")]
pub struct Address {
    /// The transport's name, such as `shm`.
    pub transport: String,
    /// Where, as that transport writes it: a socket's path, a host and a port.
    pub place: String,
}

/// What a grant is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) agent: AgentId,
    pub(crate) addresses: Vec<Address>,
    pub(crate) pool: u32,
    pub(crate) layout: KvLayout,
    pub(crate) lease: LeaseId,
    pub(crate) capability: Capability,
    pub(crate) ttl: Duration,
    pub(crate) blocks: Arc<[u32]>,
}

/// How many blocks one grant may name.
pub(crate) const MAX_BLOCKS: usize = 1 << 20;
/// At how many places an agent may be found.
const MAX_ADDRESSES: usize = 16;
/// How long a transport's name may be, and a place.
const MAX_NAME: usize = 32;
const MAX_PLACE: usize = 4096;

/// What every grant begins with, and the version of what follows.
const MAGIC: [u8; 4] = *b"LKVg";
const VERSION: u8 = 1;

impl Grant {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { agent, addresses, pool, layout, lease, capability, ttl, blocks } = parts;
        let part = 0..blocks.len() as u32;
        let tag = capability.tag(pool, &blocks);
        let hash = BuildHasherDefault::<DefaultHasher>::default();
        let places = addresses.iter().map(|address| hash.hash_one(&address.place)).collect();
        let whole = Whole { agent, addresses, pool, layout, lease, capability, tag, ttl, blocks, places };
        Self { whole: Arc::new(whole), part }
    }

    /// Some of the blocks, by their place in the list: what is in the decoder's own cache need not be fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the grant does not name as many.
    pub fn part(&self, places: Range<usize>) -> Result<Self> {
        if places.start > places.end || places.end > self.part.len() {
            let message = format!("blocks {} to {} of a grant of {}", places.start, places.end, self.part.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let first = self.part.start;
        Ok(Self { whole: Arc::clone(&self.whole), part: first + places.start as u32..first + places.end as u32 })
    }

    /// Which agent granted it.
    pub fn agent(&self) -> AgentId {
        self.whole.agent
    }

    /// Where that agent is found.
    pub fn addresses(&self) -> &[Address] {
        &self.whole.addresses
    }

    /// Where it is found by this transport.
    pub fn address(&self, transport: &str) -> Option<&str> {
        let address = self.whole.addresses.iter().find(|address| address.transport == transport);
        address.map(|address| address.place.as_str())
    }

    /// A hash of where it is found by this transport: 0 when it is not.
    pub(crate) fn place(&self, transport: &str) -> u64 {
        let mut places = self.whole.addresses.iter().zip(&self.whole.places);
        places.find(|(address, _)| address.transport == transport).map_or(0, |(_, &place)| place)
    }

    /// Which of that agent's pools the blocks are of.
    pub fn pool(&self) -> u32 {
        self.whole.pool
    }

    /// How that pool is laid out.
    pub fn layout(&self) -> &KvLayout {
        &self.whole.layout
    }

    /// Which lease holds them.
    pub fn lease(&self) -> LeaseId {
        self.whole.lease
    }

    /// For how long it was granted, when it was.
    pub fn ttl(&self) -> Duration {
        self.whole.ttl
    }

    /// The blocks, in the order in which they were named.
    pub fn blocks(&self) -> &[u32] {
        &self.whole.blocks[self.part.start as usize..self.part.end as usize]
    }

    /// Their places among all that the lease holds.
    pub(crate) fn places(&self) -> Range<u32> {
        self.part.clone()
    }

    /// The same, of a pool that it says is laid out like this.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn laid_out(&self, layout: KvLayout) -> Self {
        let Whole { agent, addresses, pool, lease, capability, ttl, blocks, .. } = &*self.whole;
        let (addresses, blocks) = (addresses.clone(), Arc::clone(blocks));
        let (agent, pool, lease, capability, ttl) = (*agent, *pool, *lease, *capability, *ttl);
        Self::new(Parts { agent, addresses, pool, layout, lease, capability, ttl, blocks })
    }

    /// The same, of an agent that it says is found elsewhere.
    #[cfg(test)]
    pub(crate) fn leading_to(&self, addresses: &[Address]) -> Self {
        let Whole { agent, pool, layout, lease, capability, ttl, blocks, .. } = &*self.whole;
        let (addresses, layout, blocks) = (addresses.to_vec(), layout.clone(), Arc::clone(blocks));
        let (agent, pool, lease, capability, ttl) = (*agent, *pool, *lease, *capability, *ttl);
        Self::new(Parts { agent, addresses, pool, layout, lease, capability, ttl, blocks })
    }

    /// The same, of other blocks of perhaps another pool.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn naming(&self, pool: u32, blocks: &[u32]) -> Self {
        let Whole { agent, addresses, layout, lease, capability, ttl, .. } = &*self.whole;
        let (addresses, layout, blocks) = (addresses.clone(), layout.clone(), blocks.into());
        let (agent, lease, capability, ttl) = (*agent, *lease, *capability, *ttl);
        Self::new(Parts { agent, addresses, pool, layout, lease, capability, ttl, blocks })
    }

    /// All that the lease holds.
    pub(crate) fn all_blocks(&self) -> Arc<[u32]> {
        Arc::clone(&self.whole.blocks)
    }

    /// By which it is known on a board that the capability is the right one, and the blocks are those of the lease.
    pub(crate) fn tag(&self) -> u64 {
        self.whole.tag
    }

    pub(crate) fn capability(&self) -> &Capability {
        &self.whole.capability
    }

    /// All of it as bytes, whichever part this is: some 120, one or two more for each block, and the addresses.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let Whole { agent, addresses, pool, layout, lease, capability, ttl, blocks, .. } = &*self.whole;
        writer.raw(&MAGIC);
        writer.byte(VERSION);
        writer.raw(&agent.to_bytes());
        writer.number(addresses.len() as u64);
        for Address { transport, place } in addresses {
            writer.text(transport);
            writer.text(place);
        }
        writer.number((*pool).into());
        writer.number(lease.slot.into());
        writer.number(lease.generation);
        writer.raw(&capability.to_bytes());
        writer.number(ttl.as_millis().try_into().unwrap_or(u64::MAX));
        layout.encode(&mut writer);
        writer.blocks(blocks);
        writer.into_bytes()
    }

    /// The grant that these bytes are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] for bytes that are none, with the field and the byte, and [`ErrorKind::Unsupported`] for one of
    /// another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("grant", bytes);
        if reader.array("magic")? != MAGIC {
            return Err(reader.wrong("magic", format_args!("is not that of a grant")));
        }
        let version = reader.byte("version")?;
        if version != VERSION {
            let message = format!("a grant of version {version}, expected {VERSION}: the peer is of another release");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let agent = AgentId::from_bytes(reader.array("agent")?);
        let count = reader.at_most("addresses", MAX_ADDRESSES as u64)?;
        let mut addresses = Vec::new();
        for _ in 0..count {
            let transport = reader.text("transport", MAX_NAME)?.to_owned();
            addresses.push(Address { transport, place: reader.text("place", MAX_PLACE)?.to_owned() });
        }
        let pool = reader.small("pool")?;
        let lease = LeaseId { slot: reader.small("slot")?, generation: reader.number("generation")? };
        let capability = Capability::from_bytes(reader.array("capability")?);
        let ttl = Duration::from_millis(reader.number("ttl")?);
        let layout = KvLayout::decode(&mut reader)?;
        let blocks: Arc<[u32]> = reader.blocks("blocks", MAX_BLOCKS)?.into();
        if let Some(block) = blocks.iter().find(|&&block| block >= layout.shape().blocks) {
            let there = layout.shape().blocks;
            return Err(reader.wrong("blocks", format_args!("names block {block}, expected one below {there}")));
        }
        reader.end()?;
        Ok(Self::new(Parts { agent, addresses, pool, layout, lease, capability, ttl, blocks }))
    }
}

/// Shows what is no secret.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whole { agent, pool, lease, .. } = &*self.whole;
        write!(f, "{} blocks of pool {pool} of agent {agent}, lease {lease}", self.part.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvShape;

    fn grant() -> Grant {
        let shape = KvShape { layers: 2, blocks: 100, heads: 4, tokens: 16, parts: 2, content: 256 };
        let layout = KvLayout::named("LBHNC", shape).unwrap().of_format("bfloat16").from_layer(8).from_head(4);
        let address = |transport: &str, place: &str| Address { transport: transport.into(), place: place.into() };
        Grant::new(Parts {
            agent: AgentId::from_bytes([0xab; 16]),
            addresses: vec![address("shm", "/run/llmd/prefill-0"), address("tcp", "10.0.0.7:7777")],
            pool: 3,
            layout: layout.at_offset(4096).unwrap(),
            lease: LeaseId { slot: 17, generation: 300 },
            capability: Capability::from_bytes(std::array::from_fn(|place| place as u8)),
            ttl: Duration::from_secs(30),
            blocks: [3, 4, 5, 99, 0].into(),
        })
    }

    #[test]
    fn a_grant_goes_as_bytes() {
        let grant = grant();
        let bytes = grant.to_bytes();
        assert_eq!(Grant::from_bytes(&bytes).unwrap(), grant);
        assert_eq!(bytes.len(), 129);
        let opaque = KvLayout::opaque("amx", 8, 4096).unwrap();
        let mut writer = Writer::default();
        opaque.encode(&mut writer);
        assert_eq!(KvLayout::decode(&mut Reader::new("layout", &writer.into_bytes())).unwrap(), opaque);
    }

    /// Bytes of each version are kept: one that is changed by accident is found here, not between engines of two releases.
    #[test]
    fn the_bytes_of_version_1_stay_as_they_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/grant-1/grant.hex");
        let hex: String = grant().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        expect_test::expect_file![path].assert_eq(&format!("{hex}\n"));
    }

    #[test]
    fn bytes_that_are_cut_off_or_changed_are_never_a_panic() {
        let bytes = grant().to_bytes();
        for end in 0..bytes.len() {
            assert!(Grant::from_bytes(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                let _either = Grant::from_bytes(&changed);
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Grant::from_bytes(&longer).unwrap_err().to_string(), "grant: 1 bytes follow its end");
        let mut newer = bytes;
        newer[4] = 2;
        let said = Grant::from_bytes(&newer).unwrap_err();
        assert_eq!(
            (said.kind(), said.to_string().as_str()),
            (ErrorKind::Unsupported, "a grant of version 2, expected 1: the peer is of another release")
        );
    }

    #[test]
    fn a_part_of_a_part_counts_from_the_parts_beginning() {
        let grant = grant();
        let part = grant.part(1..5).unwrap().part(1..3).unwrap();
        assert_eq!((part.blocks(), part.places()), (&[5, 99][..], 2..4));
        assert_eq!(part.to_bytes(), grant.to_bytes());
        assert_eq!(part.part(0..3).unwrap_err().to_string(), "blocks 0 to 3 of a grant of 2");
    }

    #[test]
    fn what_is_shown_is_no_secret() {
        let shown = format!("{} {:?}", grant(), grant());
        assert!(shown.starts_with("5 blocks of pool 3 of agent abababab"), "{shown}");
        assert!(shown.contains("Capability(..)"));
    }
}
