//! Where a worker listens.

use std::fmt;
use std::fs;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::stream::{Listener, Stream};
use crate::folder;
use crate::grant::AgentId;

/// Where a worker listens: a Unix socket, or a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Tcp(String),
    Unix(PathBuf),
}

const TCP: &str = "tcp://";
const UNIX: &str = "unix://";

impl Place {
    /// The place of this address.
    pub(super) fn parse(address: &str) -> Result<Self> {
        if let Some(place) = address.strip_prefix(TCP) {
            return Ok(Self::Tcp(place.to_owned()));
        }
        let path = address.strip_prefix(UNIX).unwrap_or(address);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        let message = format!("worker {address:?}, expected tcp://HOST:PORT or unix:///PATH");
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// A socket of this worker's own in this folder, or in one of the user's own.
    pub(super) fn in_folder(folder: Option<&Path>, id: AgentId) -> Result<Self> {
        let folder = folder.map_or_else(folder::of_user, Path::to_owned);
        folder::prepare(&folder)?;
        Ok(Self::Unix(folder.join(format!("{}{id}{}", folder::ENGINE, folder::SOCKET))))
    }

    /// Listens there; gives where that is, of a port that the system chose.
    pub(super) fn listen(&self) -> Result<(Listener, Self)> {
        let refused = |cause: std::io::Error| {
            let message = format!("{self}, expected a place to listen at: {cause}");
            Error::new(ErrorKind::Unavailable, message).with_source(cause)
        };
        match self {
            Self::Tcp(place) => {
                let listener = TcpListener::bind(place).map_err(refused)?;
                listener.set_nonblocking(true).map_err(refused)?;
                let there = listener.local_addr().map_err(refused)?;
                Ok((Listener::Tcp(listener), Self::Tcp(there.to_string())))
            }
            Self::Unix(path) => {
                let listener = folder::listen_at(path, |path| UnixListener::bind(path).map_err(refused))?;
                listener.set_nonblocking(true).map_err(refused)?;
                Ok((Listener::Unix(listener), self.clone()))
            }
        }
    }

    /// Connects to the worker that listens there, within this time.
    pub(super) fn connect(&self, within: Duration) -> Result<Stream> {
        let refused = |cause: std::io::Error| {
            let message = format!("{self}, expected a worker that listens there: {cause}");
            Error::new(ErrorKind::Unavailable, message).with_source(cause)
        };
        match self {
            Self::Tcp(place) => {
                let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
                for address in place.to_socket_addrs().map_err(refused)? {
                    match std::net::TcpStream::connect_timeout(&address, within) {
                        Ok(stream) => return Stream::of_tcp(stream).map_err(refused),
                        Err(cause) => last = cause,
                    }
                }
                Err(refused(last))
            }
            Self::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(Stream::Unix).map_err(refused),
        }
    }

    /// Takes the socket away.
    pub(super) fn remove(&self) {
        if let Self::Unix(path) = self {
            // Whoever removed it already wanted it gone too.
            let _removed = fs::remove_file(path);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "{TCP}{place}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for address in ["tcp://10.0.0.1:7000", "unix:///run/llmd/engine-1.sock"] {
            assert_eq!(Place::parse(address).unwrap().to_string(), address);
        }
        assert_eq!(Place::parse("/run/a.sock").unwrap(), Place::Unix("/run/a.sock".into()));
        assert_eq!(
            Place::parse("localhost:1").unwrap_err().to_string(),
            "worker \"localhost:1\", expected tcp://HOST:PORT or unix:///PATH"
        );
    }
}
