use std::sync::atomic::AtomicU64;

use super::*;
use crate::grant::AgentId;
use crate::grant::Parts;
use crate::handshake::{Identity, Keys};
use crate::layout::KvLayout;
use crate::lease::Lease;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::region::Region;
use crate::transport::{Check, HomeSettings};

const TTL: Duration = Duration::from_secs(60);

/// One side, driven by hand.
struct Side {
    home: Arc<Home>,
    shm: Shm,
    pool: Pool,
}

impl Side {
    fn new(name: &str) -> Self {
        let mut keys = Keys::default();
        keys.add("default", None);
        let me = Identity { agent: AgentId::random().unwrap(), name: name.into() };
        // Time passes when somebody looks.
        let ticks = AtomicU64::new(0);
        let home = Arc::new(
            Home::new(HomeSettings {
                me,
                keys,
                tenant: "default".into(),
                check: Check::Off,
                spin: Duration::ZERO,
                copy_threads: 1,
                max_leases: 8,
                clock: Arc::new(move || Duration::from_micros(20 * ticks.fetch_add(1, Ordering::Relaxed))),
            })
            .unwrap(),
        );
        let mut shm = Shm::default().without_cma();
        shm.start(&home).unwrap();
        let layout = KvLayout::opaque("bytes", 64, 64 << 10).unwrap();
        let region = Region::adopt_bytes(vec![7; layout.end() as usize]);
        let pool = Pool::new(0, "default", region, layout).unwrap();
        home.insert(pool.clone());
        Self { home, shm, pool }
    }

    fn lend(&self, blocks: u32) -> Grant {
        let blocks: Arc<[u32]> = (0..blocks).collect();
        let (lease, capability) = self.home.grant(&self.pool, &blocks, Lease::new(TTL)).unwrap();
        let place = self.shm.address().unwrap();
        let addresses = vec![crate::grant::Address { transport: "shm".into(), place }];
        let (agent, layout) = (self.home.agent(), self.pool.layout().clone());
        Grant::new(Parts { agent, addresses, pool: 0, layout, lease, capability, ttl: TTL, blocks })
    }

    fn post(&mut self, id: TransferId, grant: &Grant) {
        let plan = Arc::new(Plan::new(grant.layout(), self.pool.layout()).unwrap());
        let transfer = Transfer {
            id,
            grant: grant.clone(),
            pool: self.pool.clone(),
            blocks: grant.blocks().into(),
            plan,
            is_checked: false,
            priority: 0,
            deadline: Duration::MAX,
        };
        assert!(self.shm.post(self.home.now(), transfer).unwrap().is_none());
    }

    fn poll(&mut self) -> Vec<Ending> {
        let mut ended = Vec::new();
        self.shm.poll(self.home.now(), &mut ended);
        ended
    }

    fn peer(&mut self) -> &mut Peer {
        self.shm.started.as_mut().unwrap().peers.values_mut().next().unwrap()
    }
}

/// Both do what there is to do until the second has ended something.
fn ending(serves: &mut Side, reads: &mut Side) -> Ending {
    for _ in 0..30_000 {
        serves.poll();
        if let Some(ending) = reads.poll().pop() {
            return ending;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing ended in half a minute");
}

fn connected() -> (Side, Side, Grant) {
    let (mut serves, mut reads) = (Side::new("serves"), Side::new("reads"));
    let grant = serves.lend(40);
    reads.post(1, &grant);
    let first = ending(&mut serves, &mut reads);
    assert_eq!((first.outcome, first.bytes), (Outcome::Done, 40 << 16), "{:?}", first.why);
    (serves, reads, grant)
}

#[test]
fn a_peer_that_asks_what_nobody_asks_is_dropped_and_counted() {
    let (_, _, grant) = connected();
    let request = |places, area, slot| {
        let (lease, capability) = (grant.lease(), *grant.capability());
        message::Request { number: 77, lease, capability, places, area, slot }
    };
    let words = [[9; 8], request(0..1, 1, 0).to_slot(), request(0..1, 0, 16).to_slot(), [1, 0, 0, 0, 0, 0, 1, 0]];
    for slot in words {
        let (mut serves, mut reads, grant) = connected();
        assert!(reads.peer().line.push(&slot));
        reads.post(2, &grant);
        let lost = ending(&mut serves, &mut reads);
        assert_eq!(lost.outcome, Outcome::PeerLost, "{slot:?}: {:?}", lost.why);
        assert_eq!(serves.home.counts.malformed.load(Ordering::Relaxed), 1, "{slot:?}");
        assert_eq!(serves.shm.peers(), 0);
    }
}

#[test]
fn more_than_a_slot_holds_is_not_written() {
    let (mut serves, mut reads, grant) = connected();
    let (lease, capability) = (grant.lease(), *grant.capability());
    let request = message::Request { number: 77, lease, capability, places: 0..17, area: 0, slot: 15 };
    assert!(reads.peer().line.push(&request.to_slot()));
    reads.post(2, &grant);
    assert_eq!(ending(&mut serves, &mut reads).outcome, Outcome::PeerLost);
    assert_eq!(serves.home.counts.malformed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_peer_that_answers_what_nobody_asked_is_dropped_and_counted() {
    for slot in [[9; 8], message::Answer { number: 1 << 40, outcome: Outcome::Done }.to_slot()] {
        let (mut serves, mut reads, grant) = connected();
        let started = serves.shm.started.as_mut().unwrap();
        assert!(started.clients.values().next().unwrap().answers().push(&slot));
        // The side that serves does nothing more.
        reads.post(2, &grant);
        let lost = reads.poll().pop().unwrap();
        assert_eq!(lost.outcome, Outcome::PeerLost, "{:?}", lost.why);
        assert_eq!(reads.home.counts.malformed.load(Ordering::Relaxed), 1);
        assert_eq!(reads.shm.peers(), 0);
    }
}

/// Requests that find no room in the ring wait, and go on by themselves.
#[test]
fn a_full_ring_holds_nothing_up_for_ever() {
    let (mut serves, mut reads, grant) = connected();
    let note = Note { lease: grant.lease(), capability: *grant.capability(), word: super::super::Word::Wanted };
    let mut told = 0;
    while reads.shm.tell(reads.home.now(), &grant, note).is_ok() {
        told += 1;
    }
    assert_eq!(told, 256);
    reads.post(2, &grant);
    assert!(reads.poll().is_empty());
    assert!(reads.shm.next_deadline().is_some(), "it is tried again");
    let done = ending(&mut serves, &mut reads);
    assert_eq!(done.outcome, Outcome::Done);
    assert!(reads.shm.next_deadline().is_none());
}
