//! Agents of two processes of one machine: memory that cannot be mapped, by its address and by copies of who serves it.

#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use llmd_kvxfer::{Agent, Check, Fetch, Fetched, Grant, KvLayout, Lease, OpId, Outcome, Pool, Region, Shm};

const SECOND: Duration = Duration::from_secs(1);
/// More than all slots hold.
const SHAPE: Shape = Shape { blocks: 128, bytes: 512 << 10, is_mapped: false };

/// What a peer lends: so many blocks, in memory that can be mapped or not.
#[derive(Clone, Copy)]
struct Shape {
    blocks: u32,
    bytes: u32,
    is_mapped: bool,
}

impl Shape {
    fn layout(self) -> KvLayout {
        KvLayout::opaque("blocks", self.blocks, self.bytes).unwrap()
    }

    fn region(self) -> Region {
        let len = self.layout().end() as usize;
        if self.is_mapped { Region::memfd(len).unwrap() } else { Region::adopt_bytes(vec![0; len]) }
    }

    fn content(self, block: u32) -> Vec<u8> {
        block.to_le_bytes().repeat(self.bytes as usize / 4)
    }

    fn to_text(self) -> String {
        format!("{} {} {}", self.blocks, self.bytes, u32::from(self.is_mapped))
    }

    fn from_text(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Self { blocks: next(), bytes: next(), is_mapped: next() == 1 }
    }
}

/// What the others run as a peer: it lends all blocks of its own memory, says the grant, and stays until its input ends.
#[test]
#[ignore = "is run by the others, in a process of its own"]
fn peer() {
    let Ok(shape) = std::env::var("LLMD_PEER") else { return };
    let shape = Shape::from_text(&shape);
    let agent = Agent::builder("peer").transport(Shm::default()).build().unwrap();
    let pool = agent.register(shape.region(), shape.layout()).unwrap();
    (0..shape.blocks).for_each(|block| pool.write_block(block, &shape.content(block)).unwrap());
    let all: Vec<u32> = (0..shape.blocks).map(|place| place * 37 % shape.blocks).collect();
    let grant = agent.grant(&pool, &all, Lease::for_secs(60)).unwrap();
    let hex: String = grant.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("\ngrant {hex}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Peer {
    child: Child,
    grant: Grant,
    _said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(shape: Shape) -> Self {
        Self::by(Command::new(std::env::current_exe().unwrap()), shape).unwrap()
    }

    /// In a PID namespace of its own; `None` where that is not allowed.
    fn elsewhere() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe().unwrap());
        Self::by(command, SHAPE)
    }

    /// `None` when it ended without a grant.
    fn by(mut command: Command, shape: Shape) -> Option<Self> {
        command.args(["--exact", "peer", "--ignored", "--nocapture"]).env("LLMD_PEER", shape.to_text());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while said.read_line(&mut line).unwrap() > 0 {
            if let Some(hex) = line.trim().strip_prefix("grant ") {
                let byte = |place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap();
                let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
                return Some(Self { child, grant: Grant::from_bytes(&bytes).unwrap(), _said: said });
            }
            line.clear();
        }
        child.wait().unwrap();
        None
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

struct Reader {
    agent: Agent,
    cache: Pool,
    shape: Shape,
}

impl Reader {
    fn new(shm: Shm, shape: Shape, check: Check) -> Self {
        let agent = Agent::builder("reader").transport(shm).check(check).build().unwrap();
        let cache = agent.register(Region::memfd(shape.layout().end() as usize).unwrap(), shape.layout()).unwrap();
        Self { agent, cache, shape }
    }

    fn of(shm: Shm) -> Self {
        Self::new(shm, SHAPE, Check::Always)
    }

    /// All blocks of the grant, each to its own number.
    fn begin(&self, grant: &Grant, within: Duration) -> OpId {
        let into = grant.blocks().to_vec();
        self.agent.submit(&Fetch::new(grant, &self.cache, &into).and_hold().within(within)).unwrap()
    }

    fn fetch(&self, grant: &Grant, within: Duration) -> Fetched {
        self.agent.wait(self.begin(grant, within), within + 10 * SECOND).unwrap()
    }

    fn way(&self, grant: &Grant) -> (&'static str, &'static str) {
        let cost = self.agent.consider(grant, &self.cache)[0].cost.clone().unwrap();
        (cost.way, cost.why)
    }

    fn has(&self, block: u32) -> bool {
        self.cache.read_block(block).unwrap() == self.shape.content(block)
    }

    fn has_all(&self) -> bool {
        (0..self.shape.blocks).all(|block| self.has(block))
    }
}

#[test]
fn another_processs_memory_is_read_by_its_address_or_staged() {
    let peer = Peer::start(SHAPE);
    for (shm, way) in [(Shm::default(), "cma"), (Shm::default().without_cma(), "staged")] {
        let reader = Reader::of(shm);
        let fetched = reader.fetch(&peer.grant, 20 * SECOND);
        assert_eq!(fetched.outcome, Outcome::Done, "{way}: {:?}", fetched.why);
        assert_eq!(reader.way(&peer.grant).0, way);
        assert!(reader.has_all(), "{way}");
    }
}

#[test]
fn a_process_of_another_pid_namespace_is_staged() {
    let Some(peer) = Peer::elsewhere() else {
        eprintln!("no PID namespace can be made here: not tested");
        return;
    };
    let reader = Reader::of(Shm::default());
    let fetched = reader.fetch(&peer.grant, 20 * SECOND);
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    let (way, why) = reader.way(&peer.grant);
    // Its number is another process's here, which may be one that this one may not read.
    let is_said = why.contains("by its number") || why.contains("not allowed");
    assert!(way == "staged" && is_said, "{way}: {why}");
    assert!(reader.has_all());
}

#[test]
fn a_peer_that_dies_while_it_is_read_is_lost_and_not_waited_for() {
    for (shm, way) in [(Shm::default(), "cma"), (Shm::default().without_cma(), "staged")] {
        let mut peer = Peer::start(SHAPE);
        let reader = Reader::of(shm);
        let first = peer.grant.part(0..1).unwrap();
        assert_eq!(reader.fetch(&first, 10 * SECOND).outcome, Outcome::Done);
        assert_eq!(reader.way(&peer.grant).0, way);
        let op = reader.begin(&peer.grant, 20 * SECOND);
        std::thread::sleep(Duration::from_millis(2));
        peer.child.kill().unwrap();
        peer.child.wait().unwrap();
        let fetched = reader.agent.wait(op, 30 * SECOND).unwrap();
        assert_eq!(fetched.outcome, Outcome::PeerLost, "{way}: {:?}", fetched.why);
        assert!(fetched.took < 5 * SECOND, "{way}: {:?}", fetched.took);
        for (place, &block) in peer.grant.blocks().iter().enumerate() {
            assert!(!fetched.blocks.has(place) || reader.has(block), "{block} by {way}");
        }
    }
}

#[test]
fn a_peer_that_stops_takes_no_slot_with_it_when_it_goes_on() {
    let peer = Peer::start(SHAPE);
    let reader = Reader::of(Shm::default().without_cma());
    assert_eq!(reader.fetch(&peer.grant, 20 * SECOND).outcome, Outcome::Done);
    peer.signal("-STOP");
    for _ in 0..3 {
        let fetched = reader.fetch(&peer.grant, SECOND / 4);
        assert_eq!(fetched.outcome, Outcome::Timeout, "{:?}", fetched.why);
        assert!(fetched.took < 10 * SECOND, "{:?}", fetched.took);
    }
    peer.signal("-CONT");
    let fetched = reader.fetch(&peer.grant, 20 * SECOND);
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!(reader.has_all());
}

/// What one thread copies of this machine's memory: what the others are held against.
#[expect(clippy::disallowed_methods, reason = "what measures has a clock")]
fn plain_copy(len: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; len], vec![0_u8; len]);
    let mut took: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
            start.elapsed()
        })
        .collect();
    took.sort();
    len as f64 / took[4].as_secs_f64() / 1e9
}

/// `cargo test --release -p llmd-kvxfer --test same_host -- --ignored --nocapture how_fast`
#[test]
#[ignore = "measures, which takes a release build and a machine that does nothing else"]
fn how_fast_each_way_is() {
    println!("1024 blocks, GB/s, median of 9 (with sums, without)");
    for bytes in [4 << 10, 64 << 10, 1 << 20] {
        println!("{:>5} KiB memcpy: {:6.2}", bytes >> 10, plain_copy(1024 * bytes as usize));
        for (way, is_mapped) in [("mapped", true), ("cma", false), ("staged", false)] {
            let shape = Shape { blocks: 1024, bytes, is_mapped };
            let peer = Peer::start(shape);
            let rates = [Check::Always, Check::Off].map(|check| {
                let shm = if way == "staged" { Shm::default().without_cma() } else { Shm::default() };
                let reader = Reader::new(shm, shape, check);
                assert_eq!(reader.fetch(&peer.grant, 30 * SECOND).outcome, Outcome::Done);
                assert_eq!(reader.way(&peer.grant).0, way);
                let mut took: Vec<_> = (0..9).map(|_| reader.fetch(&peer.grant, 30 * SECOND).took).collect();
                took.sort();
                assert!(reader.has_all());
                shape.layout().end() as f64 / took[4].as_secs_f64() / 1e9
            });
            println!("{:>5} KiB {way:>6}: {:6.2} {:6.2}", bytes >> 10, rates[0], rates[1]);
        }
    }
}
