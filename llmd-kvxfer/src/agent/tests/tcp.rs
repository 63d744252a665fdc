//! What only happens between machines: connections that break, stall, and bring what nobody sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;
use crate::AgentId;
use crate::handshake::{Connecting, Identity, Keys, Refused};
use crate::lease::Capability;
use crate::wire::Writer;

/// What stands between two agents, and does to what passes what a bad network does.
struct Between {
    address: SocketAddr,
    fate: Arc<Mutex<Fate>>,
}

#[derive(Clone, Copy)]
struct Fate {
    to: SocketAddr,
    /// Of what the side that serves sends: where a bit is turned, where the connection is cut, where nothing more passes for now.
    flip: u64,
    cut: u64,
    hold: u64,
}

const NEVER: u64 = u64::MAX;

impl Between {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fate = Arc::new(Mutex::new(Fate { to: address, flip: NEVER, cut: NEVER, hold: NEVER }));
        let known = Arc::clone(&fate);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(known.lock().to) else { continue };
                let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(&other_client, &other_server, None));
                let known = Arc::clone(&known);
                std::thread::spawn(move || pass(&server, &client, Some(&known)));
            }
        });
        Self { address, fate }
    }

    fn turn(&self, change: impl FnOnce(&mut Fate)) {
        change(&mut self.fate.lock());
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, fate: Option<&Mutex<Fate>>) {
    let (mut passed, mut bytes) = (0_u64, vec![0; 16 << 10]);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let now = || *fate.unwrap().lock();
        if fate.is_some() {
            while passed >= now().hold {
                std::thread::sleep(Duration::from_millis(1));
            }
            if passed >= now().cut {
                break;
            }
            if let Some(place) = now().flip.checked_sub(passed).filter(|&place| place < count as u64) {
                bytes[place as usize] ^= 4;
            }
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
        passed += count as u64;
    }
    let _closed = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

/// Two agents, and what stands between them.
fn apart() -> (Pair, Between) {
    let between = Between::new();
    let tcp = Tcp::bind("0.0.0.0:0").unwrap().advertise(between.address.to_string());
    let port = tcp.listens().port();
    between.turn(|fate| fate.to = SocketAddr::from(([127, 0, 0, 1], port)));
    let prefill = Agent::builder("prefill-0").transport(tcp).build().unwrap();
    let decode = Agent::builder("decode-0").transport(Tcp::bind("127.0.0.1:0").unwrap()).build().unwrap();
    (Pair { prefill, decode }, between)
}

/// An agent that fetches, by a clock of its own.
fn by_turned_clock() -> (Agent, Turned) {
    let (turned, tcp) = (Turned::default(), Tcp::bind("127.0.0.1:0").unwrap());
    let clock = turned.clone();
    let decode = Agent::builder("decode-0").transport(tcp).spin(Duration::ZERO).clock(move || clock.now());
    (decode.build().unwrap(), turned)
}

/// Blocks of 512 KiB: more than connections hold on their way.
fn large() -> KvLayout {
    KvLayout::named("BLHNC", KvShape { layers: 8, tokens: 64, heads: 4, ..SHAPE }).unwrap()
}

fn all() -> Vec<u32> {
    (0..64).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what}: not in {LONG:?}");
}

#[test]
fn a_bit_that_is_turned_on_its_way_is_found() {
    let (Pair { prefill, decode }, between) = apart();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    between.turn(|fate| fate.flip = 100_000);
    let grant = prefill.grant(&computed, &all(), Lease::for_secs(30)).unwrap();
    let op = decode.fetch(&grant, &cache, &all(), LONG).unwrap();
    let fetched = decode.wait(op, LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::Corrupt, "{:?}", fetched.why);
    let failed: Vec<_> = fetched.blocks.failed().collect();
    assert!((1..=2).contains(&failed.len()), "one of each connection at most: {failed:?}");
    for block in 0..64 {
        let is_right = cache.read_block(block).unwrap() == computed.read_block(block).unwrap();
        assert_eq!(is_right, fetched.blocks.has(block as usize), "block {block}");
    }
}

#[test]
fn a_connection_that_is_cut_is_lost_and_made_again() {
    let (Pair { prefill, .. }, between) = apart();
    let (decode, clock) = by_turned_clock();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    between.turn(|fate| fate.cut = 300_000);
    let grant = prefill.grant(&computed, &all(), Lease::for_secs(30)).unwrap();
    let fetch = || decode.submit(&Fetch::new(&grant, &cache, &all()).within(LONG).and_hold());
    let fetched = decode.wait(fetch().unwrap(), LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::PeerLost, "{:?}", fetched.why);
    for block in fetched.blocks.failed() {
        assert!(block < 64);
    }
    assert_eq!(fetch().unwrap_err().kind(), ErrorKind::Unavailable, "it is left alone for a while");
    between.turn(|fate| fate.cut = NEVER);
    clock.turn(1);
    let fetched = decode.wait(fetch().unwrap(), LONG).unwrap();
    assert_eq!((fetched.outcome, fetched.blocks), (Outcome::Done, Blocks::all(64)), "{:?}", fetched.why);
    assert!(cache.read_block(63).unwrap() == computed.read_block(63).unwrap());
}

#[test]
fn a_lease_that_ends_while_its_blocks_are_read_is_stale() {
    let (Pair { prefill, decode }, between) = apart();
    let (computed, cache) = (filled(&prefill, 1, large()), filled(&decode, 2, large()));
    between.turn(|fate| fate.hold = 3 << 20);
    let grant = prefill.grant(&computed, &all(), Lease::for_secs(30)).unwrap();
    let op = decode.fetch(&grant, &cache, &all(), LONG).unwrap();
    until("some of it is sent", || prefill.stats().served_bytes > 0);
    prefill.release(grant.lease()).unwrap();
    between.turn(|fate| fate.hold = NEVER);
    let fetched = decode.wait(op, LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::Stale, "{:?}", fetched.why);
    assert!(fetched.blocks.count() < 64);
    for block in (0..64).filter(|&block| fetched.blocks.has(block as usize)) {
        assert!(cache.read_block(block).unwrap() == computed.read_block(block).unwrap());
    }
}

#[test]
fn nothing_is_written_any_more_once_a_cancelled_transfer_ended() {
    let (Pair { prefill, decode }, between) = apart();
    let (computed, cache) = (filled(&prefill, 1, large()), filled(&decode, 2, large()));
    between.turn(|fate| fate.hold = 3 << 20);
    let grant = prefill.grant(&computed, &all(), Lease::for_secs(30)).unwrap();
    let op = decode.submit(&Fetch::new(&grant, &cache, &all()).within(LONG).and_hold()).unwrap();
    until("some of it is sent", || prefill.stats().served_bytes > 0);
    decode.cancel(op).unwrap();
    assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Cancelled);
    let read = || -> Vec<_> { all().into_iter().map(|block| cache.read_block(block).unwrap()).collect() };
    let before = read();
    between.turn(|fate| fate.hold = NEVER);
    // The connections are of use again, after the rest of it came.
    let op = decode.fetch(&grant.part(0..1).unwrap(), &cache, &[63], LONG).unwrap();
    assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
    std::thread::sleep(Duration::from_millis(200));
    assert!(read()[..63] == before[..63]);
    assert!(cache.read_block(63).unwrap() == computed.read_block(0).unwrap());
}

#[test]
fn another_agent_at_that_address_is_not_the_one_that_granted() {
    let (Pair { prefill, decode }, between) = apart();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
    let tcp = Tcp::bind("127.0.0.1:0").unwrap();
    between.turn(|fate| fate.to = tcp.listens());
    let _other = Agent::builder("prefill-0").transport(tcp).build().unwrap();
    let op = decode.fetch(&grant, &cache, &[0], LONG).unwrap();
    let fetched = decode.wait(op, LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::PeerLost);
    assert!(fetched.why.as_ref().unwrap().contains("it was restarted"), "{:?}", fetched.why);
}

#[test]
fn blocks_of_other_sizes_and_orders_arrive_by_tcp() {
    let Pair { prefill, decode } = by_tcp();
    let wide = KvShape { blocks: 22, tokens: 48, ..SHAPE };
    for name in ["LBNHC", "LBHNC", "BLHNC", "LHBNC", "LPBNHC"] {
        let computed = filled(&prefill, 1, layout("LBNHC"));
        let cache = filled(&decode, 2, KvLayout::named(name, wide).unwrap());
        let back = filled(&prefill, 3, layout("LBNHC"));
        let wides: Vec<u32> = (0..22).rev().collect();
        let grant = prefill.grant(&computed, &all(), Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &wides, LONG).unwrap();
        let fetched = decode.wait(op, LONG).unwrap();
        assert_eq!((fetched.outcome, fetched.blocks.is_all()), (Outcome::Done, true), "{:?}", fetched.why);
        let grant = decode.grant(&cache, &wides, Lease::for_secs(30)).unwrap();
        let op = prefill.fetch(&grant, &back, &all(), LONG).unwrap();
        assert_eq!(prefill.wait(op, LONG).unwrap().outcome, Outcome::Done);
        for block in 0..64 {
            assert!(back.read_block(block).unwrap() == computed.read_block(block).unwrap(), "{name}: block {block}");
        }
        let ours = [(&prefill, computed), (&decode, cache), (&prefill, back)];
        ours.iter().for_each(|(agent, pool)| agent.unregister(pool).unwrap());
    }
}

#[test]
fn blocks_that_are_not_sealed_are_waited_for_and_hold_nobody_up() {
    let Pair { prefill, .. } = by_tcp();
    let (decode, clock) = by_turned_clock();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let seals = computed.seals();
    let unsealed = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
    until("it is sealed", || crate::copy::Expected::sum(&**seals, 4).is_some());
    seals.open(4);
    let late = decode.submit(&Fetch::new(&unsealed, &cache, &[0]).within(2 * SECOND).and_hold()).unwrap();
    let waiting = decode.fetch(&unsealed, &cache, &[1], LONG).unwrap();
    let grant = prefill.grant(&computed, &[5], Lease::for_secs(30)).unwrap();
    let op = decode.fetch(&grant, &cache, &[2], LONG).unwrap();
    assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
    // Less than a handshake may take: not all connections may have had theirs.
    clock.turn(3);
    let late = decode.wait(late, LONG).unwrap();
    assert_eq!(late.outcome, Outcome::Timeout, "{:?}", late.why);
    let ticket = seals.begin(4).unwrap();
    computed.seal(4, ticket).unwrap();
    assert_eq!(decode.wait(waiting, LONG).unwrap().outcome, Outcome::Done);
    assert!(cache.read_block(1).unwrap() == computed.read_block(4).unwrap());
}

#[test]
fn a_grant_that_lays_a_pool_out_as_it_is_not_is_denied() {
    let Pair { prefill, decode } = by_tcp();
    let (computed, cache) = (filled(&prefill, 1, layout("LBNHC")), filled(&decode, 2, layout("LBNHC")));
    let other = filled(&prefill, 3, layout("LBHNC"));
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
    let lying = prefill.grant(&other, &[4], Lease::for_secs(30)).unwrap();
    // The bytes of a grant of one pool, with the layout of the other: both are as long.
    let encoded = |layout: &KvLayout| {
        let mut writer = Writer::default();
        layout.encode(&mut writer);
        writer.into_bytes()
    };
    let (right, wrong) = (encoded(computed.layout()), encoded(other.layout()));
    let mut bytes = grant.to_bytes();
    let place = bytes.windows(right.len()).position(|window| window == right).unwrap();
    bytes.splice(place..place + right.len(), wrong);
    let forged = Grant::from_bytes(&bytes).unwrap();
    let op = decode.fetch(&forged, &cache, &[0], LONG).unwrap();
    let fetched = decode.wait(op, LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::Denied);
    assert!(fetched.why.as_ref().unwrap().contains("as it is not"), "{:?}", fetched.why);
    assert_eq!(prefill.stats().denied_reads, 1);
    drop(lying);
}

#[test]
fn where_peers_find_it_has_to_be_an_address() {
    let built = |tcp: Tcp| Agent::builder("a").transport(tcp).build().map(|_| ()).unwrap_err().to_string();
    let bind = |address: &str| Tcp::bind(address).unwrap();
    assert!(built(bind("0.0.0.0:0")).contains("say which they can by advertise"));
    assert_eq!(
        built(bind("127.0.0.1:0").advertise("somewhere:1")),
        "`somewhere:1` to be advertised, expected an IP address and a port"
    );
    assert!(built(bind("127.0.0.1:0").streams(0)).starts_with("0 connections to each peer"));
    let taken = bind("127.0.0.1:0");
    assert_eq!(Tcp::bind(taken.listens()).unwrap_err().kind(), ErrorKind::Unavailable);
}

/// A peer that is none of ours, after its handshake.
struct Raw(TcpStream);

impl Raw {
    fn connect(agent: &Agent, address: &str) -> Self {
        let mut raw = Self(TcpStream::connect(address).unwrap());
        let mut keys = Keys::default();
        keys.add("default", None);
        let me = Identity { agent: AgentId::from_bytes([7; 16]), name: "raw".into() };
        let (connecting, hello) = Connecting::new(&me, "default", &keys).unwrap();
        raw.send(&hello);
        let (who, proof) = connecting.on_answer(&raw.receive().unwrap(), &[]).unwrap();
        assert_eq!(who.agent, agent.inner.home.agent());
        raw.send(&proof);
        raw
    }

    fn send(&mut self, body: &[u8]) {
        let len = (body.len() as u32).to_le_bytes();
        self.0.write_all(&[&len[..], body].concat()).unwrap();
    }

    /// `None` when the other side hung up.
    fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(LONG)).unwrap();
        let mut len = [0; 4];
        self.0.read_exact(&mut len).ok()?;
        let mut body = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut body).unwrap();
        Some(body)
    }

    fn view(&mut self, pool: &Pool) {
        let mut writer = Writer::default();
        writer.raw(&[1, 0]);
        writer.number(pool.id().into());
        pool.layout().encode(&mut writer);
        pool.layout().encode(&mut writer);
        self.send(&writer.into_bytes());
    }

    fn read(&mut self, grant: &Grant, capability: Capability, places: std::ops::Range<u32>) {
        let mut writer = Writer::default();
        writer.raw(&[2, 9, 0]);
        writer.number(grant.lease().slot.into());
        writer.number(grant.lease().generation);
        writer.raw(&capability.to_bytes());
        writer.number(places.start.into());
        writer.number(places.end.into());
        writer.number((places.end - places.start).into());
        writer.raw(&[1]);
        writer.number(1000);
        self.send(&writer.into_bytes());
    }

    fn refused(&mut self) -> Refused {
        let body = self.receive().unwrap();
        assert_eq!(body[..2], [2, 9], "a refusal of request 9");
        Refused::decode(&body[3..]).unwrap().unwrap()
    }
}

#[test]
fn what_is_not_lent_to_a_peer_is_refused_whatever_it_says() {
    let Pair { prefill, .. } = by_tcp();
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let other = filled(&prefill, 2, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[4, 5], Lease::for_secs(30)).unwrap();
    let address = grant.address("tcp").unwrap();
    let mut raw = Raw::connect(&prefill, address);
    raw.view(&computed);
    raw.read(&grant, *grant.capability(), 1..3);
    assert_eq!(raw.refused().kind, ErrorKind::Denied, "places that it does not have");
    raw.read(&grant, Capability::from_bytes([9; 16]), 0..1);
    assert_eq!(raw.refused().kind, ErrorKind::Denied, "a capability that was guessed");
    raw.view(&other);
    raw.read(&grant, *grant.capability(), 0..1);
    let refused = raw.refused();
    assert_eq!((refused.kind, refused.why.contains("and not of")), (ErrorKind::Denied, true), "{refused:?}");
    raw.view(&computed);
    raw.read(&grant, *grant.capability(), 0..1);
    assert_eq!(raw.receive().unwrap()[..2], [1, 9], "and what is lent is not");
    prefill.release(grant.lease()).unwrap();
    drop(raw);
    let mut raw = Raw::connect(&prefill, address);
    raw.view(&computed);
    raw.read(&grant, *grant.capability(), 0..1);
    assert_eq!(raw.refused().kind, ErrorKind::Stale);
    assert_eq!((prefill.stats().denied_reads, prefill.stats().stale_reads), (2, 1));
}

#[test]
fn a_peer_that_says_nonsense_is_hung_up_on() {
    let Pair { prefill, .. } = by_tcp();
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[4, 5], Lease::for_secs(30)).unwrap();
    let address = grant.address("tcp").unwrap();
    let nonsense: [&dyn Fn(&mut Raw); 4] = [
        &|raw| raw.send(&[99]),
        &|raw| raw.0.write_all(&[0xff; 4]).unwrap(),
        &|raw| raw.read(&grant, *grant.capability(), 0..1),
        &|raw| {
            // More than may be asked for at once, of which nothing is taken.
            raw.view(&computed);
            computed.seals().open(4);
            (0..40).for_each(|_| raw.read(&grant, *grant.capability(), 0..1));
        },
    ];
    for (count, say) in nonsense.iter().enumerate() {
        let mut raw = Raw::connect(&prefill, address);
        say(&mut raw);
        assert_eq!(raw.receive(), None, "nonsense {count}");
        until("it is counted", || prefill.stats().malformed_messages == count as u64 + 1);
    }
    let mut unknown = TcpStream::connect(address).unwrap();
    unknown.write_all(&[4, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    until("it is refused", || prefill.stats().refused_peers == 1);
    until("all are gone", || prefill.stats().peers == 0);
}

#[test]
fn a_peer_that_takes_nothing_holds_nobody_up() {
    let Pair { prefill, decode } = by_tcp();
    let (computed, cache) = (filled(&prefill, 1, large()), filled(&decode, 2, large()));
    let grant = prefill.grant(&computed, &all(), Lease::for_secs(30).consumers(2)).unwrap();
    let mut stuck = Raw::connect(&prefill, grant.address("tcp").unwrap());
    stuck.view(&computed);
    (0..16).for_each(|place| stuck.read(&grant, *grant.capability(), place..place + 1));
    let op = decode.fetch(&grant, &cache, &all(), LONG).unwrap();
    let fetched = decode.wait(op, LONG).unwrap();
    assert_eq!(fetched.outcome, Outcome::Done, "{:?}", fetched.why);
    assert!(prefill.stats().served_bytes < (32 + 8) << 20, "and it still has not taken all");
}

#[test]
fn a_peer_that_asks_and_never_listens_is_not_heard_for_ever() {
    let Pair { prefill, .. } = by_tcp();
    let computed = filled(&prefill, 1, layout("LBNHC"));
    let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
    let mut raw = Raw::connect(&prefill, grant.address("tcp").unwrap());
    raw.view(&computed);
    raw.0.set_write_timeout(Some(SECOND)).unwrap();
    let mut writer = Writer::default();
    writer.raw(&[2, 9, 0, 3, 1]);
    writer.raw(&[0; 16]);
    writer.raw(&[0, 1, 1, 0, 0]);
    let body = writer.into_bytes();
    let frame = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
    let (mut said, frames) = (0_usize, frame.repeat(8));
    // Each is refused; when it does not take the refusals, at some point nothing more is heard.
    while raw.0.write_all(&frames).is_ok() {
        said += frames.len();
        assert!(said < 1 << 30, "it is heard for ever");
        std::thread::sleep(Duration::from_micros(20));
    }
}
