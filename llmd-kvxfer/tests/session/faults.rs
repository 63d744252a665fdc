//! What goes wrong in one world, and how often; and how large the world is.

use crate::rng::Rng;

/// Per mille, unless said otherwise. In every other world, each is 0; in a calm one, all are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Between agents: lost, told twice, and for how long it travels at most, in milliseconds.
    pub(crate) net_lost: u64,
    pub(crate) net_twice: u64,
    pub(crate) net_delay: u64,
    /// From an agent to its engine.
    pub(crate) notice_lost: u64,
    pub(crate) notice_twice: u64,
    pub(crate) notice_delay: u64,
    /// For how long an engine may sleep beyond the time at which it should poll.
    pub(crate) oversleeps: u64,
    pub(crate) refused: u64,
    pub(crate) corrupt: u64,
    pub(crate) denied: u64,
    pub(crate) io: u64,
    pub(crate) peer_lost: u64,
    pub(crate) misfits: u64,
    pub(crate) hangs: u64,
    pub(crate) malformed: u64,
    pub(crate) told_twice: u64,
    pub(crate) lost_on_the_way: u64,
    pub(crate) aborts: u64,
    pub(crate) preempts: u64,
    pub(crate) restarts: u64,
    pub(crate) forgets: u64,
    /// Prefillers that remember less than decoders want.
    pub(crate) short_windows: u64,
}

impl Faults {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut up_to = |most: u64| if rng.chance(500) { 0 } else { rng.between(1, most) };
        Self {
            net_lost: up_to(300),
            net_twice: up_to(300),
            net_delay: 1 + up_to(80),
            notice_lost: up_to(150),
            notice_twice: up_to(300),
            notice_delay: up_to(40),
            oversleeps: up_to(60),
            refused: up_to(60),
            corrupt: up_to(60),
            denied: up_to(60),
            io: up_to(60),
            peer_lost: up_to(250),
            misfits: up_to(20),
            hangs: up_to(100),
            malformed: up_to(80),
            told_twice: up_to(200),
            lost_on_the_way: up_to(100),
            aborts: up_to(250),
            preempts: up_to(250),
            restarts: up_to(32),
            forgets: up_to(200),
            short_windows: up_to(300),
        }
    }
}

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) prefills: usize,
    pub(crate) decodes: usize,
    pub(crate) requests: usize,
    pub(crate) groups: u32,
    pub(crate) shards: u32,
    /// How many ranks a decoder has: each finishes each lease.
    pub(crate) ranks: u32,
    pub(crate) block_tokens: u32,
    /// What group 1 remembers.
    pub(crate) window: u32,
    pub(crate) ttl: u64,
}

impl Shape {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            prefills: rng.between(1, 3) as usize,
            decodes: rng.between(1, 3) as usize,
            requests: rng.between(4, 24) as usize,
            groups: rng.between(1, 2) as u32,
            shards: rng.between(1, 2) as u32,
            ranks: rng.between(1, 2) as u32,
            block_tokens: 4,
            window: rng.between(4, 20) as u32,
            ttl: rng.between(30, 600),
        }
    }
}

/// What a shard holds of the block of a request that begins at this token.
pub(crate) const fn content(request: usize, group: u32, shard: u32, token: u32) -> u64 {
    let place = (request as u64) << 40 | (group as u64) << 36 | (shard as u64) << 32 | token as u64;
    crate::rng::mix(place.wrapping_add(0x9e37_79b9_7f4a_7c15))
}
