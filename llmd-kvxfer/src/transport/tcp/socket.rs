//! Connections of TCP, none of which waits.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, connect, ipproto, recv, send,
    socket_with, sockopt,
};

/// A connection. Nothing waits.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// What came of trying to move bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moved {
    /// So many.
    Bytes(usize),
    /// None now: the connection says when it can.
    Later,
    /// The other side said that nothing follows.
    Closed,
}

/// After how long a peer is taken for lost that acknowledges nothing.
const SILENCE: Duration = Duration::from_secs(15);
/// How long nothing is said before it is asked whether it is still there, and how often.
const IDLE: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_secs(5);

impl Socket {
    /// Begins to connect.
    pub(super) fn connect(to: SocketAddr) -> Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
            .map_err(|errno| Error::new(ErrorKind::Exhausted, format!("a TCP socket: {errno}")).with_source(errno))?;
        let socket = Self::ready(socket)?;
        match connect(&socket.0, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(errno) => {
                let message = format!("{to}, expected an agent that listens there: {errno}");
                Err(Error::new(ErrorKind::Unavailable, message).with_source(errno))
            }
        }
    }

    /// The next that wants in; `None` when nobody does, and an error when there is no descriptor left for it.
    pub(super) fn accept(listener: &TcpListener) -> Result<Option<Self>> {
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => Self::ready(socket).map(Some),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(Error::new(ErrorKind::Exhausted, format!("a peer cannot be let in: {errno}"))),
        }
    }

    /// Takes what is there, as much as there is room for.
    pub(super) fn receive(&self, room: &mut [u8]) -> Result<Moved> {
        came(recv(&self.0, room, RecvFlags::DONTWAIT).map(|(received, _)| received))
    }

    /// Gives as much as it takes.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<Moved> {
        went(send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))
    }

    /// Where whoever is at the other end comes from.
    #[cfg(feature = "tls")]
    pub(super) fn peer(&self) -> Result<SocketAddr> {
        let address = rustix::net::getpeername(&self.0).ok().flatten();
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        address.ok_or_else(|| Error::new(ErrorKind::Unavailable, "a peer that is gone already"))
    }

    fn ready(socket: OwnedFd) -> Result<Self> {
        let set = || {
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, true)?;
            sockopt::set_tcp_keepidle(&socket, IDLE)?;
            sockopt::set_tcp_keepintvl(&socket, ASKED_EVERY)?;
            sockopt::set_tcp_user_timeout(&socket, SILENCE.as_millis() as u32)
        };
        set().map_err(|errno: Errno| {
            Error::new(ErrorKind::Unavailable, format!("a TCP socket cannot be set up: {errno}")).with_source(errno)
        })?;
        Ok(Self(socket))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What was received, of at least one byte that there was room for.
pub(super) fn came(received: rustix::io::Result<usize>) -> Result<Moved> {
    match received {
        Ok(0) => Ok(Moved::Closed),
        other => went(other),
    }
}

/// What was sent.
pub(super) fn went(sent: rustix::io::Result<usize>) -> Result<Moved> {
    match sent {
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Ok(Moved::Later),
        Err(errno) => {
            Err(Error::new(ErrorKind::Unavailable, format!("the connection broke: {errno}")).with_source(errno))
        }
    }
}
