//! A connection over which two agents say where memory lies: of TCP, in messages, signed once both know who the other is.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, connect, ipproto, recv, send,
    socket_with, sockopt,
};

use crate::handshake::{SIGNATURE, Signed};

/// A connection. Nothing waits.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    /// What came and is no whole message yet.
    came: Vec<u8>,
    /// What is to be sent, from `sent` on.
    going: Vec<u8>,
    sent: usize,
    signed: Option<Signed>,
}

/// What was there to be received.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(Vec<u8>),
    Nothing,
    Closed,
}

/// How long a message may be: first of one who has not said who it is, then with metadata.
const MAX_UNSIGNED: usize = 1 << 10;
const MAX_SIGNED: usize = 4 << 20;
/// How much may wait to be taken by the other side.
const MAX_GOING: usize = 8 << 20;
/// How much is received in one go.
const AT_ONCE: usize = 16 << 10;
/// What stands before a message: how long it is.
const LENGTH: usize = size_of::<u32>();

/// After how long a peer is taken for lost that acknowledges nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How long nothing is said before it is asked whether it is still there, and how often.
const IDLE: Duration = Duration::from_secs(10);
const ASKED_EVERY: Duration = Duration::from_secs(5);

impl Link {
    /// Begins to connect.
    pub(super) fn connect(to: SocketAddr) -> Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
            .map_err(|errno| Error::new(ErrorKind::Exhausted, format!("a TCP socket: {errno}")).with_source(errno))?;
        let link = Self::over(socket)?;
        match connect(&link.socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(link),
            Err(errno) => {
                let message = format!("{to}, expected an agent that listens there: {errno}");
                Err(Error::new(ErrorKind::Unavailable, message).with_source(errno))
            }
        }
    }

    /// The next that wants in; `None` when nobody does, and an error when there is no descriptor left for it.
    pub(super) fn accept(listener: &TcpListener) -> Result<Option<Self>> {
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => Self::over(socket).map(Some),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(Error::new(ErrorKind::Exhausted, format!("a peer cannot be let in: {errno}"))),
        }
    }

    /// Signs all that is said from now on, and takes nothing that is not signed.
    pub(super) fn sign(&mut self, signed: Signed) {
        self.signed = Some(signed);
    }

    /// Sends a message, or has it wait for the other side to take what was sent before.
    pub(super) fn send(&mut self, message: &[u8]) -> Result<()> {
        if self.going.len() - self.sent + message.len() > MAX_GOING {
            return Err(Error::new(ErrorKind::Exhausted, "the peer does not take what it is sent"));
        }
        let mut message = message.to_vec();
        if let Some(signed) = &mut self.signed {
            signed.sign(&mut message);
        }
        let len = u32::try_from(message.len()).ok().filter(|&len| len as usize <= self.longest());
        let len = len.ok_or_else(|| {
            let most = self.longest();
            Error::new(ErrorKind::Exhausted, format!("a message of {} bytes, expected at most {most}", message.len()))
        })?;
        self.going.extend_from_slice(&len.to_le_bytes());
        self.going.append(&mut message);
        self.flush()
    }

    /// Gives the other side what waits, as far as it takes it.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.is_going() {
            match send(&self.socket, &self.going[self.sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => return Ok(()),
                Err(errno) => return Err(broke(errno)),
            }
        }
        self.going.clear();
        self.sent = 0;
        Ok(())
    }

    /// Whether something waits for the other side to take it.
    pub(super) fn is_going(&self) -> bool {
        self.sent < self.going.len()
    }

    /// The next message.
    pub(super) fn receive(&mut self) -> Result<Incoming> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Incoming::Message(message));
            }
            let held = self.came.len();
            self.came.resize(held + AT_ONCE, 0);
            let received = recv(&self.socket, &mut self.came[held..], RecvFlags::DONTWAIT).map(|(count, _)| count);
            self.came.truncate(held + received.unwrap_or(0));
            match received {
                Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Incoming::Closed),
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => return Ok(Incoming::Nothing),
                Err(errno) => return Err(broke(errno)),
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((&length, rest)) = self.came.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let (len, most) = (u32::from_le_bytes(length) as usize, self.longest());
        if len > most {
            return Err(Error::new(ErrorKind::Corrupt, format!("a message of {len} bytes, expected at most {most}")));
        }
        let Some(message) = rest.get(..len).map(<[u8]>::to_vec) else { return Ok(None) };
        self.came.drain(..LENGTH + len);
        match &mut self.signed {
            Some(signed) => signed.open(message).map(Some),
            None => Ok(Some(message)),
        }
    }

    fn longest(&self) -> usize {
        if self.signed.is_some() { MAX_SIGNED + SIGNATURE } else { MAX_UNSIGNED }
    }

    fn over(socket: OwnedFd) -> Result<Self> {
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
        Ok(Self { socket, came: Vec::new(), going: Vec::new(), sent: 0, signed: None })
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn broke(errno: Errno) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the connection broke: {errno}")).with_source(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> (Link, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = Link::connect(listener.local_addr().unwrap()).unwrap();
        (one, Link::accept(&listener).unwrap().unwrap())
    }

    fn heard(link: &mut Link) -> Result<Vec<u8>> {
        loop {
            match link.receive()? {
                Incoming::Message(message) => return Ok(message),
                Incoming::Closed => return Err(Error::new(ErrorKind::Unavailable, "closed")),
                Incoming::Nothing => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn messages_come_whole_and_in_order() {
        let (mut one, mut other) = both();
        for count in 0..200_usize {
            one.send(&vec![count as u8; count * 5]).unwrap();
        }
        for count in 0..200_usize {
            assert_eq!(heard(&mut other).unwrap(), vec![count as u8; count * 5]);
        }
        assert!(matches!(other.receive().unwrap(), Incoming::Nothing));
        drop(one);
        assert_eq!(heard(&mut other).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn one_who_has_not_said_who_it_is_may_not_say_much() {
        let (mut one, mut other) = both();
        assert_eq!(one.send(&[0; MAX_UNSIGNED + 1]).unwrap_err().kind(), ErrorKind::Exhausted);
        one.going.extend_from_slice(&u32::MAX.to_le_bytes());
        one.flush().unwrap();
        assert_eq!(heard(&mut other).unwrap_err().to_string(), "a message of 4294967295 bytes, expected at most 1024");
    }

    #[test]
    fn one_who_takes_nothing_is_not_sent_without_end() {
        let (mut one, _other) = both();
        let refused = (0..100_000).find_map(|_| one.send(&[0; MAX_UNSIGNED]).err());
        assert_eq!(refused.unwrap().kind(), ErrorKind::Exhausted);
        assert!(one.going.len() - one.sent <= MAX_GOING);
    }
}
