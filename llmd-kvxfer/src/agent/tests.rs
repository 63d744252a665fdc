mod tcp;
mod unmapped;

use super::*;
use crate::layout::KvShape;
use crate::transport::{Local, Shm, Tcp};
use crate::{Blocks, LeaseEnd};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes that is right, on a busy machine.
const LONG: Duration = Duration::from_secs(30);
const SHAPE: KvShape = KvShape { layers: 2, blocks: 64, heads: 2, tokens: 16, parts: 2, content: 128 };

fn layout(name: &str) -> KvLayout {
    KvLayout::named(name, SHAPE).unwrap()
}

/// Content that tells which block it is, and of which agent.
fn content(seed: u8, block: u32, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for (word, place) in bytes.as_chunks_mut().0.iter_mut().zip(0_u64..) {
        *word = (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from_le_bytes([seed ^ block as u8; 8])).to_le_bytes();
    }
    bytes
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

/// A clock that stands still until it is turned.
#[derive(Clone, Default)]
struct Turned(Arc<AtomicU64>);

impl Turned {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn turn(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Polls until a lease ended.
fn lease_end(agent: &Agent) -> crate::LeaseEnded {
    let mut events = Vec::new();
    for _ in 0..LONG.as_millis() {
        agent.poll(&mut events).unwrap();
        for event in events.drain(..) {
            if let Event::LeaseEnded(ended) = event {
                return ended;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no lease ended in {LONG:?}");
}

#[test]
fn a_lease_lapses_unless_it_is_kept() {
    const TTL: u64 = 150;
    let (turned, real) = (Turned::default(), thread::clock());
    let build = |name: &str| {
        // It goes on by itself too: by shared memory nothing is heard twice at one time.
        let (turned, real) = (turned.clone(), Arc::clone(&real));
        Agent::builder(name).transport(Shm::default()).clock(move || turned.now() + real()).build().unwrap()
    };
    let (prefill, decode) = (build("prefill-0"), build("decode-0"));
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let short = Lease::for_secs(TTL).at_most(Duration::from_secs(3600));
    let (kept, left) = (prefill.grant(&computed, &[1], short).unwrap(), prefill.grant(&computed, &[2], short).unwrap());
    let holds_until = || prefill.inner.home.holds_until(&kept).expect("it is kept");
    let is_prolonged_beyond = |time: Duration| {
        while holds_until() <= time {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let granted = holds_until();
    let keeping = decode.keep(&kept).unwrap();
    is_prolonged_beyond(granted);
    // It is said again whenever a third of its time is over.
    for third in 1..12 {
        turned.turn(TTL / 3);
        is_prolonged_beyond(granted + Duration::from_secs(TTL / 3) * third);
    }
    let ended = lease_end(&prefill);
    assert_eq!((ended.lease, ended.end, prefill.stats().leases), (left.lease(), LeaseEnd::Lapsed, 1));
    drop(keeping);
    turned.turn(TTL * 2);
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
    let refused = decode.fetch(&grant, &cache, &[0], LONG).unwrap_err();
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
        let op = decode.fetch(&grant, &cache, &[0], LONG).unwrap();
        let fetched = decode.wait(op, LONG).unwrap();
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
    assert_eq!(
        said(decode.grant(&computed, &[4], Lease::for_secs(1)).unwrap_err()),
        "pool 0 to be lent of, expected one that is registered with the agent"
    );
    assert!(Agent::builder("none").build().is_err());
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
    decode.fetch(&first, &cache, &[0], LONG).unwrap();
    decode.fetch(&second, &cache, &[1], LONG).unwrap();
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

#[test]
fn a_socket_that_nobody_listens_at_is_swept() {
    let folder = std::env::temp_dir().join(format!("llmd-swept-{}", std::process::id()));
    let build = || Agent::builder("prefill-0").transport(Shm::in_folder(&folder)).build().unwrap();
    let lives = build();
    let dead = folder.join("0011223344556677.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let living = folder.join(format!("{}.sock", lives.id()));
    assert!(dead.exists() && living.exists());
    let _another = build();
    assert_eq!((dead.exists(), living.exists()), (false, true));
    drop(lives);
    assert!(!living.exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn one_who_sleeps_is_woken_by_what_is_said() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let Pair { prefill, decode } = by_shm();
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[1], Lease::for_secs(3600)).unwrap();
    let mut events = Vec::new();
    for value in 0..50 {
        std::thread::sleep(Duration::from_millis(if value % 10 == 0 { 20 } else { 0 }));
        decode.notify(&grant, value).unwrap();
        let heard = (0..3).any(|_| {
            let seconds = Timespec { tv_sec: 30, tv_nsec: 0 };
            let woken = poll(&mut [PollFd::from_borrowed_fd(prefill.wake_fd(), PollFlags::IN)], Some(&seconds));
            assert_eq!(woken, Ok(1), "nobody woke it for {value}");
            prefill.poll(&mut events).unwrap();
            events.drain(..).any(|event| matches!(event, Event::Notified(notified) if notified.value == value))
        });
        assert!(heard, "it was woken three times for nothing");
    }
}

#[test]
fn transports_are_had_by_name() {
    let named = |name: &str, transport: &str| Agent::builder(name).transport_named(transport, None);
    for transport in ["shm", "local", "tcp"] {
        let written = if transport == "tcp" { "tcp://127.0.0.1:0" } else { transport };
        let build = |name: &str| named(name, written).unwrap().build().unwrap();
        let (prefill, decode) = (build("prefill-0"), build("decode-0"));
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &[0], LONG).unwrap();
        let fetched = decode.wait(op, LONG).unwrap();
        assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, transport));
    }
    let said = named("prefill-0", "carrier pigeon").unwrap_err();
    assert_eq!(
        (said.kind(), said.to_string().as_str()),
        (
            ErrorKind::Invalid,
            "transport `carrier pigeon`, expected `shm`, `cuda_ipc`, `cuda_ipc://DEVICE`, `tcp://HOST:PORT` or `local`"
        )
    );
    assert!(named("prefill-0", "tcp://nowhere").is_err() && named("prefill-0", "tcp").is_err());

    let folder = std::env::temp_dir().join(format!("llmd-named-{}", std::process::id()));
    let agent = Agent::builder("prefill-0").transport_named("shm", Some(&folder)).unwrap().build().unwrap();
    assert!(std::fs::read_dir(&folder).unwrap().count() > 0, "its socket is there");
    drop(agent);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_agent_that_ends_while_it_copies_is_gone_and_writes_nothing_any_more() {
    let large = KvLayout::named("LBNHC", KvShape { layers: 8, blocks: 256, content: 1024, ..SHAPE }).unwrap();
    let other = KvLayout::named("LBHNC", *large.shape()).unwrap();
    let Pair { prefill, decode } = by_shm();
    let region = |layout: &KvLayout| Region::memfd(layout.end() as usize).unwrap();
    let computed = prefill.register(region(&large), large).unwrap();
    let memory = region(&other);
    let cache = decode.register(memory.clone(), other).unwrap();
    let blocks: Vec<_> = (0..256).collect();
    let grant = prefill.grant(&computed, &blocks, Lease::for_secs(60)).unwrap();
    for _ in 0..4 {
        decode.fetch(&grant, &cache, &blocks, 60 * SECOND).unwrap();
    }
    while !decode.inner.home.copiers.help() {
        let mut events = Vec::new();
        decode.poll(&mut events).unwrap();
        assert!(events.is_empty(), "it was over before it could be ended: {events:?}");
    }
    let home = Arc::downgrade(&decode.inner.home);
    drop((cache, decode));
    assert!(home.upgrade().is_none(), "a copy holds it");
    let poison = vec![7; memory.len()];
    memory.write(0, &poison).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut now = vec![0; memory.len()];
    memory.read(0, &mut now).unwrap();
    assert!(now == poison);
}

#[test]
fn what_was_summed_while_nobody_had_lent_it_is_summed_again() {
    let Pair { prefill, decode } = by_shm();
    let (from, to) = (filled(&prefill, 1, layout("NHD")), filled(&decode, 2, layout("NHD")));
    // As by one who comes late to the blocks of a lease that has ended, while they are written anew.
    for block in [3, 4] {
        let ticket = from.seals().begin(block).unwrap();
        from.seals().seal(ticket, 0x0dd);
    }
    let (half_done, other) = (from.seals().begin(5).unwrap(), from.seals().begin(6).unwrap());
    let grant = prefill.grant(&from, &[3, 5], Lease::for_secs(60)).unwrap();
    from.seals().seal(half_done, 0x0dd);
    let op = decode.fetch(&grant, &to, &[0, 1], LONG).unwrap();
    assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
    // What is lent already is the same content: its sum stays.
    let again = prefill.grant(&from, &[5, 4, 6], Lease::for_secs(60)).unwrap();
    from.seals().seal(other, 0x0dd);
    let op = decode.fetch(&again, &to, &[2, 3, 4], LONG).unwrap();
    assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
}

#[test]
fn a_grant_that_leads_elsewhere_keeps_nobody_from_the_right_place() {
    for Pair { prefill, decode } in [by_shm(), by_tcp()] {
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
        let own = decode.grant(&cache, &[0], Lease::for_secs(30)).unwrap();
        for _ in 0..3 {
            let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
            let forged = grant.leading_to(own.addresses());
            let wrong = decode.fetch(&forged, &cache, &[1], LONG);
            let right = decode.fetch(&grant, &cache, &[2], LONG).unwrap();
            let right = decode.wait(right, LONG).unwrap();
            assert_eq!(right.outcome, Outcome::Done, "{:?}", right.why);
            if let Ok(wrong) = wrong {
                assert_ne!(decode.wait(wrong, LONG).unwrap().outcome, Outcome::Done);
            }
        }
    }
}

#[test]
fn a_place_that_is_lost_takes_along_nothing_that_is_fetched_from_another() {
    for Pair { prefill, decode } in [by_shm(), by_tcp()] {
        let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(60)).unwrap();
        let fetch = |grant: &Grant, block| decode.submit(&Fetch::new(grant, &cache, &[block]).within(LONG).and_hold());
        let ended = |op| decode.wait(op, LONG).unwrap();
        assert_eq!(ended(fetch(&grant, 0).unwrap()).outcome, Outcome::Done, "it is sealed, and the two are connected");
        computed.seals().open(4);
        let right = fetch(&grant, 1).unwrap();
        let own = decode.grant(&cache, &[0], Lease::for_secs(60)).unwrap();
        let wrong = ended(fetch(&grant.leading_to(own.addresses()), 2).unwrap());
        assert_eq!(wrong.outcome, Outcome::PeerLost, "{:?}", wrong.why);
        let ticket = computed.seals().begin(4).unwrap();
        computed.seal(4, ticket).unwrap();
        let right = ended(right);
        assert_eq!(right.outcome, Outcome::Done, "{:?}", right.why);
    }
}

/// A ring that comes while the agent's thread sleeps, heard by one who polls besides it.
#[test]
fn one_who_sleeps_is_woken_through_a_ring_that_another_thread_opened() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    for _ in 0..5 {
        let Pair { prefill, decode } = by_shm();
        let computed = filled(&prefill, 1, layout("LBNHC"));
        let grant = prefill.grant(&computed, &[1], Lease::for_secs(3600)).unwrap();
        // Its own thread sleeps by now; what comes over the socket is taken by this one, which is always there first.
        std::thread::sleep(Duration::from_millis(20));
        let mut events = Vec::new();
        decode.notify(&grant, 1).unwrap();
        while !events.iter().any(|event| matches!(event, Event::Notified(_))) {
            prefill.poll(&mut events).unwrap();
        }
        for value in 2..5 {
            std::thread::sleep(Duration::from_millis(20));
            decode.notify(&grant, value).unwrap();
            let seconds = Timespec { tv_sec: 30, tv_nsec: 0 };
            let mut is_heard = false;
            while !is_heard {
                let woken = poll(&mut [PollFd::from_borrowed_fd(prefill.wake_fd(), PollFlags::IN)], Some(&seconds));
                assert_eq!(woken, Ok(1), "nobody woke it for {value}");
                events.clear();
                prefill.poll(&mut events).unwrap();
                is_heard = events.iter().any(|event| matches!(event, Event::Notified(it) if it.value == value));
            }
        }
    }
}
