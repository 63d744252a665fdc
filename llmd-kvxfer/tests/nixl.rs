//! NIXL's own agents, in Python, as peers of ours. `cargo xtask nixl` makes what it takes and runs these, over each of the paths that
//! a machine without special hardware has.

#![cfg(feature = "nixl")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]
#![expect(unsafe_code, reason = "memory that peers read and write is reached by pointer")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use llmd_core::ErrorKind;
use llmd_kvxfer::Copy;
use llmd_kvxfer::nixl::{
    Agent, AgentSettings, Event, Memory, MemoryKind, Metadata, Nixl, Registration, Remote, TransferId,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

const WORD: u64 = 8;
const BLOCK: u64 = 4096;
const BLOCKS: u64 = 4096;
const POOL: u64 = BLOCK * BLOCKS;
/// How long anything may take here, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is in word `at` of memory of this seed.
fn word(at: u64, seed: u64) -> u64 {
    at.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Memory that is reached by pointer alone.
struct Pool {
    start: NonNull<u64>,
    layout: Layout,
}

// SAFETY: nobody but the tests' own thread reads or writes it in Rust.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    fn new(seed: u64) -> Arc<Self> {
        let layout = Layout::from_size_align(POOL as usize, BLOCK as usize).unwrap();
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap().cast::<u64>();
        for at in 0..POOL / WORD {
            // SAFETY: it is within the allocation.
            unsafe { start.add(at as usize).write(word(at, seed)) };
        }
        Arc::new(Self { start, layout })
    }

    fn memory(self: &Arc<Self>) -> Memory {
        let owner = Arc::clone(self);
        // SAFETY: the pool is the owner, and gives out no references.
        unsafe { Memory::new(self.start.cast(), POOL as usize, MemoryKind::Host, 0, owner) }.unwrap()
    }

    fn word(&self, at: u64) -> u64 {
        assert!(at < POOL / WORD);
        // SAFETY: it is within the allocation, and no transfer is in flight when a test looks.
        unsafe { self.start.add(at as usize).read_volatile() }
    }

    /// How many words differ from what the owner of `seed` has at the other end of each copy.
    fn wrong(&self, seed: u64, copies: &[Copy]) -> usize {
        let words = copies
            .iter()
            .flat_map(|copy| (0..copy.len / WORD).map(move |n| (copy.from / WORD + n, copy.to / WORD + n)));
        words.filter(|&(from, to)| self.word(to) != word(from, seed)).count()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and nobody has its address any more.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) };
    }
}

/// `count` blocks from random places to random places, no two to the same.
fn random_blocks(count: usize, seed: u64) -> Vec<Copy> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut shuffled = || {
        let mut blocks: Vec<_> = (0..BLOCKS).collect();
        blocks.shuffle(&mut rng);
        blocks
    };
    let (from, to) = (shuffled(), shuffled());
    from.into_iter()
        .zip(to)
        .take(count)
        .map(|(from, to)| Copy { from: from * BLOCK, to: to * BLOCK, len: BLOCK })
        .collect()
}

fn as_json(copies: &[Copy]) -> Value {
    copies.iter().map(|copy| json!([copy.from, copy.to, copy.len])).collect()
}

/// Bytes from an agent that a test has started, or such that NIXL refuses at the first one.
fn vouched(bytes: &[u8]) -> Metadata {
    // SAFETY: they came through a pipe from a process of ours, as NIXL made them; or they do not begin as NIXL's do, which it sees.
    unsafe { Metadata::vouched(bytes) }.unwrap()
}

/// A process with NIXL's Python agent.
struct Peer {
    name: &'static str,
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    metadata: Metadata,
    address: u64,
}

impl Peer {
    fn start(name: &'static str, seed: u64) -> Self {
        let python = env::var_os("LLMD_NIXL_PYTHON")
            .expect("LLMD_NIXL_PYTHON names a Python with NIXL; `cargo xtask nixl` makes one");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nixl/peer.py");
        let mut command = Command::new(python);
        command.arg(script).arg(name).arg((POOL / WORD).to_string()).arg(seed.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (said, answers) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        let mut peer = Self { name, process, commands, answers, metadata: vouched(&[]), address: 0 };
        let hello = peer.ask(&json!({"do": "hello"}));
        peer.metadata = vouched(&hex::decode(hello["metadata"].as_str().unwrap()).unwrap());
        peer.address = hello["address"].as_u64().unwrap();
        peer
    }

    fn send(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
    }

    fn ask(&mut self, command: &Value) -> Value {
        self.send(command);
        serde_json::from_str(&self.answers.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    /// Asks, and polls `agent` until there is an answer.
    fn ask_while_polling(&mut self, agent: &mut Agent, command: &Value, events: &mut Vec<Event>) -> Value {
        self.send(command);
        patiently(|| {
            agent.poll(events).unwrap();
            match self.answers.try_recv() {
                Ok(answer) => Some(serde_json::from_str(&answer).unwrap()),
                Err(TryRecvError::Empty) => None,
                Err(gone) => panic!("{gone}"),
            }
        })
    }

    fn memory(&self) -> Remote<'_> {
        Remote { peer: self.name, address: self.address, len: POOL, kind: MemoryKind::Host, device: 0 }
    }

    /// Stops it where it is: the machine still answers for it, and it does not.
    fn hang(&self) {
        let stopped = Command::new("kill").arg("-STOP").arg(self.process.id().to_string()).status().unwrap();
        assert!(stopped.success());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that waits for a process asks the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Tries until there is something, or patience is at its end.
fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "nothing happened for {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Polls until a transfer ends.
fn outcome(agent: &mut Agent, id: TransferId, events: &mut Vec<Event>) -> llmd_core::Result<()> {
    patiently(|| {
        agent.poll(events).unwrap();
        let ended = events.iter().position(|event| matches!(event, Event::Ended { id: ended, .. } if *ended == id))?;
        match events.swap_remove(ended) {
            Event::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    })
}

fn messages(events: &[Event]) -> Vec<(&str, &[u8])> {
    let said = events.iter().filter_map(|event| match event {
        Event::Notified { peer, message } => Some((peer.as_str(), message.as_slice())),
        _ => None,
    });
    said.collect()
}

fn our_agent(name: &str) -> Agent {
    // What NIXL logs of failures that are meant to be is left out; who wants to see it sets the variable.
    let nixl = Nixl::load(None).unwrap();
    nixl.agent(name, &AgentSettings::default()).unwrap()
}

/// An agent of ours with a pool of seed 1 and a peer in Python with one of seed 2, who know each other.
fn acquainted() -> (Agent, Arc<Pool>, Registration, Peer) {
    let pool = Pool::new(1);
    let mut agent = our_agent("ours");
    let registration = agent.register(pool.memory()).unwrap();
    let mut peer = Peer::start("theirs", 2);
    agent.add_peer(peer.name, &peer.metadata).unwrap();
    let metadata = hex::encode(agent.metadata().unwrap().as_bytes());
    assert_eq!(peer.ask(&json!({"do": "add", "metadata": metadata})), json!({"name": "ours"}));
    (agent, pool, registration, peer)
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn we_read_a_thousand_random_blocks_of_a_peer() {
    let (mut agent, pool, ours, peer) = acquainted();
    let (mut events, mut took) = (Vec::new(), Vec::new());
    for round in 0..50 {
        let copies = random_blocks(1024, round);
        let start = now();
        let id = agent.read(&peer.memory(), &ours, &copies, None).unwrap();
        let posted = start.elapsed();
        outcome(&mut agent, id, &mut events).unwrap();
        took.push((start.elapsed(), posted));

        assert_eq!(pool.wrong(2, &copies), 0, "in round {round}");
    }
    assert_eq!(agent.in_flight(), 0);
    took.sort_unstable();
    let (all, posted) = took[took.len() / 2];
    let path = env::var("UCX_TLS").unwrap_or_else(|_| "UCX's choice".to_owned());
    println!("1,024 random blocks of 4 KiB over {path}: {all:.1?} in the median, {posted:.1?} of it in `read`");
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn two_agents_of_one_process_read_each_other() {
    let pools = [1, 2].map(Pool::new);
    let mut agents = ["one", "other"].map(our_agent);
    let memory = [0, 1].map(|n: usize| agents[n].register(pools[n].memory()).unwrap());
    let [one, other] = &mut agents;
    one.add_peer("other", &other.metadata().unwrap()).unwrap();
    other.add_peer("one", &one.metadata().unwrap()).unwrap();

    let copies = random_blocks(1024, 9);
    let address = memory[1].memory().address();
    let theirs = Remote { peer: "other", address, len: POOL, kind: MemoryKind::Host, device: 0 };
    let id = one.read(&theirs, &memory[0], &copies, Some(b"read")).unwrap();
    let (mut ended, mut heard) = (Vec::new(), Vec::new());
    patiently(|| {
        one.poll(&mut ended).unwrap();
        other.poll(&mut heard).unwrap();
        (!ended.is_empty() && !heard.is_empty()).then_some(())
    });
    assert!(matches!(ended.as_slice(), [Event::Ended { id: ended, outcome: Ok(()) }] if *ended == id), "{ended:?}");
    assert_eq!(messages(&heard), [("one", &b"read"[..])]);
    assert_eq!(pools[0].wrong(2, &copies), 0);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn only_what_is_copied_is_written() {
    let (mut agent, pool, ours, peer) = acquainted();
    let copies = [Copy { from: 64, to: 4096 + 8, len: 24 }, Copy { from: 0, to: POOL - 8, len: 8 }];
    let id = agent.read(&peer.memory(), &ours, &copies, None).unwrap();
    outcome(&mut agent, id, &mut Vec::new()).unwrap();

    assert_eq!(pool.wrong(2, &copies), 0);
    let untouched = (0..POOL / WORD).filter(|&at| pool.word(at) == word(at, 1)).count() as u64;
    assert_eq!(untouched, POOL / WORD - 4);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn we_write_blocks_to_a_peer() {
    let (mut agent, _pool, ours, mut peer) = acquainted();
    let copies = random_blocks(64, 7);
    let theirs = Remote { peer: "theirs", ..peer.memory() };
    let id = agent.write(&ours, &theirs, &copies, Some(b"written")).unwrap();
    let mut events = Vec::new();
    outcome(&mut agent, id, &mut events).unwrap();
    let heard = patiently(|| {
        let answer = peer.ask_while_polling(&mut agent, &json!({"do": "notifications"}), &mut events);
        (answer["heard"] != json!([])).then_some(answer)
    });

    assert_eq!(heard, json!({"heard": [["ours", "written"]]}));
    let wrong = peer.ask(&json!({"do": "wrong", "seed": 1, "copies": as_json(&copies)}));
    assert_eq!(wrong, json!({"wrong": 0}));
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_peer_reads_our_blocks_and_says_so() {
    let (mut agent, pool, ours, mut peer) = acquainted();
    let (copies, mut events) = (random_blocks(1024, 3), Vec::new());
    let address = ours.memory().address();
    let read =
        json!({"do": "read", "peer": "ours", "address": address, "copies": as_json(&copies), "notification": "read"});
    let state = peer.ask_while_polling(&mut agent, &read, &mut events);

    assert_eq!(state, json!({"state": "DONE"}));
    let wrong = peer.ask(&json!({"do": "wrong", "seed": 1, "copies": as_json(&copies)}));
    assert_eq!(wrong, json!({"wrong": 0}));
    patiently(|| {
        agent.poll(&mut events).unwrap();
        (!events.is_empty()).then_some(())
    });
    assert_eq!(messages(&events), [("theirs", &b"read"[..])]);
    assert_eq!(pool.word(5), word(5, 1));
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn notifications_go_both_ways() {
    let (mut agent, _pool, ours, mut peer) = acquainted();
    let mut events = Vec::new();
    agent.notify("theirs", b"good morning").unwrap();
    let id = agent.read(&peer.memory(), &ours, &random_blocks(8, 1), Some(b"eight blocks")).unwrap();
    outcome(&mut agent, id, &mut events).unwrap();
    let mut heard = Vec::new();
    patiently(|| {
        let answer = peer.ask_while_polling(&mut agent, &json!({"do": "notifications"}), &mut events);
        heard.extend(answer["heard"].as_array().unwrap().clone());
        (heard.len() == 2).then_some(())
    });
    assert_eq!(heard, [json!(["ours", "good morning"]), json!(["ours", "eight blocks"])]);

    peer.ask_while_polling(&mut agent, &json!({"do": "notify", "peer": "ours", "message": "and to you"}), &mut events);
    patiently(|| {
        agent.poll(&mut events).unwrap();
        (!events.is_empty()).then_some(())
    });
    assert_eq!(messages(&events), [("theirs", &b"and to you"[..])]);
    assert_eq!(agent.dropped_notifications(), 0);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_peer_that_is_killed_is_unavailable_and_its_successor_is_read() {
    let (mut agent, pool, ours, mut peer) = acquainted();
    let (copies, mut events) = (random_blocks(1024, 11), Vec::new());
    let id = agent.read(&peer.memory(), &ours, &copies, None).unwrap();
    peer.kill();
    // It was read before it died, or not at all.
    drop(outcome(&mut agent, id, &mut events));

    let after = agent.read(&peer.memory(), &ours, &copies, None).and_then(|id| outcome(&mut agent, id, &mut events));
    assert_eq!(after.unwrap_err().kind(), ErrorKind::Unavailable);
    // It is tried again from the metadata that is kept, and still is not there.
    let again = agent.read(&peer.memory(), &ours, &copies, None).and_then(|id| outcome(&mut agent, id, &mut events));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Unavailable);

    let successor = Peer::start("theirs", 3);
    agent.add_peer("theirs", &successor.metadata).unwrap();
    let id = agent.read(&successor.memory(), &ours, &copies, None).unwrap();
    outcome(&mut agent, id, &mut events).unwrap();
    assert_eq!(pool.wrong(3, &copies), 0);
    assert_eq!(agent.in_flight(), 0);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn transfers_in_flight_when_a_peer_is_killed_all_end() {
    let (mut agent, _pool, ours, mut peer) = acquainted();
    let mut events = Vec::new();
    let ids: Vec<_> =
        (0..16).map(|n| agent.read(&peer.memory(), &ours, &random_blocks(1024, n), None).unwrap()).collect();
    peer.kill();
    for id in ids {
        match outcome(&mut agent, id, &mut events) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    assert_eq!(agent.in_flight(), 0);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_peer_that_was_forgotten_is_added_again() {
    let (mut agent, pool, ours, peer) = acquainted();
    let (copies, mut events) = (random_blocks(16, 5), Vec::new());
    agent.remove_peer("theirs").unwrap();
    let unknown = agent.read(&peer.memory(), &ours, &copies, None).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Invalid);
    assert_eq!(unknown.to_string(), "no peer is known as \"theirs\": expected one that was added");

    agent.add_peer("theirs", &peer.metadata).unwrap();
    let id = agent.read(&peer.memory(), &ours, &copies, None).unwrap();
    outcome(&mut agent, id, &mut events).unwrap();
    assert_eq!(pool.wrong(2, &copies), 0);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn calls_that_make_no_sense_are_refused() {
    let (mut agent, _pool, ours, peer) = acquainted();
    let block = Copy { from: 0, to: 0, len: BLOCK };
    let theirs = peer.memory();
    let mut refused =
        |theirs: Remote<'_>, copies: &[Copy]| agent.read(&theirs, &ours, copies, None).unwrap_err().kind();

    assert_eq!(refused(theirs, &[]), ErrorKind::Invalid);
    assert_eq!(refused(theirs, &[Copy { len: 0, ..block }]), ErrorKind::Invalid);
    assert_eq!(refused(theirs, &[Copy { to: POOL - 1, ..block }]), ErrorKind::Invalid);
    assert_eq!(refused(theirs, &[Copy { from: u64::MAX, ..block }]), ErrorKind::Invalid);
    // Memory that the peer never registered.
    assert_eq!(refused(Remote { address: theirs.address + 2 * POOL, ..theirs }, &[block]), ErrorKind::Invalid);

    assert_eq!(agent.add_peer("theirs", &vouched(b"not NIXL's")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(agent.add_peer("another", &peer.metadata).unwrap_err().kind(), ErrorKind::Invalid);
    let mut other = our_agent("other");
    other.add_peer("theirs", &peer.metadata).unwrap();
    let strange = other.read(&theirs, &ours, &[block], None).unwrap_err();
    assert_eq!(strange.to_string(), "the memory is registered with another agent");
    // None of this has hurt.
    let id = agent.read(&theirs, &ours, &[block], None).unwrap();
    outcome(&mut agent, id, &mut Vec::new()).unwrap();
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn memory_is_let_go_of_when_its_registration_is_dropped() {
    let (mut agent, pool, ours, peer) = acquainted();
    let id = agent.read(&peer.memory(), &ours, &random_blocks(64, 1), None).unwrap();
    drop(ours);
    outcome(&mut agent, id, &mut Vec::new()).unwrap();
    agent.poll(&mut Vec::new()).unwrap();

    assert_eq!(Arc::strong_count(&pool), 1);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn an_agent_that_is_dropped_while_it_reads_lets_go_of_memory() {
    let (mut agent, pool, ours, peer) = acquainted();
    for n in 0..8 {
        agent.read(&peer.memory(), &ours, &random_blocks(1024, n), None).unwrap();
    }
    drop((ours, agent));

    assert_eq!(Arc::strong_count(&pool), 1);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn a_peer_that_hangs_keeps_nobody_from_going_on() {
    let (mut agent, pool, ours, hanging) = acquainted();
    let (copies, mut events) = (random_blocks(64, 2), Vec::new());
    hanging.hang();
    let never = agent.read(&hanging.memory(), &ours, &copies, Some(b"never")).unwrap();
    agent.ignore(never);

    let other = Peer::start("other", 5);
    agent.add_peer("other", &other.metadata).unwrap();
    let id = agent.read(&other.memory(), &ours, &copies, None).unwrap();
    outcome(&mut agent, id, &mut events).unwrap();
    assert_eq!(pool.wrong(5, &copies), 0);
    assert_eq!(messages(&events), []);
    drop((ours, agent));
    assert_eq!(Arc::strong_count(&pool), 1);
}

#[test]
#[ignore = "takes NIXL's wheel: `cargo xtask nixl`"]
fn an_agent_goes_on_in_another_thread() {
    let (mut agent, pool, ours, peer) = acquainted();
    let (copies, theirs) = (random_blocks(1024, 4), peer.memory());
    thread::scope(|scope| {
        let moved = scope.spawn(|| {
            let id = agent.read(&theirs, &ours, &copies, None).unwrap();
            outcome(&mut agent, id, &mut Vec::new()).unwrap();
            agent
        });
        assert_eq!(moved.join().unwrap().in_flight(), 0);
    });
    assert_eq!(pool.wrong(2, &copies), 0);
}
