//! Connections between the processes of an engine.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

/// A connection. None of its calls waits.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where connections come in.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What came of trying to move bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moved {
    Bytes(usize),
    /// None now.
    Later,
    /// Nothing ever follows.
    Closed,
}

/// After how long a peer is taken for lost that acknowledges nothing.
const SILENCE: Duration = Duration::from_secs(15);
/// How long nothing is said before it is asked whether it is still there, and how often.
const IDLE: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_secs(5);

impl Stream {
    pub(super) fn of_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, ASKED_EVERY)?;
        sockopt::set_tcp_user_timeout(&stream, SILENCE.as_millis() as u32)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) fn receive(&self, room: &mut [u8]) -> Moved {
        match recv(self, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Moved::Closed,
            Ok((received, _)) => Moved::Bytes(received),
            Err(Errno::AGAIN | Errno::INTR) => Moved::Later,
            Err(_broken) => Moved::Closed,
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Moved {
        match send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => Moved::Bytes(sent),
            Err(Errno::AGAIN | Errno::INTR) => Moved::Later,
            Err(_broken) => Moved::Closed,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Listener {
    /// The next that wants in; `None` when nobody does.
    pub(super) fn accept(&self) -> io::Result<Option<Stream>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| Stream::of_tcp(stream)),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        };
        match accepted {
            Ok(stream) => Ok(Some(stream)),
            Err(cause) if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
