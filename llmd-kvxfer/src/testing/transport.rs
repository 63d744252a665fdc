//! What every transport does.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "this is a test, for others to call")]

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_core::ErrorKind;

use super::flaky::splitmix;
use crate::agent::{Agent, Event, Fetch, Fetched, OpId};
use crate::grant::Grant;
use crate::layout::{KvLayout, KvShape};
use crate::lease::{Lease, LeaseEnd};
use crate::outcome::Outcome;
use crate::pool::Pool;
use crate::region::Region;
use crate::transport::{LeaseEnded, Transport};

/// Checks a transport, between two agents that each have one that `make` made.
///
/// # Panics
///
/// When it is not right, saying what is not.
pub fn transport<T: Transport + 'static>(make: impl Fn() -> T) {
    transport_with(make, [&|len| Region::memfd(len).unwrap(), &|len| Region::memfd(len).unwrap()]);
}

/// The same, between pools of memory that these make: of the agent that mostly lends, and of the one that mostly fetches.
///
/// # Panics
///
/// When it is not right, saying what is not.
pub fn transport_with<T: Transport + 'static>(make: impl Fn() -> T, memory: [&dyn Fn(usize) -> Region; 2]) {
    let checks: [(&str, Check); 13] = [
        ("what is said is heard", what_is_said_is_heard),
        ("blocks arrive, and the lease ends", blocks_arrive_and_the_lease_ends),
        ("a part of a grant arrives", a_part_arrives),
        ("another layout is folded into the copy", another_layout_arrives),
        ("blocks of another size arrive", another_block_size_arrives),
        ("what was changed is corrupt, and the rest arrives", what_was_changed_is_corrupt),
        ("a lease that ended is stale", what_ended_is_stale),
        ("a forged grant is denied", what_is_forged_is_denied),
        ("a grant that names other blocks brings none of them", what_names_other_blocks_brings_none_of_them),
        ("a grant that lays the pool out otherwise is refused", what_lies_about_the_layout_is_refused),
        ("many at once all arrive, each ending once", many_at_once_end_once),
        ("what is cancelled ends once", what_is_cancelled_ends_once),
        ("an agent that goes away is not waited for", what_goes_away_is_lost),
    ];
    for (what, check) in checks {
        let build =
            |name: &str, memory| Side { agent: Agent::builder(name).transport(make()).build().unwrap(), memory };
        let pair = Pair { prefill: build("prefill-0", memory[0]), decode: build("decode-0", memory[1]) };
        println!("{what}");
        check(&pair);
    }
}

type Check = fn(&Pair<'_>);

struct Pair<'a> {
    prefill: Side<'a>,
    decode: Side<'a>,
}

/// An agent, and what makes its memory.
struct Side<'a> {
    agent: Agent,
    memory: &'a dyn Fn(usize) -> Region,
}

impl std::ops::Deref for Side<'_> {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes that is right.
const LONG: Duration = Duration::from_secs(20);
const SHAPE: KvShape = KvShape { layers: 2, blocks: 96, heads: 2, tokens: 16, parts: 2, content: 128 };

fn layout(name: &str) -> KvLayout {
    KvLayout::named(name, SHAPE).unwrap()
}

/// Content that tells which block it is, and of which agent.
fn filled(agent: &Side<'_>, seed: u64, layout: KvLayout) -> Pool {
    let pool = agent.register((agent.memory)(layout.end() as usize), layout).unwrap();
    let mut content = vec![0; pool.layout().block_bytes() as usize];
    for block in 0..pool.layout().shape().blocks {
        let mut state = seed << 32 | u64::from(block);
        content.as_chunks_mut().0.iter_mut().for_each(|word| *word = splitmix(&mut state).to_le_bytes());
        pool.write_block(block, &content).unwrap();
    }
    pool
}

fn ended(agent: &Agent, op: OpId) -> Fetched {
    agent.wait(op, LONG).unwrap()
}

fn same(from: (&Pool, u32), to: (&Pool, u32)) -> bool {
    from.0.read_block(from.1).unwrap() == to.0.read_block(to.1).unwrap()
}

fn lease_end(agent: &Agent) -> LeaseEnded {
    let mut events = Vec::new();
    for _ in 0..LONG.as_millis() {
        agent.poll(&mut events).unwrap();
        let end = events.drain(..).find_map(|event| match event {
            Event::LeaseEnded(ended) => Some(ended),
            Event::Fetched(_) | Event::Notified(_) => None,
        });
        if let Some(end) = end {
            return end;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("a lease whose consumer has finished does not end");
}

fn what_is_said_is_heard(Pair { prefill, decode }: &Pair<'_>) {
    let computed = filled(prefill, 1, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[9], Lease::for_secs(60)).unwrap();
    let said: Vec<u128> = (0..10).map(|value| u128::MAX / 11 * value).collect();
    for &value in &said {
        decode.notify(&grant, value).unwrap();
    }
    let (mut events, mut heard) = (Vec::new(), Vec::new());
    for _ in 0..LONG.as_millis() {
        prefill.poll(&mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Notified(notified) = event {
                assert_eq!(notified.lease, grant.lease());
                heard.push(notified.value);
            }
        }
        if heard.len() == said.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(heard, said, "in the order in which it was said");
}

fn blocks_arrive_and_the_lease_ends(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let before = cache.read_block(3).unwrap();
    let grant = prefill.grant(&computed, &[9, 3, 60], Lease::for_secs(60)).unwrap();
    let grant = Grant::from_bytes(&grant.to_bytes()).unwrap();
    let fetched = ended(decode, decode.fetch(&grant, &cache, &[0, 1, 2], LONG).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!(fetched.blocks.is_all() && fetched.bytes == 3 * cache.layout().block_bytes());
    for (from, to) in [(9, 0), (3, 1), (60, 2)] {
        assert!(same((&computed, from), (&cache, to)), "block {from} is not in block {to}");
    }
    assert!(cache.read_block(3).unwrap() == before, "a block that nobody fetched into was written");
    let end = lease_end(prefill);
    assert_eq!((end.lease, end.end), (grant.lease(), LeaseEnd::Finished));
}

fn a_part_arrives(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let grant = prefill.grant(&computed, &[9, 3, 60, 7], Lease::for_secs(60)).unwrap();
    let part = grant.part(1..3).unwrap();
    let first = decode.submit(&Fetch::new(&part, &cache, &[5, 6]).and_hold()).unwrap();
    assert_eq!(ended(decode, first).outcome, Outcome::Done);
    let rest = grant.part(3..4).unwrap();
    assert_eq!(ended(decode, decode.fetch(&rest, &cache, &[0], LONG).unwrap()).outcome, Outcome::Done);
    for (from, to) in [(3, 5), (60, 6), (7, 0)] {
        assert!(same((&computed, from), (&cache, to)), "block {from} is not in block {to}");
    }
}

fn another_layout_arrives(Pair { prefill, decode }: &Pair<'_>) {
    let all: Vec<u32> = (0..SHAPE.blocks).collect();
    let backwards: Vec<u32> = (0..SHAPE.blocks).rev().collect();
    for name in ["LBHNC", "BLHNC", "LPBNHC"] {
        let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout(name)));
        let grant = prefill.grant(&computed, &all, Lease::for_secs(60)).unwrap();
        assert_eq!(ended(decode, decode.fetch(&grant, &cache, &backwards, LONG).unwrap()).outcome, Outcome::Done);
        let back = filled(prefill, 3, layout("LBNHC"));
        let grant = decode.grant(&cache, &backwards, Lease::for_secs(60)).unwrap();
        assert_eq!(ended(prefill, prefill.fetch(&grant, &back, &all, LONG).unwrap()).outcome, Outcome::Done);
        assert!(
            all.iter().all(|&block| same((&computed, block), (&back, block))),
            "by {name} and back is not the same"
        );
    }
}

fn another_block_size_arrives(Pair { prefill, decode }: &Pair<'_>) {
    let wide = KvLayout::named("LBHNC", KvShape { blocks: 24, tokens: 64, ..SHAPE }).unwrap();
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, wide));
    let from = [7, 90, 3, 4, 50, 51, 1, 2];
    let grant = prefill.grant(&computed, &from, Lease::for_secs(60)).unwrap();
    assert_eq!(ended(decode, decode.fetch(&grant, &cache, &[20, 3], LONG).unwrap()).outcome, Outcome::Done);
    let back = filled(prefill, 3, layout("LBNHC"));
    let grant = decode.grant(&cache, &[20, 3], Lease::for_secs(60)).unwrap();
    assert_eq!(ended(prefill, prefill.fetch(&grant, &back, &from, LONG).unwrap()).outcome, Outcome::Done);
    assert!(from.iter().all(|&block| same((&computed, block), (&back, block))));
}

fn what_was_changed_is_corrupt(Pair { prefill, decode }: &Pair<'_>) {
    for name in ["LBNHC", "LBHNC"] {
        let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout(name)));
        let grant = prefill.grant(&computed, &[4, 5, 6], Lease::for_secs(60)).unwrap();
        let first = decode.submit(&Fetch::new(&grant, &cache, &[0, 1, 2]).and_hold()).unwrap();
        assert_eq!(ended(decode, first).outcome, Outcome::Done);
        let mut flipped = computed.read_block(5).unwrap();
        flipped[777] ^= 4;
        computed.write_block(5, &flipped).unwrap();
        let fetched = ended(decode, decode.fetch(&grant, &cache, &[3, 4, 5], LONG).unwrap());
        assert_eq!(fetched.outcome, Outcome::Corrupt);
        assert_eq!(fetched.blocks.failed().collect::<Vec<_>>(), [1], "block by block");
    }
}

fn what_ended_is_stale(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let outcome = |grant: &Grant| ended(decode, decode.fetch(grant, &cache, &[0], LONG).unwrap()).outcome;
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(60)).unwrap();
    assert_eq!(outcome(&grant), Outcome::Done);
    assert_eq!(lease_end(prefill).free, [4]);
    assert_eq!(outcome(&grant), Outcome::Stale, "all consumers had finished");
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(60)).unwrap();
    assert!(prefill.release(grant.lease()).unwrap());
    assert_eq!(outcome(&grant), Outcome::Stale, "it was released");
    let short = prefill.grant(&computed, &[4], Lease::new(Duration::from_millis(1))).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(outcome(&short), Outcome::Stale, "it lapsed");
}

fn what_is_forged_is_denied(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let before = cache.read_block(0).unwrap();
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(60)).unwrap();
    let mut forged = grant.to_bytes();
    let secret = grant.capability().to_bytes();
    let place = forged.windows(secret.len()).position(|window| window == secret).unwrap();
    forged[place] ^= 1;
    let forged = Grant::from_bytes(&forged).unwrap();
    let fetched = ended(decode, decode.fetch(&forged, &cache, &[0], LONG).unwrap());
    assert_eq!(fetched.outcome, Outcome::Denied);
    assert!(cache.read_block(0).unwrap() == before, "a block was read that was not lent");
}

/// A bit that turned on the way would do it. Whoever serves from its own list of blocks may bring what was granted all the same.
fn what_names_other_blocks_brings_none_of_them(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let other = filled(prefill, 3, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[9, 3], Lease::for_secs(60)).unwrap();
    let before = cache.read_block(0).unwrap();
    for forged in [
        grant.naming(computed.id(), &[8, 3]),
        grant.naming(computed.id(), &[3, 9]),
        grant.naming(computed.id(), &[9, 3, 5]),
        grant.naming(other.id(), &[9, 3]),
    ] {
        let blocks: Vec<_> = (0..forged.blocks().len() as u32).collect();
        let fetch = Fetch::new(&forged, &cache, &blocks).within(SECOND).and_hold();
        let fetched = decode.submit(&fetch).map(|op| ended(decode, op).outcome);
        let came = cache.read_block(0).unwrap();
        assert!(came == before || came == computed.read_block(9).unwrap(), "{forged}: {fetched:?}");
    }
    prefill.release(grant.lease()).unwrap();
}

fn what_lies_about_the_layout_is_refused(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(60)).unwrap();
    let lying = grant.laid_out(layout("LBHNC"));
    let fetched = ended(decode, decode.fetch(&lying, &cache, &[0], LONG).unwrap());
    assert!(matches!(fetched.outcome, Outcome::Denied | Outcome::Corrupt), "{:?}", fetched.outcome);
    let fetched = ended(decode, decode.fetch(&grant, &cache, &[0], LONG).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "and the one that does not lie still is: {:?}", fetched.why);
}

fn many_at_once_end_once(Pair { prefill, decode }: &Pair<'_>) {
    let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
    let mut state = 7;
    let mut wanted = BTreeMap::new();
    for op in 0..SHAPE.blocks / 2 {
        let from = [0, 1].map(|_| (splitmix(&mut state) % u64::from(SHAPE.blocks)) as u32);
        let grant = prefill.grant(&computed, &from, Lease::for_secs(60)).unwrap();
        let to = [2 * op, 2 * op + 1];
        wanted.insert(decode.fetch(&grant, &cache, &to, LONG).unwrap(), (from, to));
    }
    let mut events = Vec::new();
    for _ in 0..LONG.as_millis() {
        decode.poll(&mut events).unwrap();
        for event in events.drain(..) {
            let Event::Fetched(fetched) = event else { continue };
            let (from, to) = wanted.remove(&fetched.op).expect("an operation ends once");
            assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
            assert!(from.into_iter().zip(to).all(|(from, to)| same((&computed, from), (&cache, to))));
        }
        if wanted.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{} operations did not end", wanted.len());
}

fn what_is_cancelled_ends_once(Pair { prefill, decode }: &Pair<'_>) {
    let layout = KvLayout::opaque("bytes", 64, 1 << 20).unwrap();
    let (computed, cache) = (filled(prefill, 1, layout.clone()), filled(decode, 2, layout));
    let all: Vec<u32> = (0..64).collect();
    for pause in [0, 100, 1000, 3000, 10_000] {
        let grant = prefill.grant(&computed, &all, Lease::for_secs(60)).unwrap();
        let op = decode.fetch(&grant, &cache, &all, LONG).unwrap();
        std::thread::sleep(Duration::from_micros(pause));
        decode.cancel(op).unwrap();
        decode.cancel(op).unwrap();
        let fetched = ended(decode, op);
        assert!(matches!(fetched.outcome, Outcome::Cancelled | Outcome::Done), "{:?}", fetched.outcome);
        let arrived = (0..64).filter(|&block| fetched.blocks.has(block as usize));
        for block in arrived {
            assert!(same((&computed, block), (&cache, block)), "block {block} is said to have arrived");
        }
        assert_eq!(decode.wait(op, SECOND).unwrap_err().kind(), ErrorKind::Invalid, "it ended twice");
    }
    assert_eq!(decode.stats().operations, 0);
}

fn what_goes_away_is_lost(Pair { prefill, decode }: &Pair<'_>) {
    let layout = KvLayout::opaque("bytes", 8, 4096).unwrap();
    let cache = filled(decode, 2, layout.clone());
    let grant = {
        let computed = filled(prefill, 1, layout);
        let grant = prefill.grant(&computed, &[1], Lease::for_secs(60)).unwrap();
        prefill.unregister(&computed).unwrap();
        grant
    };
    // Its pool is gone: whoever comes is told so.
    match decode.fetch(&grant, &cache, &[0], LONG) {
        Ok(op) => assert!(matches!(ended(decode, op).outcome, Outcome::Stale | Outcome::Denied)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
}
