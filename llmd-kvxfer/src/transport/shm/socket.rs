//! Messages with file descriptors, over a Unix socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with,
};
use smallvec::SmallVec;

/// How many descriptors one message may bring.
const MAX_FDS: usize = 4;
/// How long a message may be.
pub(super) const MAX_BYTES: usize = 8192;

/// A connection that keeps messages apart. Nothing waits.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// A message as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: SmallVec<[OwnedFd; MAX_FDS]>,
}

/// What was there to be received.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(Received),
    Nothing,
    Closed,
}

impl Socket {
    /// Connects to one that listens at this path.
    pub(super) fn connect(path: &Path) -> Result<Self> {
        let socket = open()?;
        connect(&socket, &address(path)?).map_err(|errno| {
            let message = format!("{}, expected a socket that an agent listens on: {errno}", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(errno)
        })?;
        Ok(Self(socket))
    }

    pub(super) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Error::new(ErrorKind::Internal, format!("{} descriptors, expected {MAX_FDS}", fds.len())));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        sent.map(|_| ()).map_err(|errno| {
            Error::new(ErrorKind::Unavailable, format!("the peer does not take what it is sent: {errno}"))
                .with_source(errno)
        })
    }

    pub(super) fn receive(&self) -> Result<Incoming> {
        let mut bytes = vec![0; MAX_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Incoming::Nothing),
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Incoming::Closed),
            Err(errno) => {
                return Err(
                    Error::new(ErrorKind::Unavailable, format!("the connection broke: {errno}")).with_source(errno)
                );
            }
        };
        let mut fds = SmallVec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(there) = message {
                fds.extend(there);
            }
        }
        if received.bytes == 0 {
            return Ok(Incoming::Closed);
        }
        bytes.truncate(received.bytes);
        Ok(Incoming::Message(Received { bytes, fds }))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

/// How many may wait to be let in.
const BACKLOG: i32 = 128;

impl Listener {
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let socket = open()?;
        let refused = |errno: Errno| {
            let message = format!("{}, expected a place to listen at: {errno}", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(errno)
        };
        bind(&socket, &address(path)?).map_err(refused)?;
        listen(&socket, BACKLOG).map_err(refused)?;
        Ok(Self(socket))
    }

    /// The next that wants in; `None` when nobody does, and an error when there is no descriptor left for it.
    pub(super) fn accept(&self) -> Result<Option<Socket>> {
        match accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => Ok(Some(Socket(socket))),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(Error::new(ErrorKind::Exhausted, format!("a peer cannot be let in: {errno}"))),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .map_err(|errno| Error::new(ErrorKind::Exhausted, format!("a Unix socket: {errno}")).with_source(errno))
}

fn address(path: &Path) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(path).map_err(|_| {
        Error::new(ErrorKind::Invalid, format!("{}, expected a socket's path of at most 107 bytes", path.display()))
    })
}
