//! How bytes go over a connection: as they are, or inside of a TLS session.

use std::net::SocketAddr;

use llmd_core::Result;

use super::runs::{Place, Runs};
use super::scatter::Pieces;
#[cfg(feature = "tls")]
use super::session::Session;
use super::socket::{Moved, Socket};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::region::Region;

/// What all connections of one agent are protected by.
#[derive(Clone, Debug, Default)]
pub(super) enum Protection {
    /// Nothing.
    #[default]
    Plain,
    #[cfg(feature = "tls")]
    Tls(Tls),
}

#[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "what is not protected is the same for all"))]
impl Protection {
    /// For a connection to an agent there.
    pub(super) fn connecting(&self, to: SocketAddr) -> Result<Link> {
        match self {
            Self::Plain => Ok(Link::Plain(Pieces::default())),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Ok(Link::Tls(Box::new(tls.connecting(to)?))),
        }
    }

    /// For a connection that somebody made to us.
    pub(super) fn listening(&self, socket: &Socket) -> Result<Link> {
        match self {
            Self::Plain => Ok(Link::Plain(Pieces::default())),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Ok(Link::Tls(Box::new(tls.listening(socket.peer()?)?))),
        }
    }
}

/// How bytes go over one connection.
#[derive(Debug)]
pub(super) enum Link {
    /// As they are: between the kernel and where they lie.
    Plain(Pieces),
    #[cfg(feature = "tls")]
    Tls(Box<Session>),
}

#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::needless_pass_by_ref_mut, unused_variables, reason = "a plain link keeps nothing back")
)]
impl Link {
    /// Takes what is there, as much as there is room for.
    pub(super) fn receive(&mut self, socket: &Socket, room: &mut [u8]) -> Result<Moved> {
        match self {
            Self::Plain(_) => socket.receive(room),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.receive(socket, room),
        }
    }

    /// Takes up to `most` bytes to where they belong, from `at` on.
    pub(super) fn receive_to(
        &mut self,
        socket: &Socket,
        region: &Region,
        runs: &Runs,
        at: Place,
        most: usize,
    ) -> Result<Moved> {
        match self {
            Self::Plain(pieces) => pieces.receive(socket, region, runs, at, most),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.receive_to(socket, region, runs, at, most),
        }
    }

    /// Gives as much as is taken. What was given may still have to be [flushed](Self::flush).
    pub(super) fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<Moved> {
        match self {
            Self::Plain(_) => socket.send(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.send(socket, bytes),
        }
    }

    /// Gives `head`, and up to `most` bytes of what lies there, from `at` on. Nothing of what was given is looked at any more.
    pub(super) fn send_from(
        &mut self,
        socket: &Socket,
        head: &[u8],
        region: &Region,
        runs: &Runs,
        at: Place,
        most: usize,
    ) -> Result<Moved> {
        match self {
            Self::Plain(pieces) => pieces.send(socket, head, region, runs, at, most),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.send_from(socket, head, region, runs, at, most),
        }
    }

    /// Passes on what was given. Says no when the connection takes no more now.
    pub(super) fn flush(&mut self, socket: &Socket) -> Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.flush(socket),
        }
    }

    /// Says this, if the peer listens, and however it listens; nothing more is said after it.
    pub(super) fn refuse(&mut self, socket: &Socket, bytes: &[u8]) {
        // Whoever does not hear it is hung up on without.
        let _said = match self {
            Self::Plain(_) => socket.send(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.refuse(socket, bytes),
        };
    }

    /// Whether something can be sent as soon as the connection takes more; `has_more`: whether there is anything to be given.
    pub(super) fn is_behind(&self, has_more: bool) -> bool {
        match self {
            Self::Plain(_) => has_more,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.is_behind(has_more),
        }
    }

    /// Whether it holds something that came, of which the connection will not tell.
    pub(super) fn holds_some(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.holds_some(),
        }
    }

    /// What only the two ends of this connection can know; empty where there is no such thing.
    pub(super) fn binding(&self) -> Result<Vec<u8>> {
        match self {
            Self::Plain(_) => Ok(Vec::new()),
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.binding(),
        }
    }
}

/// Whether somebody who begins like this speaks TLS: a record's type, and the first byte of its version. A plain frame of a handshake
/// is never so long that it begins like this. `None` while it could be either.
pub(super) fn speaks_tls(first: &[u8]) -> Option<bool> {
    let [kind, version, ..] = first else { return None };
    Some((RECORD_TYPES.contains(kind)) && *version == 3)
}

const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

#[cfg(test)]
mod tests {
    use super::super::message::{MAX_ASK, frame};
    use super::*;
    use crate::grant::AgentId;
    use crate::handshake::{Connecting, Identity, Keys, Refused};

    #[test]
    fn first_bytes_tell_tls_from_frames() {
        assert_eq!(speaks_tls(&[22, 3, 1, 2, 0, 1]), Some(true));
        assert_eq!([speaks_tls(&[]), speaks_tls(&[22])], [None; 2]);
        // The longest that may be said in a handshake are none.
        let (name, mut keys) = ("n".repeat(1000), Keys::default());
        keys.add(&name, None);
        let me = Identity { agent: AgentId::from_bytes([1; 16]), name: name.clone() };
        let (_, hello) = Connecting::new(&me, &name, &keys).unwrap();
        let refused = Refused { kind: llmd_core::ErrorKind::Denied, why: name }.encode();
        for body in [hello, refused] {
            let mut bytes = Vec::new();
            frame(&mut bytes, &body);
            assert!(body.len() < 3 << 8 && 3 << 8 < MAX_ASK);
            assert_eq!(speaks_tls(&bytes), Some(false));
        }
    }
}
