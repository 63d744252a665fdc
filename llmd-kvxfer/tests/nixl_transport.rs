//! The transport over NIXL, between agents of this process and of others. `cargo xtask nixl` makes what it takes and runs these, over
//! each of the paths that a machine without special hardware has.

#![cfg(all(feature = "nixl", feature = "testing"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use llmd_core::ErrorKind;
use llmd_kvxfer::{
    Agent, Check, Fetch, Fetched, Grant, KvLayout, Lease, NixlTransport, OpId, Outcome, Pool, Region, Shm, testing,
};

/// How long anything may take here, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const BLOCK: u32 = 256 << 10;
const BLOCKS: u32 = 128;

fn layout() -> KvLayout {
    KvLayout::opaque("bytes", BLOCKS, BLOCK).unwrap()
}

/// Block `block` of the agent of this seed.
fn content(seed: u8, block: u32) -> Vec<u8> {
    let word = (u64::from(seed) << 32 | u64::from(block)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..u64::from(BLOCK) / 8).flat_map(|place| word.wrapping_add(place * 0x1234_5677).to_le_bytes()).collect()
}

fn pool(agent: &Agent, seed: u8) -> Pool {
    let pool = agent.register(Region::memfd(layout().end() as usize).unwrap(), layout()).unwrap();
    (0..BLOCKS).for_each(|block| pool.write_block(block, &content(seed, block)).unwrap());
    pool
}

fn agent(name: &str) -> Agent {
    Agent::builder(name).transport(NixlTransport::default()).build().unwrap()
}

fn ended(agent: &Agent, op: OpId) -> Fetched {
    agent.wait(op, PATIENCE).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for a process asks the clock")]
fn now() -> Instant {
    Instant::now()
}

/// An agent in another process, which lends blocks.
struct Lender {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Lender {
    /// Starts this program again, as [`a_lender_in_another_process`].
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["a_lender_in_another_process", "--exact", "--ignored", "--nocapture"]).env("LLMD_LENDER", "1");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// A grant of these blocks, for one consumer.
    fn grant(&mut self, blocks: &[u32]) -> Grant {
        let blocks: Vec<_> = blocks.iter().map(u32::to_string).collect();
        writeln!(self.process.stdin.as_mut().unwrap(), "{}", blocks.join(" ")).unwrap();
        let line = self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            // The first may stand behind what the program that runs tests has begun to say.
            line.split_once("grant ").map(|(_, grant)| grant.to_owned())
        });
        Grant::from_bytes(&hex::decode(line.unwrap()).unwrap()).unwrap()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
#[ignore = "the other process of other tests"]
fn a_lender_in_another_process() {
    if env::var_os("LLMD_LENDER").is_none() {
        return;
    }
    let agent = agent("lender");
    let pool = pool(&agent, 1);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let blocks: Vec<u32> = line.split(' ').map(|block| block.parse().unwrap()).collect();
        let grant = agent.grant(&pool, &blocks, Lease::for_secs(60)).unwrap();
        println!("\ngrant {}", hex::encode(grant.to_bytes()));
    }
}

fn all() -> Vec<u32> {
    (0..BLOCKS).collect()
}

/// The same grant, of an agent that it says NIXL finds elsewhere.
fn leading_to(grant: &Grant, other: &str) -> Grant {
    let (bytes, real) = (grant.to_bytes(), grant.address("nixl").unwrap());
    let place = bytes.windows(real.len()).position(|window| window == real.as_bytes()).unwrap();
    let (before, after) = (&bytes[..place - 1], &bytes[place + real.len()..]);
    Grant::from_bytes(&[before, &[other.len() as u8], other.as_bytes(), after].concat()).unwrap()
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn it_conforms() {
    testing::transport(NixlTransport::default);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn it_conforms_with_the_fewest_slots() {
    // The largest block of the suite is 1 MiB.
    testing::transport(|| NixlTransport::default().slots(2, 1 << 20));
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn blocks_of_another_process_arrive() {
    let (decode, mut lender) = (agent("decode"), Lender::start());
    let cache = pool(&decode, 2);
    let mut took = Vec::new();
    // Held, so that its blocks are summed once.
    let grant = lender.grant(&all());
    let fetch = |grant: &Grant, blocks: &[u32]| {
        decode.submit(&Fetch::new(grant, &cache, blocks).within(PATIENCE).and_hold()).unwrap()
    };
    for _ in 0..8 {
        let start = now();
        let fetched = ended(&decode, fetch(&grant, &all()));
        took.push(start.elapsed());
        assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, "nixl"), "{:?}", fetched.why);
        assert!(fetched.blocks.is_all());
    }
    assert!(all().into_iter().all(|block| cache.read_block(block).unwrap() == content(1, block)));
    took.sort_unstable();
    let bytes = u64::from(BLOCKS) * u64::from(BLOCK);
    let (path, median) = (env::var("UCX_TLS").unwrap_or_default(), took[took.len() / 2]);
    println!(
        "{} MiB of 256 KiB blocks over {path}: {median:.1?} in the median, {:.2} GB/s",
        bytes >> 20,
        bytes as f64 / median.as_secs_f64() / 1e9
    );
    let mut small = Vec::new();
    for block in 0..50 {
        let one = grant.part(block..block + 1).unwrap();
        let start = now();
        let fetched = ended(&decode, fetch(&one, &[block as u32]));
        small.push(start.elapsed());
        assert_eq!(fetched.outcome, Outcome::Done);
    }
    small.sort_unstable();
    println!("one block of 256 KiB over {path}: {:.1?} in the median", small[small.len() / 2]);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_lender_that_is_killed_is_lost_and_its_successor_is_read() {
    let decode = agent("decode");
    let cache = pool(&decode, 2);
    for pause in [0, 1, 3, 10, 30] {
        let mut lender = Lender::start();
        let grants: Vec<_> = (0..4).map(|_| lender.grant(&all())).collect();
        let begun: Vec<_> = grants.iter().map(|grant| decode.fetch(grant, &cache, &all(), PATIENCE).unwrap()).collect();
        thread::sleep(Duration::from_millis(pause));
        lender.kill();
        let killed = now();
        for op in begun {
            let fetched = ended(&decode, op);
            assert!(matches!(fetched.outcome, Outcome::PeerLost | Outcome::Done), "{fetched:?}");
            let arrived = (0..BLOCKS).filter(|&block| fetched.blocks.has(block as usize));
            arrived.for_each(|block| assert!(cache.read_block(block).unwrap() == content(1, block)));
        }
        assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    }
    let mut successor = Lender::start();
    let grant = successor.grant(&all());
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &all(), PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_lender_that_hangs_is_not_waited_for_beyond_the_deadline() {
    let decode = agent("decode");
    let cache = pool(&decode, 2);
    let mut lender = Lender::start();
    let first = lender.grant(&[1]);
    assert_eq!(ended(&decode, decode.fetch(&first, &cache, &[1], PATIENCE).unwrap()).outcome, Outcome::Done);
    let grant = lender.grant(&all());
    lender.signal("-STOP");
    let start = now();
    let within = Duration::from_millis(300);
    let fetched = ended(&decode, decode.submit(&Fetch::new(&grant, &cache, &all()).within(within)).unwrap());
    // Over some paths a process is read that does nothing itself.
    assert!(matches!(fetched.outcome, Outcome::Timeout | Outcome::Done), "{fetched:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // What others lend is read meanwhile.
    let mut other = Lender::start();
    let grant = other.grant(&all());
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &all(), PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    lender.signal("-CONT");
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn another_version_of_nixl_is_refused_by_name() {
    let of =
        |version: &str| Agent::builder(version).transport(NixlTransport::default().version(version)).build().unwrap();
    let (prefill, decode) = (of("1.5.1"), of("1.3.1"));
    let (computed, cache) = (pool(&prefill, 1), pool(&decode, 2));
    let grant = prefill.grant(&computed, &[1], Lease::for_secs(60)).unwrap();
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &[1], PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Io);
    let why = fetched.why.unwrap();
    assert!(why.contains("a peer with NIXL 1.3.1, expected 1.5.1"), "{why}");
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn only_who_has_the_key_is_told_anything() {
    let of = |key: &[u8]| Agent::builder("a").tenant("acme", key).transport(NixlTransport::default()).build().unwrap();
    let (prefill, decode, other) = (of(b"secret"), of(b"secret"), of(b"guessed"));
    let (computed, cache, others) = (pool(&prefill, 1), pool(&decode, 2), pool(&other, 3));
    let grant = prefill.grant(&computed, &[1, 2], Lease::for_secs(60)).unwrap();
    let denied = ended(&other, other.fetch(&grant, &others, &[1, 2], PATIENCE).unwrap());
    assert_eq!(denied.outcome, Outcome::Denied, "{:?}", denied.why);
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &[3, 4], PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!(cache.read_block(4).unwrap() == content(1, 2));
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn what_is_no_message_of_ours_ends_the_connection_and_nothing_else() {
    let (prefill, decode) = (agent("prefill"), agent("decode"));
    let (computed, cache) = (pool(&prefill, 1), pool(&decode, 2));
    let grant = prefill.grant(&computed, &[1], Lease::for_secs(60)).unwrap();
    let place = grant.address("nixl").unwrap().to_owned();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], &[0xff; 4096]] {
        let mut stranger = TcpStream::connect(&place).unwrap();
        stranger.write_all(bytes).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have been answered with a refusal.
        let closed = std::io::copy(&mut stranger, &mut std::io::sink());
        assert!(closed.is_ok_and(|refusal| refusal < 1024) || prefill.stats().refused_peers > 0);
    }
    assert!(prefill.stats().refused_peers + prefill.stats().malformed_messages >= 4);
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &[1], PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_place_where_nobody_listens_is_lost_at_once() {
    let (prefill, decode) = (agent("prefill"), agent("decode"));
    let (computed, cache) = (pool(&prefill, 1), pool(&decode, 2));
    let grant = prefill.grant(&computed, &[1], Lease::for_secs(60)).unwrap();
    drop((computed, prefill));
    match decode.fetch(&grant, &cache, &[1], PATIENCE) {
        Ok(op) => assert_eq!(ended(&decode, op).outcome, Outcome::PeerLost),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_pool_is_unregistered_while_it_is_read() {
    let (prefill, decode) = (agent("prefill"), agent("decode"));
    let cache = pool(&decode, 2);
    for _ in 0..5 {
        let computed = pool(&prefill, 1);
        let grant = prefill.grant(&computed, &all(), Lease::for_secs(60)).unwrap();
        let op = decode.fetch(&grant, &cache, &all(), PATIENCE).unwrap();
        thread::sleep(Duration::from_millis(5));
        prefill.unregister(&computed).unwrap();
        drop(computed);
        let fetched = ended(&decode, op);
        assert!(matches!(fetched.outcome, Outcome::Done | Outcome::Stale | Outcome::Denied), "{fetched:?}");
        let arrived = (0..BLOCKS).filter(|&block| fetched.blocks.has(block as usize));
        arrived.for_each(|block| assert!(cache.read_block(block).unwrap() == content(1, block)));
    }
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn it_is_checked_as_what_may_come_from_another_machine() {
    let build = |name: &str| {
        let builder = Agent::builder(name).check(Check::Remote);
        builder.transport(NixlTransport::default()).build().unwrap()
    };
    let (prefill, decode) = (build("prefill"), build("decode"));
    let (computed, cache) = (pool(&prefill, 1), pool(&decode, 2));
    let grant = prefill.grant(&computed, &[1, 2], Lease::for_secs(60)).unwrap();
    let first = decode.submit(&Fetch::new(&grant, &cache, &[1, 2]).and_hold()).unwrap();
    assert_eq!(ended(&decode, first).outcome, Outcome::Done);
    computed.write_block(2, &content(9, 2)).unwrap();
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &[3, 4], PATIENCE).unwrap());
    assert_eq!(fetched.outcome, Outcome::Corrupt);
    assert_eq!(fetched.blocks.failed().collect::<Vec<_>>(), [1]);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn where_nixl_cannot_be_reached_another_transport_goes_on() {
    let build = |name: &str| {
        let builder = Agent::builder(name).transport(NixlTransport::default()).transport(Shm::default());
        builder.build().unwrap()
    };
    let (prefill, decode) = (build("prefill"), build("decode"));
    let (computed, cache) = (pool(&prefill, 1), pool(&decode, 2));
    let grant = prefill.grant(&computed, &[1], Lease::for_secs(60)).unwrap();
    // A port at which somebody else listens, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let grant = leading_to(&grant, &silent.local_addr().unwrap().to_string());
    let fetched = ended(&decode, decode.fetch(&grant, &cache, &[1], PATIENCE).unwrap());
    assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, "shm"), "{:?}", fetched.why);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_grant_that_leads_elsewhere_keeps_nobody_from_the_right_place() {
    let (prefill, decode, other) = (agent("prefill"), agent("decode"), agent("other"));
    let (computed, cache, others) = (pool(&prefill, 1), pool(&decode, 2), pool(&other, 3));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let another = other.grant(&others, &[0], Lease::for_secs(60)).unwrap();
    let places =
        [silent.local_addr().unwrap().to_string(), nobody.to_string(), another.address("nixl").unwrap().into()];
    for place in places {
        let grant = prefill.grant(&computed, &all(), Lease::for_secs(60)).unwrap();
        let fetch = |grant: &Grant| decode.submit(&Fetch::new(grant, &cache, &all()).within(PATIENCE).and_hold());
        let wrong = fetch(&leading_to(&grant, &place));
        let right = ended(&decode, fetch(&grant).unwrap());
        assert_eq!(right.outcome, Outcome::Done, "while {place} is tried: {:?}", right.why);
        if let Ok(wrong) = wrong {
            assert_ne!(ended(&decode, wrong).outcome, Outcome::Done);
        }
        let right = ended(&decode, fetch(&grant).unwrap());
        assert_eq!(right.outcome, Outcome::Done, "after {place} was tried: {:?}", right.why);
    }
}
