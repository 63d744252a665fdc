//! Pools of device memory, moved by agents.

#![expect(clippy::unwrap_used, reason = "these are tests, and what they share")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::ErrorKind;
use llmd_kvxfer::device::{Device, Host};
use llmd_kvxfer::{
    Agent, Check, CudaIpc, Fetch, Fetched, Grant, KvLayout, KvShape, Lease, Local, Outcome, Pool, Region, Shm, Tcp,
    testing,
};
use tempfile::TempDir;

use crate::exporting::Exporting;
use crate::fake::{Fake, Kind, Left, open};
use crate::real;

const LONG: Duration = Duration::from_secs(20);

pub(crate) fn memory(device: &Arc<dyn Device>) -> impl Fn(usize) -> Region + use<> {
    let device = Arc::clone(device);
    move |len| Region::on_device(Arc::clone(&device), device.allocate(len as u64).unwrap()).unwrap()
}

/// All that was taken of a driver is given back, at the latest when the threads of agents that ended are through.
fn gives_back(fake: &Fake) {
    for _ in 0..LONG.as_millis() {
        if fake.left() == Left::default() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{:?} was not given back", fake.left());
}

pub(crate) fn host(len: usize) -> Region {
    Region::memfd(len).unwrap()
}

fn conforms(memory: [&dyn Fn(usize) -> Region; 2]) {
    let here = Local::default();
    testing::transport_with(|| here.clone(), memory);
}

#[test]
fn from_a_device_to_the_host_and_back() {
    for kind in [Kind::Cuda, Kind::OldHip] {
        let fake = Fake::new(kind);
        let device = fake.device();
        match kind {
            Kind::Cuda => conforms([&memory(&device), &host]),
            _ => conforms([&host, &memory(&device)]),
        }
        drop(device);
        gives_back(&fake);
    }
}

#[test]
fn within_a_device() {
    let fake = Fake::new(Kind::Hip);
    let device = fake.device();
    conforms([&memory(&device), &memory(&device)]);
    drop(device);
    gives_back(&fake);
}

#[test]
fn from_one_device_to_another() {
    let (one, other) = (Fake::new(Kind::Cuda), Fake::new(Kind::Hip));
    conforms([&memory(&one.device()), &memory(&other.device())]);
    gives_back(&one);
    gives_back(&other);
}

#[test]
fn the_hosts_memory_is_a_device_too() {
    let device: Arc<dyn Device> = Arc::new(Host::new());
    conforms([&memory(&device), &memory(&device)]);
}

#[test]
fn what_a_device_exports_conforms() {
    let folder = TempDir::new().unwrap();
    let device: Arc<dyn Device> = Arc::new(Exporting::new());
    let make = || CudaIpc::new(Arc::clone(&device)).in_folder(folder.path());
    testing::transport_with(make, [&memory(&device), &memory(&device)]);
}

/// Memory that peers neither map nor, without cma, read.
fn own(len: usize) -> Region {
    Region::adopt_bytes(vec![0; len])
}

#[test]
fn shared_memory_stages_into_a_device() {
    for kind in [Kind::Cuda, Kind::OldHip] {
        let (fake, folder) = (Fake::new(kind), TempDir::new().unwrap());
        let device = fake.device();
        testing::transport_with(|| Shm::in_folder(folder.path()).without_cma(), [&own, &memory(&device)]);
        drop(device);
        gives_back(&fake);
    }
}

#[test]
fn shared_memory_stages_from_one_device_to_another() {
    let (one, other, folder) = (Fake::new(Kind::Hip), Fake::new(Kind::Cuda), TempDir::new().unwrap());
    testing::transport_with(|| Shm::in_folder(folder.path()), [&memory(&one.device()), &memory(&other.device())]);
    gives_back(&one);
    gives_back(&other);
}

#[test]
fn shared_memory_stages_what_is_in_a_device() {
    let (fake, folder) = (Fake::new(Kind::Cuda), TempDir::new().unwrap());
    let device = fake.device();
    testing::transport_with(|| Shm::in_folder(folder.path()), [&memory(&device), &host]);
    drop(device);
    gives_back(&fake);
}

pub(crate) fn by_tcp() -> Tcp {
    Tcp::bind("127.0.0.1:0").unwrap()
}

#[test]
fn tcp_brings_what_is_in_a_device() {
    for kind in [Kind::Cuda, Kind::OldHip] {
        let fake = Fake::new(kind);
        testing::transport_with(by_tcp, [&memory(&fake.device()), &host]);
        gives_back(&fake);
    }
}

#[test]
fn tcp_brings_into_a_device() {
    for kind in [Kind::OldCuda, Kind::Hip] {
        let fake = Fake::new(kind);
        testing::transport_with(by_tcp, [&host, &memory(&fake.device())]);
        gives_back(&fake);
    }
}

#[test]
fn tcp_brings_from_one_device_to_another() {
    let (one, other) = (Fake::new(Kind::Hip), Fake::new(Kind::Cuda));
    testing::transport_with(by_tcp, [&memory(&one.device()), &memory(&other.device())]);
    gives_back(&one);
    gives_back(&other);
}

/// Of large blocks a sixteenth: what is sent of many of them is little, and what leaves the device is not.
#[test]
fn tcp_brings_a_narrow_shard_of_what_is_in_a_device() {
    let fake = Fake::new(Kind::Cuda);
    let device = fake.device();
    let shape = KvShape { layers: 2, blocks: 72, heads: 16, tokens: 16, parts: 2, content: 1 << 10 };
    let named = |shape: KvShape| KvLayout::named("LBHNC", shape).unwrap();
    let (whole, shard) = (named(shape), named(KvShape { heads: 1, ..shape }).from_head(5));
    let build = |name: &str| Agent::builder(name).transport(by_tcp()).build().unwrap();
    let (prefill, decode) = (build("prefill-0"), build("decode-0"));
    let computed = prefill.register(memory(&device)(whole.end() as usize), whole).unwrap();
    let of_head = |block: u32, head: u32| vec![(block * 16 + head) as u8; 16 * 2 * (1 << 10)];
    for block in 0..72 {
        let layer: Vec<u8> = (0..16).flat_map(|head| of_head(block, head)).collect();
        computed.write_block(block, &[layer.as_slice(); 2].concat()).unwrap();
    }
    let cache = decode.register(host(shard.end() as usize), shard).unwrap();
    let blocks: Vec<u32> = (0..72).collect();
    let grant = prefill.grant(&computed, &blocks, Lease::for_secs(60)).unwrap();
    let fetched = decode.wait(decode.fetch(&grant, &cache, &blocks, LONG).unwrap(), LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!((0..72).all(|block| cache.read_block(block).unwrap() == of_head(block, 5).repeat(2)));
}

/// A peer that hangs up has nobody wait for the device: neither the agent's thread nor who calls it.
#[test]
fn a_connection_that_is_lost_waits_for_no_device() {
    for by in [By::Tcp, By::TcpOut] {
        let Two { prefill, decode, computed, cache, device, fake, _folder } = Two::new(by);
        let grant = sealed(&prefill, &computed);
        fake.hold(true);
        let blocks: Vec<u32> = (0..16).collect();
        let op = decode.fetch(&grant, &cache, &blocks, LONG).unwrap();
        begun(&device);
        if matches!(by, By::Tcp) {
            drop((computed, prefill));
            std::thread::sleep(Duration::from_millis(100));
            // It ends at once, whatever the device does.
            let again = decode.submit(&Fetch::new(&grant, &cache, &blocks).and_hold());
            again.iter().for_each(|&again| assert_ne!(decode.wait(again, LONG).unwrap().outcome, Outcome::Done));
            fake.hold(false);
            let fetched = decode.wait(op, LONG).unwrap();
            assert!(matches!(fetched.outcome, Outcome::Done | Outcome::PeerLost), "{:?}", fetched.outcome);
        } else {
            drop((cache, decode));
            std::thread::sleep(Duration::from_millis(100));
            assert!(prefill.release(grant.lease()).unwrap());
            fake.hold(false);
        }
        // All buffers are given back.
        for _ in 0..LONG.as_millis() {
            if device.counts().under_way == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(device.counts().under_way, 0, "{by:?}");
    }
}

fn layout() -> KvLayout {
    KvLayout::opaque("bytes", 16, 64 << 10).unwrap()
}

fn filled(agent: &Agent, device: &Arc<dyn Device>, seed: u8) -> Pool {
    filled_of(agent, memory(device)(16 * (64 << 10)), seed)
}

fn filled_of(agent: &Agent, region: Region, seed: u8) -> Pool {
    let pool = agent.register(region, layout()).unwrap();
    (0..16).for_each(|block| pool.write_block(block, &content(block, seed)).unwrap());
    pool
}

fn content(block: u32, seed: u8) -> Vec<u8> {
    (0..64_u32 << 10).map(|place| (place % 251) as u8 ^ seed ^ block as u8).collect()
}

/// What the other process does: it fetches what it was granted, checked and not. By itself it does nothing.
#[test]
fn the_process_that_fetches() {
    let Some(path) = env::var_os("LLMD_TEST_POOL_DRIVER").map(PathBuf::from) else { return };
    let real = (path == Path::new(MACHINES)).then(real::device).flatten();
    let hex = env::var("LLMD_TEST_GRANT").unwrap();
    let grant = Grant::from_bytes(&hex::decode(hex).unwrap()).unwrap();
    let kind = if env::var("LLMD_TEST_KIND").unwrap() == "hip" { Kind::Hip } else { Kind::Cuda };
    let device = real.unwrap_or_else(|| open(kind, &path));
    let folder = PathBuf::from(env::var_os("LLMD_TEST_FOLDER").unwrap());
    for check in [Check::Always, Check::Remote] {
        let ipc = CudaIpc::new(Arc::clone(&device)).in_folder(&folder);
        let local = Local::default();
        let agent = Agent::builder("decode-0").transport(ipc).transport(local).check(check).build().unwrap();
        let on_device = filled(&agent, &device, 9);
        let in_host = agent.register(Region::memfd(16 * (64 << 10)).unwrap(), layout()).unwrap();
        for pool in [on_device, in_host] {
            let fetch = Fetch::new(&grant, &pool, &[7, 3, 11]).and_hold();
            let fetched = agent.wait(agent.submit(&fetch).unwrap(), LONG).unwrap();
            assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, "cuda_ipc"), "{:?}", fetched.why);
            for (from, to) in [(1, 7), (2, 3), (15, 11)] {
                assert!(pool.read_block(to).unwrap() == content(from, 5), "block {from} is not in block {to}");
            }
        }
        assert_eq!(agent.stats().ipc_bytes, 2 * 3 * (64 << 10));
    }
}

/// Says that the machine's own driver is meant, and not one in a file.
const MACHINES: &str = "the machine's";

#[test]
fn another_process_fetches_what_a_driver_exports() {
    for (name, kind) in [("cuda", Kind::Cuda), ("hip", Kind::Hip)] {
        let fake = Fake::new(kind);
        another_process_fetches(&fake.device(), name, fake.path());
        gives_back(&fake);
    }
}

#[test]
fn another_process_fetches_what_the_machines_driver_exports() {
    let Some(device) = real::device() else { return };
    another_process_fetches(&device, "", Path::new(MACHINES));
}

fn another_process_fetches(device: &Arc<dyn Device>, kind: &str, driver: &Path) {
    let folder = TempDir::new().unwrap();
    let ipc = CudaIpc::new(Arc::clone(device)).in_folder(folder.path());
    let agent = Agent::builder("prefill-0").transport(ipc).build().unwrap();
    let pool = filled(&agent, device, 5);
    let grant = agent.grant(&pool, &[1, 2, 15], Lease::for_secs(60)).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "pools::the_process_that_fetches", "--nocapture"]);
    child.env("LLMD_TEST_POOL_DRIVER", driver).env("LLMD_TEST_KIND", kind);
    child.env("LLMD_TEST_FOLDER", folder.path()).env("LLMD_TEST_GRANT", hex::encode(grant.to_bytes()));
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Two agents of one process, and a pool of the second, at least, in the device of a driver that can be told what is to go wrong.
struct Two {
    prefill: Agent,
    decode: Agent,
    computed: Pool,
    cache: Pool,
    device: Arc<dyn Device>,
    fake: Fake,
    /// In which they find each other.
    _folder: TempDir,
}

/// How blocks get from the one to the other.
#[derive(Clone, Copy, Debug)]
enum By {
    /// Within the device.
    Local,
    /// Through slots of shared memory, from the host.
    Slots,
    /// By a connection, from the host.
    Tcp,
    /// By a connection, to the host.
    TcpOut,
}

impl By {
    const ALL: [Self; 4] = [Self::Local, Self::Slots, Self::Tcp, Self::TcpOut];
    /// Those that write to the device.
    const INTO: [Self; 3] = [Self::Local, Self::Slots, Self::Tcp];
}

/// Waits until something is asked of the device.
fn begun(device: &Arc<dyn Device>) {
    let is_begun = (0..LONG.as_millis()).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        device.counts().under_way > 0
    });
    assert!(is_begun, "nothing is asked of the device");
}

/// Lends all blocks, and waits until they are summed.
fn sealed(prefill: &Agent, computed: &Pool) -> Grant {
    let blocks: Vec<u32> = (0..16).collect();
    let grant = prefill.grant(computed, &blocks, Lease::for_secs(60)).unwrap();
    for _ in 0..LONG.as_millis() {
        if blocks.iter().all(|&block| computed.is_sealed(block)) {
            return grant;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("blocks are not sealed");
}

impl Two {
    fn new(by: By) -> Self {
        let (fake, here, folder) = (Fake::new(Kind::Cuda), Local::default(), TempDir::new().unwrap());
        let device = fake.device();
        let build = |name: &str| {
            let builder = Agent::builder(name);
            let builder = match by {
                By::Local => builder.transport(here.clone()),
                By::Slots => builder.transport(Shm::in_folder(folder.path()).without_cma()),
                By::Tcp | By::TcpOut => builder.transport(by_tcp()),
            };
            builder.build().unwrap()
        };
        let (prefill, decode) = (build("prefill-0"), build("decode-0"));
        let computed = match by {
            By::Local | By::TcpOut => filled(&prefill, &device, 5),
            By::Slots | By::Tcp => filled_of(&prefill, own(16 * (64 << 10)), 5),
        };
        let cache = match by {
            By::TcpOut => filled_of(&decode, own(16 * (64 << 10)), 9),
            _ => filled(&decode, &device, 9),
        };
        Self { prefill, decode, computed, cache, device, fake, _folder: folder }
    }

    fn begun(&self) {
        begun(&self.device);
    }

    fn sealed(&self) -> Grant {
        sealed(&self.prefill, &self.computed)
    }

    fn fetch(&self, grant: &Grant) -> Fetched {
        let blocks: Vec<u32> = (0..16).rev().collect();
        let fetch = Fetch::new(grant, &self.cache, &blocks).and_hold();
        self.decode.wait(self.decode.submit(&fetch).unwrap(), LONG).unwrap()
    }
}

#[test]
fn a_device_that_is_lost_fails_what_is_under_way_and_what_comes() {
    for by in By::ALL {
        let two = Two::new(by);
        let grant = two.sealed();
        two.fake.hold(true);
        let blocks: Vec<u32> = (0..16).collect();
        let ops: Vec<_> =
            (0..5).map(|_| two.decode.submit(&Fetch::new(&grant, &two.cache, &blocks).and_hold()).unwrap()).collect();
        two.fake.lose(true);
        two.fake.hold(false);
        for op in ops {
            let fetched = two.decode.wait(op, LONG).unwrap();
            assert_eq!(fetched.outcome, Outcome::Io, "{by:?}: {:?}", fetched.why);
            assert_eq!(fetched.blocks.count(), 0);
            assert!(fetched.why.is_some_and(|why| why.contains("nvidia:0")));
        }
        assert_eq!(two.fetch(&grant).outcome, Outcome::Io);
        assert_eq!(two.decode.stats().operations, 0);
        two.fake.lose(false);
    }
}

#[test]
fn a_copy_that_fails_fails_its_operation_alone() {
    for by in By::ALL {
        let two = Two::new(by);
        let grant = two.sealed();
        // More often than there are slots and buffers: none is lost.
        let mut failed = 0;
        for _ in 0..20 {
            // What a peer asked for and then left may still be copied, and would be what fails.
            while two.device.counts().under_way > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(if matches!(by, By::TcpOut) { 20 } else { 0 }));
            two.fake.fail_later(1, 719);
            failed += usize::from(two.fetch(&grant).outcome == Outcome::Io);
        }
        assert_eq!(failed, 20, "{by:?}");
        assert_eq!(two.fetch(&grant).outcome, Outcome::Done, "{by:?}");
        assert!((0..16).all(|block| two.cache.read_block(15 - block).unwrap() == content(block, 5)), "{by:?}");
    }
}

#[test]
fn what_was_changed_or_taken_back_is_not_said_to_be_there() {
    for by in By::ALL {
        let two = Two::new(by);
        let grant = two.sealed();
        two.computed.write_block(3, &content(3, 6)).unwrap();
        let fetched = two.fetch(&grant);
        assert_eq!(fetched.outcome, Outcome::Corrupt, "{by:?}");
        assert_eq!(fetched.blocks.failed().collect::<Vec<_>>(), [3]);
        if matches!(by, By::Tcp) {
            // What is still to be brought into the device was read before.
            continue;
        }
        two.fake.hold(true);
        let blocks: Vec<u32> = (0..16).collect();
        let op = two.decode.fetch(&grant, &two.cache, &blocks, LONG).unwrap();
        two.begun();
        assert!(two.prefill.release(grant.lease()).unwrap());
        two.fake.hold(false);
        let fetched = two.decode.wait(op, LONG).unwrap();
        assert_eq!((fetched.outcome, fetched.blocks.count()), (Outcome::Stale, 0), "{by:?}: {:?}", fetched.why);
    }
}

#[test]
fn an_operation_that_is_cancelled_ends_when_the_device_has_finished() {
    for by in By::INTO {
        let two = Two::new(by);
        let grant = two.sealed();
        two.fake.hold(true);
        let blocks: Vec<u32> = (0..16).collect();
        let op = two.decode.fetch(&grant, &two.cache, &blocks, LONG).unwrap();
        two.begun();
        two.decode.cancel(op).unwrap();
        let early = two.decode.wait(op, Duration::from_millis(50)).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::Unavailable, "{by:?}: the device may still write");
        two.fake.hold(false);
        let fetched = two.decode.wait(op, LONG).unwrap();
        assert!(matches!(fetched.outcome, Outcome::Cancelled | Outcome::Done), "{by:?}: {:?}", fetched.outcome);
        assert_eq!(two.device.counts().under_way, 0, "{by:?}: nothing is written any more");
    }
}

#[test]
fn what_waits_for_a_buffer_ends_at_once_when_it_is_cancelled() {
    for by in [By::Slots, By::Tcp] {
        let two = Two::new(by);
        let grant = two.sealed();
        two.fake.hold(true);
        let blocks: Vec<u32> = (0..16).collect();
        let fetch = Fetch::new(&grant, &two.cache, &blocks).and_hold();
        // Four of them at most fill the buffers, and slots or rooms hold the others.
        let ops: Vec<_> = (0..12).map(|_| two.decode.submit(&fetch).unwrap()).collect();
        two.begun();
        std::thread::sleep(Duration::from_millis(100));
        ops.iter().for_each(|&op| two.decode.cancel(op).unwrap());
        let ended = ops.iter().filter(|&&op| two.decode.wait(op, Duration::from_millis(50)).is_ok()).count();
        assert!((ops.len() - 4..ops.len()).contains(&ended), "{by:?}: {ended}, all but what the device writes");
        two.fake.hold(false);
        assert_eq!(two.fetch(&grant).outcome, Outcome::Done, "{by:?}");
    }
}

#[test]
fn an_agent_that_goes_gives_back_what_slots_are_waited_for_with() {
    let (one, other, folder) = (Fake::new(Kind::Cuda), Fake::new(Kind::Hip), TempDir::new().unwrap());
    let (lends, reads) = (one.device(), other.device());
    let build = |name: &str| Agent::builder(name).transport(Shm::in_folder(folder.path())).check(Check::Off);
    let (prefill, decode) = (build("prefill-0").build().unwrap(), build("decode-0").build().unwrap());
    let (computed, cache) = (filled(&prefill, &lends, 5), filled(&decode, &reads, 9));
    let grant = prefill.grant(&computed, &[1, 2], Lease::for_secs(60)).unwrap();
    one.hold(true);
    decode.fetch(&grant, &cache, &[3, 4], LONG).unwrap();
    let is_asked = (0..LONG.as_millis()).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        lends.counts().under_way > 0
    });
    assert!(is_asked, "nobody asks for the blocks");
    drop((decode, cache, reads));
    let is_given_back = (0..LONG.as_millis()).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        other.left() == Left::default()
    });
    // Whoever lends waits for its device when it goes.
    one.hold(false);
    assert!(is_given_back, "{:?} was not given back", other.left());
}

#[test]
fn what_cannot_be_pinned_is_said_when_the_pool_is_registered() {
    let fake = Fake::new(Kind::Cuda);
    let device = fake.device();
    let agent = Agent::builder("prefill-0").transport(Local::default()).build().unwrap();
    let region = memory(&device)(16 * (64 << 10));
    fake.fail("register", 1, 2);
    let error = agent.register(region.clone(), layout()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.to_string().contains("pinning"), "{error}");
    agent.register(region, layout()).unwrap();
    fake.fail("register", 1, 2);
    let error = Region::on_device(Arc::clone(&device), device.allocate(4096).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
}
