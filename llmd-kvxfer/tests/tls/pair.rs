//! Two agents, of which one lends all blocks of a pool.

use std::net::SocketAddr;
use std::time::Duration;

use llmd_kvxfer::{Agent, Fetch, Fetched, Grant, KvLayout, Lease, OpId, Outcome, Pool, Region, Tcp, Tls};

use crate::SECOND;
use crate::between::Between;

/// So many blocks, of so many bytes.
#[derive(Clone, Copy)]
pub(crate) struct Shape(pub(crate) u32, pub(crate) u32);

impl Shape {
    fn pool(self, agent: &Agent) -> Pool {
        let layout = KvLayout::opaque("blocks", self.0, self.1).unwrap();
        agent.register(Region::memfd(layout.end() as usize).unwrap(), layout).unwrap()
    }

    /// What is in a block, unlike any other.
    pub(crate) fn content(self, block: u32) -> Vec<u8> {
        let mut state = u64::from(block) + 1;
        let mut word = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state.to_le_bytes()
        };
        (0..self.1.div_ceil(8)).flat_map(|_| word()).take(self.1 as usize).collect()
    }
}

/// An agent that lends all of a pool.
pub(crate) struct Lender {
    pub(crate) agent: Agent,
    pub(crate) grant: Grant,
}

impl Lender {
    pub(crate) fn new(tls: Option<Tls>, shape: Shape) -> Self {
        Self::at(tcp(tls), shape)
    }

    /// One that is found behind what stands between.
    pub(crate) fn behind(between: &Between, tls: Option<Tls>, shape: Shape) -> Self {
        let tcp = tcp(tls);
        let port = tcp.listens().port();
        between.turn(|fate| fate.to = SocketAddr::from(([127, 0, 0, 1], port)));
        Self::at(tcp.advertise(between.address.to_string()), shape)
    }

    fn at(tcp: Tcp, shape: Shape) -> Self {
        let agent = Agent::builder("lender").tenant("acme", b"secret").transport(tcp).build().unwrap();
        let pool = shape.pool(&agent);
        (0..shape.0).for_each(|block| pool.write_block(block, &shape.content(block)).unwrap());
        let all: Vec<u32> = (0..shape.0).collect();
        let grant = agent.grant(&pool, &all, Lease::for_secs(60)).unwrap();
        Self { agent, grant }
    }
}

/// An agent that fetches them, the last one first.
pub(crate) struct Reader {
    pub(crate) agent: Agent,
    cache: Pool,
    shape: Shape,
}

impl Reader {
    pub(crate) fn new(tls: Option<Tls>, shape: Shape) -> Self {
        let agent = Agent::builder("reader").tenant("acme", b"secret").transport(tcp(tls)).build().unwrap();
        Self { cache: shape.pool(&agent), agent, shape }
    }

    pub(crate) fn begin(&self, lender: &Lender) -> OpId {
        let into: Vec<u32> = (0..self.shape.0).rev().collect();
        self.agent.submit(&Fetch::new(&lender.grant, &self.cache, &into).and_hold().within(20 * SECOND)).unwrap()
    }

    /// How it ended. Blocks that are said to be here are, whatever the end.
    pub(crate) fn end(&self, op: OpId) -> Fetched {
        let fetched = self.agent.wait(op, 30 * SECOND).unwrap();
        for block in (0..self.shape.0).filter(|&block| fetched.blocks.has(block as usize)) {
            let is_right = self.cache.read_block(self.shape.0 - 1 - block).unwrap() == self.shape.content(block);
            assert!(is_right, "block {block} is said to have arrived, and is not here");
        }
        fetched
    }

    pub(crate) fn fetch(&self, lender: &Lender) -> Fetched {
        self.end(self.begin(lender))
    }

    /// How long it takes until all is here.
    pub(crate) fn takes(&self, lender: &Lender) -> Duration {
        let fetched = self.agent.wait(self.begin(lender), 30 * SECOND).unwrap();
        assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
        fetched.took
    }

    pub(crate) fn fetches_all(&self, lender: &Lender) {
        let fetched = self.fetch(lender);
        assert_eq!((fetched.outcome, fetched.blocks.is_all()), (Outcome::Done, true), "{:?}", fetched.why);
    }
}

fn tcp(tls: Option<Tls>) -> Tcp {
    let tcp = Tcp::bind("127.0.0.1:0").unwrap();
    match tls {
        Some(tls) => tcp.tls(tls),
        None => tcp,
    }
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(SECOND / 1000);
    }
    panic!("{what}: not in ten seconds");
}
