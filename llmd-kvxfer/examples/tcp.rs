//! How fast 1,024 random blocks go from one agent to another by TCP, beside as many bytes over bare sockets.
//!
//! `cargo run --release -p llmd-kvxfer --example tcp [streams]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and says what it measured")]

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use llmd_kvxfer::{Agent, Check, KvLayout, Lease, Outcome, Pool, Region, Tcp};

/// How many blocks go at once.
const BLOCKS: usize = 1024;
/// How long each point is measured.
const BUDGET: Duration = Duration::from_millis(1500);
const SECONDS: Duration = Duration::from_secs(30);

fn main() {
    let streams = std::env::args().nth(1).map_or(2, |streams| streams.parse().unwrap());
    println!("GB/s of the median, {BLOCKS} random blocks, {streams} connections");
    println!("{:>10} {:>12} {:>12} {:>12} {:>12}", "block", "bare", "unchecked", "checked", "of bare");
    for bytes in [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        let bare = Bare::new(bytes, streams);
        let off = Agents::new(bytes, streams, Check::Off);
        let on = Agents::new(bytes, streams, Check::Always);
        // In turns, so that all of them have the same neighbours.
        let (mut bare, mut off, mut on) = (bare, off, on);
        let mut took: [Vec<Duration>; 3] = Default::default();
        let began = Instant::now();
        while began.elapsed() < 3 * BUDGET || took[0].len() < 5 {
            took[0].push(bare.pull());
            took[1].push(off.pull());
            took[2].push(on.pull());
        }
        let rate = |took: &mut Vec<Duration>| {
            took.sort();
            (BLOCKS * bytes) as f64 / took[took.len() / 2].as_secs_f64() / 1e9
        };
        let [bare, off, on] = took.each_mut().map(rate);
        println!("{bytes:>10} {bare:>12.2} {off:>12.2} {on:>12.2} {:>6.2} {:>5.2}", off / bare, on / bare);
    }
}

/// Numbers below `most`, each once, in an order that nobody would guess.
fn shuffled(most: usize, seed: u64) -> Vec<u32> {
    let mut all: Vec<u32> = (0..most as u32).collect();
    let mut state = seed | 1;
    for place in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.swap(place, (state >> 33) as usize % (place + 1));
    }
    all
}

/// Two agents of this process.
struct Agents {
    prefill: Agent,
    decode: Agent,
    computed: Pool,
    cache: Pool,
    round: u64,
}

impl Agents {
    fn new(bytes: usize, streams: usize, check: Check) -> Self {
        let build = |name: &str| {
            let tcp = Tcp::bind("127.0.0.1:0").unwrap().streams(streams);
            Agent::builder(name).check(check).transport(tcp).build().unwrap()
        };
        let (prefill, decode) = (build("prefill-0"), build("decode-0"));
        let layout = KvLayout::opaque("bytes", BLOCKS as u32, bytes as u32).unwrap();
        let register = |agent: &Agent| agent.register(Region::memfd(BLOCKS * bytes).unwrap(), layout.clone()).unwrap();
        let (computed, cache) = (register(&prefill), register(&decode));
        for block in 0..BLOCKS {
            computed.write_block(block as u32, &vec![block as u8; bytes]).unwrap();
        }
        Self { prefill, decode, computed, cache, round: 0 }
    }

    fn pull(&mut self) -> Duration {
        self.round += 1;
        let (from, to) = (shuffled(BLOCKS, self.round), shuffled(BLOCKS, self.round + 1000));
        let grant = self.prefill.grant(&self.computed, &from, Lease::for_secs(60)).unwrap();
        // A prefill has them sealed long before they are asked for.
        std::thread::sleep(Duration::from_millis(if self.round == 1 { 500 } else { 2 }));
        if self.round == 1 {
            let op = self.decode.fetch(&grant, &self.cache, &to, SECONDS).unwrap();
            assert_eq!(self.decode.wait(op, SECONDS).unwrap().outcome, Outcome::Done);
            return self.pull();
        }
        let began = Instant::now();
        let op = self.decode.fetch(&grant, &self.cache, &to, SECONDS).unwrap();
        let fetched = self.decode.wait(op, SECONDS).unwrap();
        let took = began.elapsed();
        assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
        self.prefill.poll(&mut Vec::new()).unwrap();
        took
    }
}

/// Bare sockets, each with a thread on both sides.
struct Bare {
    clients: Vec<TcpStream>,
    pool: Vec<u8>,
    bytes: usize,
    round: u64,
}

/// How many pieces go in one call.
const PIECES: usize = 1024;

impl Bare {
    fn new(bytes: usize, streams: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        for _ in 0..streams {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (mut server, _) = listener.accept().unwrap();
            server.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let pool: Vec<u8> = (0..BLOCKS * bytes).map(|place| place as u8).collect();
                let mut order = vec![0; BLOCKS / streams * 4];
                while server.read_exact(&mut order).is_ok() {
                    let (order, _) = order.as_chunks();
                    let blocks: Vec<&[u8]> = order
                        .iter()
                        .map(|block| &pool[u32::from_le_bytes(*block) as usize * bytes..][..bytes])
                        .collect();
                    let mut slices: Vec<_> = blocks.iter().map(|block| IoSlice::new(block)).collect();
                    let mut left = &mut slices[..];
                    while !left.is_empty() {
                        let count = left.len().min(PIECES);
                        let sent = server.write_vectored(&left[..count]).unwrap();
                        IoSlice::advance_slices(&mut left, sent);
                    }
                }
            });
        }
        Self { clients, pool: vec![0; BLOCKS * bytes], bytes, round: 0 }
    }

    fn pull(&mut self) -> Duration {
        self.round += 1;
        let (from, to) = (shuffled(BLOCKS, self.round), shuffled(BLOCKS, self.round + 1000));
        let bytes = self.bytes;
        let mut chunks: Vec<Option<&mut [u8]>> = self.pool.chunks_mut(bytes).map(Some).collect();
        let each = BLOCKS / self.clients.len();
        let mut parts: Vec<(Vec<u8>, Vec<IoSliceMut<'_>>)> = (0..self.clients.len())
            .map(|part| {
                let range = part * each..(part + 1) * each;
                let order = from[range.clone()].iter().flat_map(|block| block.to_le_bytes()).collect();
                let slices = to[range].iter().map(|&block| IoSliceMut::new(chunks[block as usize].take().unwrap()));
                (order, slices.collect())
            })
            .collect();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let mut work = self.clients.iter_mut().zip(&mut parts);
            let first = work.next();
            for (client, (order, slices)) in work {
                scope.spawn(move || receive(client, order, slices));
            }
            if let Some((client, (order, slices))) = first {
                receive(client, order, slices);
            }
        });
        began.elapsed()
    }
}

fn receive(client: &mut TcpStream, order: &[u8], slices: &mut [IoSliceMut<'_>]) {
    client.write_all(order).unwrap();
    let mut left = slices;
    while !left.is_empty() {
        let count = left.len().min(PIECES);
        let received = client.read_vectored(&mut left[..count]).unwrap();
        assert_ne!(received, 0);
        IoSliceMut::advance_slices(&mut left, received);
    }
}
