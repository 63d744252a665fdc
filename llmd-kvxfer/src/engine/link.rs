//! One connection between a scheduler and a worker: frames, and the proof that both have the engine's key.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use llmd_core::{Error, ErrorKind, Result};
use sha2::Sha256;

use super::message::{MAX_BYTES, VERSION};
use crate::chance;

/// How addresses of workers that listen by TCP begin; all others are paths.
pub(super) const TCP: &str = "tcp://";

/// A connection.
pub(super) struct Link {
    stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Link {
    /// Connects to a worker that listens there. Nothing waits for longer than `patience`.
    pub(super) fn connect(address: &str, patience: Duration) -> Result<Self> {
        let unavailable = |cause: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("worker at {address}: {cause}")).with_source(cause)
        };
        let stream = match address.strip_prefix(TCP) {
            None => Stream::Unix(UnixStream::connect(Path::new(address)).map_err(unavailable)?),
            Some(host) => {
                let host: SocketAddr = host.parse().map_err(|_| {
                    Error::new(ErrorKind::Invalid, format!("worker at `{address}`, expected an IP address and a port"))
                })?;
                Stream::Tcp(TcpStream::connect_timeout(&host, patience).map_err(unavailable)?)
            }
        };
        let link = Self::of(stream);
        link.is_patient(patience).map_err(unavailable)?;
        Ok(link)
    }

    pub(super) fn of_unix(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::of(Stream::Unix(stream)))
    }

    pub(super) fn of_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self::of(Stream::Tcp(stream)))
    }

    fn of(stream: Stream) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new() }
    }

    /// How long it waits for the other side at most, each time.
    pub(super) fn is_patient(&self, patience: Duration) -> io::Result<()> {
        let patience = Some(patience.max(Duration::from_millis(1)));
        match &self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
        }
    }

    /// Says it; what the other side does not take now goes with the next [`flush`](Self::flush).
    pub(super) fn say(&mut self, body: &[u8]) -> Result<()> {
        if self.output.len() + body.len() > MAX_OUTPUT {
            let message = format!("{} bytes wait for the other side, expected less", self.output.len());
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        self.output.extend((body.len() as u32).to_le_bytes());
        self.output.extend_from_slice(body);
        self.flush()
    }

    /// Has the other side take what waits, as far as it does.
    pub(super) fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(closed()),
                Ok(count) => drop(self.output.drain(..count)),
                Err(cause) if is_later(&cause) => return Ok(()),
                Err(cause) => return Err(broken(cause)),
            }
        }
        Ok(())
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// The next frame, if all of it has come; waits as long as the connection is patient.
    pub(super) fn hear(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(body) = self.frame()? {
                return Ok(Some(body));
            }
            let mut room = [0; 16 << 10];
            match self.stream.read(&mut room) {
                Ok(0) => return Err(closed()),
                Ok(count) => self.input.extend_from_slice(&room[..count]),
                Err(cause) if is_later(&cause) => return Ok(None),
                Err(cause) => return Err(broken(cause)),
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((len, rest)) = self.input.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("a frame of {len} bytes, expected at most {MAX_BYTES}"),
            ));
        }
        let Some(body) = rest.get(..len).map(<[u8]>::to_vec) else { return Ok(None) };
        self.input.drain(..4 + len);
        Ok(Some(body))
    }
}

/// How much may wait for the other side to take it.
const MAX_OUTPUT: usize = 4 * MAX_BYTES;

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(room),
            Self::Tcp(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waits", &self.output.len()).finish_non_exhaustive()
    }
}

fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the other side closed the connection")
}

fn broken(cause: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the connection broke: {cause}")).with_source(cause)
}

/// Drawn anew for each connection, so that no proof is of use twice.
pub(super) type Nonce = [u8; 32];

/// What a worker says first, and what the scheduler answers with: the version, and a nonce.
pub(super) fn greeting(nonce: &Nonce) -> Vec<u8> {
    let mut said = vec![VERSION];
    said.extend_from_slice(nonce);
    said
}

/// Reads one.
pub(super) fn greeted(said: &[u8]) -> Result<Nonce> {
    match said.split_first() {
        Some((&VERSION, rest)) if rest.len() == 32 => {
            let mut nonce = Nonce::default();
            nonce.copy_from_slice(rest);
            Ok(nonce)
        }
        Some((&version, _)) if version != VERSION => Err(Error::new(
            ErrorKind::Unsupported,
            format!("version {version} of what engines say, expected {VERSION}"),
        )),
        _ => Err(Error::new(ErrorKind::Corrupt, format!("a greeting of {} bytes, expected 33", said.len()))),
    }
}

pub(super) fn nonce() -> Result<Nonce> {
    chance::bytes()
}

/// Who proves, so that nobody can send back what the other side said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Scheduler,
    Worker,
}

/// Proves that this side has the key.
pub(super) fn prove(key: &[u8], side: Side, worker: &Nonce, scheduler: &Nonce) -> [u8; 32] {
    mac(key, side, worker, scheduler).finalize().into_bytes().into()
}

/// Whether the other side has it.
pub(super) fn check(key: &[u8], side: Side, worker: &Nonce, scheduler: &Nonce, proof: &[u8]) -> Result<()> {
    let proven = mac(key, side, worker, scheduler).verify_slice(proof);
    proven.map_err(|_| Error::new(ErrorKind::Denied, "the other side does not have this engine's key"))
}

fn mac(key: &[u8], side: Side, worker: &Nonce, scheduler: &Nonce) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(match side {
        Side::Scheduler => b"llmd engine's scheduler",
        Side::Worker => b"llmd engine's worker   ",
    });
    mac.update(worker);
    mac.update(scheduler);
    mac
}
