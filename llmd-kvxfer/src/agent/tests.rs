mod tcp;

use super::*;
use crate::layout::KvShape;
use crate::transport::{Local, Shm, Tcp};
use crate::{Blocks, LeaseEnd};

const SECOND: Duration = Duration::from_secs(1);
const SHAPE: KvShape = KvShape { layers: 2, blocks: 64, heads: 2, tokens: 16, parts: 2, content: 128 };

fn layout(name: &str) -> KvLayout {
    KvLayout::named(name, SHAPE).unwrap()
}

/// Content that tells which block it is, and of which agent.
fn content(seed: u8, block: u32, len: u64) -> Vec<u8> {
    (0..len).map(|place| (place as u8).wrapping_mul(31) ^ (place >> 8) as u8 ^ seed ^ block as u8).collect()
}

fn filled(agent: &Agent, seed: u8, layout: KvLayout) -> Pool {
    let region = Region::memfd(layout.end() as usize).unwrap();
    let pool = agent.register(region, layout).unwrap();
    let len = pool.layout().block_bytes();
    for block in 0..pool.layout().shape().blocks {
        pool.write_block(block, &content(seed, block, len)).unwrap();
    }
    pool
}

struct Pair {
    prefill: Agent,
    decode: Agent,
}

fn by_shm() -> Pair {
    let build = |name: &str| Agent::builder(name).transport(Shm::default()).build().unwrap();
    Pair { prefill: build("prefill-0"), decode: build("decode-0") }
}

fn by_tcp() -> Pair {
    let build = |name: &str| Agent::builder(name).transport(Tcp::bind("127.0.0.1:0").unwrap()).build().unwrap();
    Pair { prefill: build("prefill-0"), decode: build("decode-0") }
}

fn by_local() -> Pair {
    let here = Local::default();
    let build = |name: &str| Agent::builder(name).transport(here.clone()).build().unwrap();
    Pair { prefill: build("prefill-0"), decode: build("decode-0") }
}

/// Polls until a lease ended.
fn lease_end(agent: &Agent) -> crate::LeaseEnded {
    let mut events = Vec::new();
    for _ in 0..5000 {
        agent.poll(&mut events).unwrap();
        for event in events.drain(..) {
            if let Event::LeaseEnded(ended) = event {
                return ended;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no lease ended in five seconds");
}

#[test]
fn blocks_arrive_and_the_lease_ends_when_they_did() {
    for (pair, name) in [(by_shm(), "shm"), (by_local(), "local"), (by_tcp(), "tcp")] {
        let Pair { prefill, decode } = &pair;
        let (computed, cache) = (filled(prefill, 1, layout("LBNHC")), filled(decode, 2, layout("LBNHC")));
        let grant = prefill.grant(&computed, &[9, 3, 60], Lease::for_secs(30)).unwrap();
        let grant = Grant::from_bytes(&grant.to_bytes()).unwrap();
        let op = decode.fetch(&grant, &cache, &[0, 1, 2], 5 * SECOND).unwrap();
        let fetched = decode.wait(op, 5 * SECOND).unwrap();
        assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, name), "{:?}", fetched.why);
        assert_eq!((fetched.blocks, fetched.bytes), (Blocks::all(3), 3 * cache.layout().block_bytes()));
        for (from, to) in [(9, 0), (3, 1), (60, 2)] {
            assert!(cache.read_block(to).unwrap() == computed.read_block(from).unwrap(), "{from} to {to} by {name}");
        }
        assert!(cache.read_block(3).unwrap() == content(2, 3, cache.layout().block_bytes()));
        let ended = lease_end(prefill);
        assert_eq!((ended.lease, ended.end), (grant.lease(), LeaseEnd::Finished));
        assert_eq!(prefill.stats().leases, 0);
        assert_eq!(decode.wait(op, SECOND).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn another_layout_is_folded_into_the_copy() {
    for Pair { prefill, decode } in [by_shm(), by_tcp()] {
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBHNC")));
        let all: Vec<u32> = (0..64).collect();
        let grant = prefill.grant(&computed, &all, Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &all, 5 * SECOND).unwrap();
        let fetched = decode.wait(op, 5 * SECOND).unwrap();
        assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
        let back = filled(&prefill, 3, layout("LBNHC"));
        let grant = decode.grant(&cache, &all, Lease::for_secs(30)).unwrap();
        let op = prefill.fetch(&grant, &back, &all, 5 * SECOND).unwrap();
        assert_eq!(prefill.wait(op, 5 * SECOND).unwrap().outcome, Outcome::Done);
        for block in 0..64 {
            assert!(back.read_block(block).unwrap() == computed.read_block(block).unwrap());
        }
    }
}

#[test]
fn what_was_changed_after_it_was_sealed_is_corrupt() {
    for Pair { prefill, decode } in [by_shm(), by_local(), by_tcp()] {
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
        let grant = prefill.grant(&computed, &[4, 5, 6], Lease::for_secs(30)).unwrap();
        let first = decode.submit(&Fetch::new(&grant, &cache, &[0, 1, 2]).and_hold()).unwrap();
        assert_eq!(decode.wait(first, 5 * SECOND).unwrap().outcome, Outcome::Done);
        let mut flipped = computed.read_block(5).unwrap();
        flipped[777] ^= 4;
        computed.write_block(5, &flipped).unwrap();
        let again = decode.submit(&Fetch::new(&grant, &cache, &[3, 4, 5]).and_hold()).unwrap();
        let fetched = decode.wait(again, 5 * SECOND).unwrap();
        assert_eq!(fetched.outcome, Outcome::Corrupt);
        assert_eq!(fetched.blocks.failed().collect::<Vec<_>>(), [1]);
        assert_eq!(prefill.stats().leases, 1, "it is held");
        decode.finish(&grant).unwrap();
        assert_eq!(lease_end(&prefill).end, LeaseEnd::Finished);
    }
}

#[test]
fn a_lease_that_ended_is_stale_and_a_forged_one_denied() {
    for Pair { prefill, decode } in [by_shm(), by_local(), by_tcp()] {
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
        let outcome = |grant: &Grant| {
            let op = decode.fetch(grant, &cache, &[0], 5 * SECOND).unwrap();
            decode.wait(op, 5 * SECOND).unwrap().outcome
        };
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        assert_eq!(outcome(&grant), Outcome::Done);
        assert_eq!(lease_end(&prefill).free, [4]);
        assert_eq!(outcome(&grant), Outcome::Stale);

        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        let mut forged = grant.to_bytes();
        let secret = grant.capability().to_bytes();
        let place = forged.windows(16).position(|window| window == secret).unwrap();
        forged[place] ^= 1;
        assert_eq!(outcome(&Grant::from_bytes(&forged).unwrap()), Outcome::Denied);
        prefill.release(grant.lease()).unwrap();
        assert_eq!(outcome(&grant), Outcome::Stale);
    }
}

#[test]
fn a_lease_lapses_unless_it_is_kept() {
    let Pair { prefill, decode } = by_shm();
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let short = Lease::new(Duration::from_millis(150)).at_most(Duration::from_secs(3600));
    let (kept, left) = (prefill.grant(&computed, &[1], short).unwrap(), prefill.grant(&computed, &[2], short).unwrap());
    let keeping = decode.keep(&kept).unwrap();
    assert_eq!((lease_end(&prefill).lease, prefill.stats().leases), (left.lease(), 1));
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(prefill.stats().leases, 1);
    drop(keeping);
    let ended = lease_end(&prefill);
    assert_eq!((ended.lease, ended.end), (kept.lease(), LeaseEnd::Lapsed));
}

#[test]
fn an_agent_that_went_away_is_lost_and_not_waited_for() {
    let Pair { prefill, decode } = by_shm();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
    let address = grant.address("shm").unwrap().to_owned();
    drop(prefill);
    assert!(!std::path::Path::new(&address).exists());
    let refused = decode.fetch(&grant, &cache, &[0], 5 * SECOND).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("is not there"), "{refused}");
    assert!(decode.consider(&grant, &cache)[0].cost.is_err());
}

#[test]
fn agents_of_another_tenant_are_not_let_in() {
    let build = |name: &str, tenant: &str, key: &[u8]| {
        Agent::builder(name).tenant(tenant, key).transport(Shm::default()).build().unwrap()
    };
    let prefill = build("prefill-0", "acme", b"secret");
    let computed = filled(&prefill, 1, layout("LBNHC"));
    for (tenant, key, outcome) in
        [("acme", &b"secret"[..], Outcome::Done), ("acme", b"wrong", Outcome::Denied), ("evil", b"x", Outcome::Denied)]
    {
        let decode = build("decode-0", tenant, key);
        let cache = filled(&decode, 2, layout("LBNHC"));
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &[0], 5 * SECOND).unwrap();
        let fetched = decode.wait(op, 5 * SECOND).unwrap();
        assert_eq!(fetched.outcome, outcome, "{tenant}: {:?}", fetched.why);
        let is_there = cache.read_block(0).unwrap() == computed.read_block(4).unwrap();
        assert_eq!(is_there, outcome == Outcome::Done);
    }
    let region = computed.region().clone();
    let refused = prefill.register_for("other", region, layout("LBNHC")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let Pair { prefill, decode } = by_shm();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let grant = prefill.grant(&computed, &[4, 5], Lease::for_secs(30)).unwrap();
    let said = |error: Error| error.to_string();
    assert_eq!(
        said(prefill.grant(&computed, &[64], Lease::for_secs(1)).unwrap_err()),
        "block 64 to be lent, expected one below 64"
    );
    assert!(said(decode.fetch(&grant, &cache, &[0], SECOND).unwrap_err()).starts_with("2 blocks of 16 tokens into 1"));
    assert_eq!(
        said(decode.fetch(&grant, &cache, &[0, 99], SECOND).unwrap_err()),
        "block 99 to be written, expected one below 64"
    );
    assert_eq!(
        said(decode.submit(&Fetch::new(&grant, &cache, &[0, 1]).only(&["rdma"])).unwrap_err()),
        "transport `rdma`, expected one of the agent's: shm"
    );
    assert!(Agent::builder("none").build().is_err());
    let anonymous = Region::adopt_bytes(vec![0; layout("LBNHC").end() as usize]);
    assert_eq!(decode.register(anonymous, layout("LBNHC")).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn every_bound_is_kept() {
    let here = Local::default();
    let build =
        |name: &str| Agent::builder(name).transport(here.clone()).max_leases(2).max_operations(2).build().unwrap();
    let (prefill, decode) = (build("prefill-0"), build("decode-0"));
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let grant = || prefill.grant(&computed, &[4], Lease::for_secs(30));
    let (first, second) = (grant().unwrap(), grant().unwrap());
    assert_eq!(grant().unwrap_err().kind(), ErrorKind::Exhausted);
    decode.fetch(&first, &cache, &[0], SECOND).unwrap();
    decode.fetch(&second, &cache, &[1], SECOND).unwrap();
    assert_eq!(decode.fetch(&second, &cache, &[1], SECOND).unwrap_err().kind(), ErrorKind::Exhausted);
    while prefill.stats().leases > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Nobody has heard of the two that ended.
    assert_eq!(
        grant().unwrap_err().to_string(),
        "2 leases ended that nobody heard of, expected less than max_leases 2: poll the agent"
    );
    let mut events = Vec::new();
    prefill.poll(&mut events).unwrap();
    decode.poll(&mut events).unwrap();
    assert_eq!(events.len(), 4);
    grant().unwrap();
}
