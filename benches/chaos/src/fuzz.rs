//! One who knows the protocol and does not keep to it: noise, broken handshakes, and messages that no peer sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    recv, send, socket_with,
};
use sha2::Sha256;

use crate::chance::Chance;
use crate::forge::put;
use crate::pools::TENANT;

/// How one misbehaves.
#[derive(Clone, Copy, Debug)]
enum Way {
    Noise,
    BrokenHello,
    WrongProof,
    BrokenMessages,
    Silence,
}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a message of a Unix socket is at most.
const LONGEST: usize = 8192;

/// Misbehaves at an agent's Unix socket. Says whether it was let in at all.
pub(crate) fn unix(path: &str, chance: &mut Chance, silent: &mut Vec<OwnedFd>) -> bool {
    try_unix(path, chance, silent).is_ok()
}

fn try_unix(path: &str, chance: &mut Chance, silent: &mut Vec<OwnedFd>) -> std::io::Result<()> {
    let socket = open()?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let say = |bytes: &[u8]| send(&socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let ways = [Way::Noise, Way::BrokenHello, Way::WrongProof, Way::BrokenMessages, Way::BrokenMessages, Way::Silence];
    match ways[chance.below(ways.len())] {
        Way::Noise => {
            for _ in 0..1 + chance.below(4) {
                let most = if chance.percent(20) { LONGEST } else { 200 };
                let count = 1 + chance.below(most);
                say(&chance.bytes(count))?;
            }
        }
        Way::BrokenHello => {
            say(&broken(hello(chance), chance))?;
        }
        Way::WrongProof => {
            say(&hello(chance))?;
            heard(&socket)?;
            let proof = chance.bytes(32);
            say(&[b"LKVh\x04\x01", &proof[..]].concat())?;
        }
        Way::BrokenMessages => {
            let hello = hello(chance);
            say(&hello)?;
            let welcome = heard(&socket)?;
            say(&proof(&hello, &welcome))?;
            for _ in 0..1 + chance.below(8) {
                let kind = 16 + chance.below(5) as u8;
                let count = chance.below(40);
                let message = match chance.below(4) {
                    // A pool that is not there, or is.
                    0 => vec![17, chance.below(128) as u8],
                    // A ring without memory.
                    1 => vec![16],
                    _ => [&[kind][..], &chance.bytes(count)].concat(),
                };
                say(&message)?;
            }
            heard(&socket)?;
        }
        Way::Silence => silent.push(socket),
    }
    Ok(())
}

/// Misbehaves at an agent's TCP port. Says whether it was let in at all.
pub(crate) fn tcp(address: &str, chance: &mut Chance, silent: &mut Vec<OwnedFd>) -> bool {
    try_tcp(address, chance, silent).is_ok()
}

fn try_tcp(address: &str, chance: &mut Chance, silent: &mut Vec<OwnedFd>) -> std::io::Result<()> {
    let address = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match chance.below(5) {
        0 => {
            let count = 1 + chance.below(4000);
            stream.write_all(&chance.bytes(count))
        }
        1 => stream.write_all(&framed(&broken(hello(chance), chance))),
        2 => {
            silent.push(stream.into());
            Ok(())
        }
        _ => {
            let hello = hello(chance);
            stream.write_all(&framed(&hello))?;
            let welcome = heard_frame(&mut stream)?;
            stream.write_all(&framed(&proof(&hello, &welcome)))?;
            for _ in 0..1 + chance.below(8) {
                // What a frame may begin with is tried often, and lengths that are not so as well.
                let (kind, count) = (chance.below(40) as u8, chance.below(60));
                let body = [&[kind][..], &chance.bytes(count)].concat();
                let mut frame = framed(&body);
                if chance.percent(10) {
                    frame[..4].copy_from_slice(&(chance.next() as u32).to_le_bytes());
                }
                stream.write_all(&frame)?;
            }
            Ok(())
        }
    }
}

/// How long it is, and what it is.
fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

fn heard_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut body = vec![0; (u32::from_le_bytes(len) as usize).min(LONGEST)];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// One who listens where agents are led to by a forged grant, hears them out and answers with nonsense.
#[derive(Debug)]
pub(crate) struct Impostor {
    socket: OwnedFd,
    open: Vec<OwnedFd>,
}

impl Impostor {
    /// # Errors
    ///
    /// When it cannot listen there.
    pub(crate) fn listen(path: &Path) -> std::io::Result<Self> {
        let socket = open()?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 16)?;
        Ok(Self { socket, open: Vec::new() })
    }

    /// Answers whoever came. Says how many.
    pub(crate) fn answer(&mut self, chance: &mut Chance) -> usize {
        let mut count = 0;
        while let Ok(socket) = accept_with(&self.socket, SocketFlags::CLOEXEC) {
            count += 1;
            let nonsense = match chance.below(3) {
                0 => chance.bytes(100),
                1 => [b"LKVh\x02\x01", &chance.bytes(16)[..], b"\x01x", &chance.bytes(16), b"\x01", &chance.bytes(32)]
                    .concat(),
                _ => Vec::new(),
            };
            if !nonsense.is_empty() {
                let _sent = send(&socket, &nonsense, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            }
            // Some are left waiting, and some find the door closed.
            if chance.percent(30) {
                self.open.push(socket);
            }
        }
        if self.open.len() > 8 {
            self.open.clear();
        }
        count
    }
}

fn open() -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn hello(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = b"LKVh\x01\x01\x01".to_vec();
    bytes.extend(chance.bytes(16));
    for text in ["fuzz", TENANT.0] {
        put(&mut bytes, text.len() as u64);
        bytes.extend(text.as_bytes());
    }
    bytes.extend(chance.bytes(16));
    bytes
}

fn broken(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    match chance.below(3) {
        0 => bytes.truncate(chance.below(bytes.len())),
        1 => {
            let count = 1 + chance.below(300);
            bytes.extend(chance.bytes(count));
        }
        _ => {
            for _ in 0..1 + chance.below(4) {
                let bit = chance.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
    bytes
}

/// That one has the key: so far, it is a peer like any other.
fn proof(hello: &[u8], welcome: &[u8]) -> Vec<u8> {
    let said = &welcome[..welcome.len().saturating_sub(33)];
    let mac = Hmac::<Sha256>::new_from_slice(TENANT.1).map(|mac| mac.chain_update(b"llmd connecting"));
    let proof = mac.map(|mac| mac.chain_update(hello).chain_update(said).finalize().into_bytes()).unwrap_or_default();
    [b"LKVh\x04\x01", &proof[..]].concat()
}

fn heard(socket: &OwnedFd) -> std::io::Result<Vec<u8>> {
    let patience = Timespec { tv_sec: 0, tv_nsec: PATIENCE.as_nanos() as _ };
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&patience))?;
    let mut bytes = vec![0; LONGEST];
    let (count, _) = recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
    bytes.truncate(count);
    Ok(bytes)
}
