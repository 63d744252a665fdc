//! The pools that every engine has: three that it lends of, and five that it fetches into.

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, KvLayout, KvShape, Pool, Region};

use crate::content::SOURCE_TOKENS;
use crate::message::Role;

/// The tenant of those that exchange blocks, and another that they serve.
pub(crate) const TENANT: (&str, &[u8]) = ("alpha", b"the key of alpha");
pub(crate) const NEIGHBOUR: (&str, &[u8]) = ("beta", b"the key of beta");

/// How many pools lend; the last of them is for the neighbour.
pub(crate) const LENDING: usize = 3;
/// The one for the neighbour.
pub(crate) const OF_NEIGHBOUR: usize = 2;
/// All pools.
pub(crate) const POOLS: usize = 8;

const SMALL: KvShape = KvShape { layers: 2, blocks: 1024, heads: 2, tokens: SOURCE_TOKENS, parts: 2, content: 64 };
const LARGE: KvShape = KvShape { layers: 4, blocks: 256, heads: 4, tokens: SOURCE_TOKENS, parts: 2, content: 128 };

/// How pool number `pool` of the engine in this slot is laid out.
fn layout(slot: usize, pool: usize) -> Result<KvLayout> {
    let lends = if slot.is_multiple_of(2) { "NHD" } else { "HND" };
    let (name, shape) = match pool {
        0 => (lends, SMALL),
        1 => (lends, LARGE),
        OF_NEIGHBOUR => (lends, KvShape { blocks: 256, ..SMALL }),
        3 => ("NHD", SMALL),
        4 => ("HND", SMALL),
        5 => ("HND", KvShape { tokens: SOURCE_TOKENS / 2, blocks: 2048, ..SMALL }),
        6 => ("NHD", LARGE),
        _ => ("BLHNC", LARGE),
    };
    KvLayout::named(name, shape)
}

/// Whether blocks of lending pool `from` fit into pool `to`.
pub(crate) const fn fits(from: usize, to: usize) -> bool {
    if from == 1 { to >= 6 } else { to >= LENDING && to < 6 }
}

/// Memory for all of them.
///
/// # Errors
///
/// [`ErrorKind::Exhausted`] when there is none.
pub(crate) fn memory(slot: usize) -> Result<Vec<Region>> {
    let len = |pool| -> Result<usize> { Ok(usize::try_from(layout(slot, pool)?.end()).unwrap_or(usize::MAX)) };
    (0..POOLS).map(|pool| Region::memfd(len(pool)?)).collect()
}

/// Registers all of them, in this order.
///
/// # Errors
///
/// What the agent says.
pub(crate) fn register(agent: &Agent, role: Role, slot: usize, memory: &[Region]) -> Result<Vec<Pool>> {
    if memory.len() != POOLS {
        return Err(Error::new(ErrorKind::Invalid, format!("{} regions, expected {POOLS}", memory.len())));
    }
    let of_all = memory.iter().enumerate();
    let registered = of_all.map(|(pool, region)| {
        let (region, layout) = (region.clone(), layout(slot, pool)?);
        if pool == OF_NEIGHBOUR && role == Role::Peer {
            agent.register_for(NEIGHBOUR.0, region, layout)
        } else {
            agent.register(region, layout)
        }
    });
    registered.collect()
}
