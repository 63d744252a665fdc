//! Agents of two processes of one machine: memory that cannot be mapped, by its address and by copies of who serves it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use llmd_kvxfer::{Agent, Fetched, Grant, KvLayout, Lease, OpId, Outcome, Pool, Region, Shm};

const SECOND: Duration = Duration::from_secs(1);
const BLOCKS: u32 = 256;
const BLOCK: u32 = 512 << 10;

fn layout() -> KvLayout {
    KvLayout::opaque("blocks", BLOCKS, BLOCK).unwrap()
}

fn content(block: u32) -> Vec<u8> {
    block.to_le_bytes().repeat(BLOCK as usize / 4)
}

/// What the others run as a peer: it lends all blocks of its own memory, says the grant, and stays until its input ends.
#[test]
#[ignore = "is run by the others, in a process of its own"]
fn peer() {
    if std::env::var_os("LLMD_PEER").is_none() {
        return;
    }
    let agent = Agent::builder("peer").transport(Shm::default()).build().unwrap();
    let pool = agent.register(Region::adopt_bytes(vec![0; layout().end() as usize]), layout()).unwrap();
    (0..BLOCKS).for_each(|block| pool.write_block(block, &content(block)).unwrap());
    let all: Vec<u32> = (0..BLOCKS).collect();
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
    fn start() -> Self {
        Self::by(Command::new(std::env::current_exe().unwrap())).unwrap()
    }

    /// In a PID namespace of its own; `None` where that is not allowed.
    fn elsewhere() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe().unwrap());
        Self::by(command)
    }

    /// `None` when it ended without a grant.
    fn by(mut command: Command) -> Option<Self> {
        command.args(["--exact", "peer", "--ignored", "--nocapture"]).env("LLMD_PEER", "1");
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
}

impl Reader {
    fn new(shm: Shm) -> Self {
        let agent = Agent::builder("reader").transport(shm).build().unwrap();
        let cache = agent.register(Region::memfd(layout().end() as usize).unwrap(), layout()).unwrap();
        Self { agent, cache }
    }

    fn begin(&self, grant: &Grant, within: Duration) -> OpId {
        let into: Vec<u32> = (0..grant.blocks().len() as u32).rev().collect();
        self.agent.submit(&llmd_kvxfer::Fetch::new(grant, &self.cache, &into).and_hold().within(within)).unwrap()
    }

    fn fetch(&self, grant: &Grant, within: Duration) -> Fetched {
        self.agent.wait(self.begin(grant, within), within + 10 * SECOND).unwrap()
    }

    fn way(&self, grant: &Grant) -> (&'static str, &'static str) {
        let cost = self.agent.consider(grant, &self.cache)[0].cost.clone().unwrap();
        (cost.way, cost.why)
    }

    fn has_all(&self) -> bool {
        (0..BLOCKS).all(|block| self.cache.read_block(BLOCKS - 1 - block).unwrap() == content(block))
    }
}

#[test]
fn another_processs_memory_is_read_by_its_address_or_staged() {
    let peer = Peer::start();
    for (shm, way) in [(Shm::default(), "cma"), (Shm::default().without_cma(), "staged")] {
        let reader = Reader::new(shm);
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
    let reader = Reader::new(Shm::default());
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
        let mut peer = Peer::start();
        let reader = Reader::new(shm);
        let first = peer.grant.part(0..1).unwrap();
        assert_eq!(reader.fetch(&first, 10 * SECOND).outcome, Outcome::Done);
        assert_eq!(reader.way(&peer.grant).0, way);
        let op = reader.begin(&peer.grant, 20 * SECOND);
        std::thread::sleep(Duration::from_millis(5));
        peer.child.kill().unwrap();
        peer.child.wait().unwrap();
        let fetched = reader.agent.wait(op, 30 * SECOND).unwrap();
        assert_eq!(fetched.outcome, Outcome::PeerLost, "{way}: {:?}", fetched.why);
        assert!(fetched.took < 5 * SECOND, "{way}: {:?}", fetched.took);
        for place in (0..BLOCKS).filter(|&place| fetched.blocks.has(place as usize)) {
            assert!(reader.cache.read_block(BLOCKS - 1 - place).unwrap() == content(place), "{place} by {way}");
        }
    }
}

#[test]
fn a_peer_that_stops_takes_no_slot_with_it_when_it_goes_on() {
    let peer = Peer::start();
    let reader = Reader::new(Shm::default().without_cma());
    assert_eq!(reader.fetch(&peer.grant, 20 * SECOND).outcome, Outcome::Done);
    peer.signal("-STOP");
    for _ in 0..3 {
        let fetched = reader.fetch(&peer.grant, SECOND / 4);
        assert_eq!(fetched.outcome, Outcome::Timeout, "{:?}", fetched.why);
        assert!(fetched.took < SECOND, "{:?}", fetched.took);
    }
    peer.signal("-CONT");
    let fetched = reader.fetch(&peer.grant, 20 * SECOND);
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!(reader.has_all());
}
