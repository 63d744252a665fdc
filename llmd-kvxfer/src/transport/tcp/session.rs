//! A TLS session over one connection.
//!
//! What comes is decrypted a record at a time and goes from there into the blocks; what goes is gathered from the pool a record at a
//! time. Nothing is encrypted before what was encrypted earlier is on its way, so that what is held stays small.

use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::os::fd::AsFd;

use llmd_core::{Error, ErrorKind, Result};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, ClientConnection, Connection, ServerConnection};
use rustls_pki_types::ServerName;

use super::buffer::Buffer;
use super::link::speaks_tls;
use super::runs::{Place, Runs};
use super::socket::{Moved, Socket};
use crate::region::Region;

/// A TLS session over one connection.
pub(super) struct Session {
    tls: Connection,
    /// What came, still encrypted.
    incoming: Buffer,
    /// How much was decrypted and not taken.
    readable: usize,
    is_closed: bool,
    /// What the peer is found to speak.
    peer: Speaks,
    /// The name that the peer has to have in its certificate, where that is still to be looked at.
    expected: Option<ServerName<'static>>,
    /// What is encrypted next.
    plain: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Speaks {
    Nothing,
    Plain,
    Tls,
}

/// How many bytes one record has at most.
const RECORD: usize = 16 << 10;
/// How much is encrypted before it is given to the connection.
const AT_ONCE: usize = 16 * RECORD;
/// How much is taken from the connection at once: by who reads much, and by who reads requests.
const MUCH: usize = 128 << 10;
const LITTLE: usize = 16 << 10;
/// What the exported secret is for.
const LABEL: &[u8] = b"EXPORTER-llmd-kvxfer";

impl Session {
    pub(super) fn connecting(tls: ClientConnection) -> Self {
        Self::new(tls.into(), None, MUCH)
    }

    pub(super) fn listening(tls: ServerConnection, expected: ServerName<'static>) -> Self {
        Self::new(tls.into(), Some(expected), LITTLE)
    }

    fn new(mut tls: Connection, expected: Option<ServerName<'static>>, room: usize) -> Self {
        // What waits is bounded by what is given at once.
        tls.set_buffer_limit(None);
        Self {
            tls,
            incoming: Buffer::new(room),
            readable: 0,
            is_closed: false,
            peer: Speaks::Nothing,
            expected,
            plain: vec![0; RECORD].into(),
        }
    }

    pub(super) fn receive(&mut self, socket: &Socket, room: &mut [u8]) -> Result<Moved> {
        let moved = self.come(socket)?;
        if moved != Moved::Bytes(0) {
            return Ok(moved);
        }
        let count = self.tls.reader().read(room).map_err(|cause| internal(&cause))?;
        self.readable -= count;
        Ok(Moved::Bytes(count))
    }

    pub(super) fn receive_to(
        &mut self,
        socket: &Socket,
        region: &Region,
        runs: &Runs,
        mut at: Place,
        most: usize,
    ) -> Result<Moved> {
        let moved = self.come(socket)?;
        if moved != Moved::Bytes(0) {
            return Ok(moved);
        }
        let mut reader = self.tls.reader();
        let record = reader.fill_buf().map_err(|cause| internal(&cause))?;
        let mut rest = &record[..record.len().min(most)];
        let count = rest.len();
        while let Some((offset, len)) = runs.rest(at).filter(|_| !rest.is_empty()) {
            let (some, others) = rest.split_at(rest.len().min(len as usize));
            region.write(offset as usize, some)?;
            at = runs.after(at, some.len() as u64);
            rest = others;
        }
        let count = count - rest.len();
        reader.consume(count);
        self.readable -= count;
        Ok(Moved::Bytes(count))
    }

    pub(super) fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Result<Moved> {
        if !self.can_send(socket)? {
            return Ok(Moved::Later);
        }
        let count = self.encrypt(&bytes[..bytes.len().min(AT_ONCE)])?;
        self.flush(socket)?;
        Ok(Moved::Bytes(count))
    }

    pub(super) fn send_from(
        &mut self,
        socket: &Socket,
        mut head: &[u8],
        region: &Region,
        runs: &Runs,
        mut at: Place,
        most: usize,
    ) -> Result<Moved> {
        if !self.can_send(socket)? {
            return Ok(Moved::Later);
        }
        let (mut given, most) = (0, (head.len() + most).min(AT_ONCE));
        while given < most {
            let of_head = head.len().min(RECORD);
            self.plain[..of_head].copy_from_slice(&head[..of_head]);
            head = &head[of_head..];
            let mut filled = of_head;
            while let Some((offset, len)) = runs.rest(at).filter(|_| filled < RECORD) {
                let some = (RECORD - filled).min(len as usize);
                region.read(offset as usize, &mut self.plain[filled..filled + some])?;
                at = runs.after(at, some as u64);
                filled += some;
            }
            if filled == 0 {
                break;
            }
            given += self.tls.writer().write(&self.plain[..filled]).map_err(|cause| internal(&cause))?;
        }
        self.flush(socket)?;
        Ok(Moved::Bytes(given))
    }

    /// Gives the connection what is encrypted. Says no when it takes no more now.
    pub(super) fn flush(&mut self, socket: &Socket) -> Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Out(socket)) {
                Ok(_) => {}
                Err(cause) if is_later(&cause) => return Ok(false),
                // A peer that hung up may have said why.
                Err(cause) => match self.take_in(socket)? {
                    Moved::Bytes(_) => return Ok(false),
                    Moved::Later | Moved::Closed => {
                        let message = format!("the connection broke: {cause}");
                        return Err(Error::new(ErrorKind::Unavailable, message).with_source(cause));
                    }
                },
            }
        }
        Ok(true)
    }

    pub(super) fn refuse(&mut self, socket: &Socket, bytes: &[u8]) -> Result<Moved> {
        match self.peer {
            Speaks::Nothing => Ok(Moved::Later),
            Speaks::Plain => socket.send(bytes),
            Speaks::Tls => self.send(socket, bytes),
        }
    }

    pub(super) fn is_behind(&self, has_more: bool) -> bool {
        self.tls.wants_write() || (has_more && !self.tls.is_handshaking())
    }

    pub(super) fn holds_some(&self) -> bool {
        self.readable > 0 || !self.incoming.bytes().is_empty()
    }

    pub(super) fn binding(&self) -> Result<Vec<u8>> {
        self.tls.export_keying_material(vec![0; 32], LABEL, None).map_err(failed)
    }

    /// Whether something can be given: the session is there, and all that was given before is on its way.
    fn can_send(&mut self, socket: &Socket) -> Result<bool> {
        Ok(self.flush(socket)? && !self.tls.is_handshaking())
    }

    fn encrypt(&mut self, bytes: &[u8]) -> Result<usize> {
        self.tls.writer().write(bytes).map_err(|cause| internal(&cause))
    }

    /// Has something decrypted, and what that calls for sent; `Bytes(0)` when there is something to be taken.
    fn come(&mut self, socket: &Socket) -> Result<Moved> {
        let moved = self.take_in(socket)?;
        self.flush(socket)?;
        Ok(moved)
    }

    fn take_in(&mut self, socket: &Socket) -> Result<Moved> {
        while self.readable == 0 {
            if self.is_closed {
                return Ok(Moved::Closed);
            }
            if self.incoming.bytes().is_empty() || self.peer == Speaks::Nothing {
                match self.incoming.fill(|room| socket.receive(room))? {
                    Moved::Bytes(_) => {}
                    Moved::Closed if self.tls.is_handshaking() => return Err(hung_up()),
                    other => return Ok(other),
                }
            }
            if self.peer == Speaks::Nothing {
                self.peer = match speaks_tls(self.incoming.bytes()) {
                    None => continue,
                    Some(true) => Speaks::Tls,
                    Some(false) => Speaks::Plain,
                };
            }
            if self.peer == Speaks::Plain {
                return Err(Error::new(ErrorKind::Denied, "a peer that speaks no TLS, expected TLS 1.3"));
            }
            self.decrypt(socket)?;
        }
        Ok(Moved::Bytes(0))
    }

    fn decrypt(&mut self, socket: &Socket) -> Result<()> {
        // It takes a part of a record at a time, and says when it has no more room: then there is a whole one to be looked at.
        let mut taken = 0;
        while !self.incoming.bytes().is_empty() {
            match self.tls.read_tls(&mut self.incoming.bytes()) {
                Ok(0) => break,
                Ok(count) => {
                    self.incoming.skip(count);
                    taken += count;
                }
                Err(_full) if taken > 0 => break,
                Err(cause) => return Err(internal(&cause)),
            }
        }
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.readable = state.plaintext_bytes_to_read();
                self.is_closed = state.peer_has_closed();
                self.meet()
            }
            Err(cause) => {
                // The peer is told why, if it listens.
                let _said = self.tls.write_tls(&mut Out(socket));
                Err(failed(cause))
            }
        }
    }

    /// Once the peer has proven itself: whether it is one that may come from there.
    fn meet(&mut self) -> Result<()> {
        let Some(expected) = self.expected.take_if(|_| !self.tls.is_handshaking()) else { return Ok(()) };
        let certificate = self.tls.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or(rustls::Error::NoCertificatesPresented);
        let parsed = certificate.and_then(ParsedCertificate::try_from);
        parsed.and_then(|parsed| verify_server_name(&parsed, &expected)).map_err(failed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).field("readable", &self.readable).finish_non_exhaustive()
    }
}

/// Where encrypted bytes go.
struct Out<'a>(&'a Socket);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(self.0.as_fd(), records, &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_later(cause: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(cause.kind(), Interrupted | NotConnected | WouldBlock)
}

fn hung_up() -> Error {
    Error::new(ErrorKind::Unavailable, "the peer hung up in the middle of a TLS handshake")
}

fn internal(cause: &io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("a TLS session: {cause}"))
}

/// What is wrong with a session, by whose doing.
fn failed(cause: rustls::Error) -> Error {
    use rustls::Error as Tls;
    let (kind, message) = match &cause {
        Tls::InvalidCertificate(why) => (ErrorKind::Denied, format!("a certificate that is not to be trusted: {why}")),
        Tls::NoCertificatesPresented => (ErrorKind::Denied, "a peer without a certificate, expected one".into()),
        Tls::AlertReceived(alert) if is_of_certificates(*alert) => {
            (ErrorKind::Denied, format!("the peer does not trust this agent's certificate: {alert:?}"))
        }
        Tls::AlertReceived(alert) => (ErrorKind::Unavailable, format!("the peer ended the TLS session: {alert:?}")),
        Tls::PeerIncompatible(why) => (ErrorKind::Denied, format!("the peer's TLS is another, expected 1.3: {why:?}")),
        // Whoever changed it has not made the peer say so.
        Tls::DecryptError => (ErrorKind::Unavailable, "a TLS record that was changed on its way".into()),
        Tls::InvalidMessage(_)
        | Tls::InappropriateMessage { .. }
        | Tls::InappropriateHandshakeMessage { .. }
        | Tls::PeerMisbehaved(_)
        | Tls::PeerSentOversizedRecord => (ErrorKind::Corrupt, format!("TLS that is none: {cause}")),
        _ => (ErrorKind::Internal, format!("a TLS session: {cause}")),
    };
    Error::new(kind, message).with_source(cause)
}

/// Whether this is how a peer says that it does not let one in.
fn is_of_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}
