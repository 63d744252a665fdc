//! Where a worker waits for its scheduler.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};

use super::link::{Link, TCP};

/// Where a worker waits for its scheduler: a socket in a folder of the user's own, or an address.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener, PathBuf, u32),
    Tcp(TcpListener, SocketAddr),
}

impl Listener {
    /// At `tcp://HOST:PORT`.
    pub(super) fn at(address: &str) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::Invalid, format!("`{address}`, expected tcp://HOST:PORT"));
        let host = address.strip_prefix(TCP).and_then(|host| host.parse::<SocketAddr>().ok()).ok_or_else(invalid)?;
        if host.ip().is_unspecified() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("`{address}`, expected an address that can be connected to"),
            ));
        }
        let listen = || {
            let listener = TcpListener::bind(host)?;
            listener.set_nonblocking(true)?;
            let there = listener.local_addr()?;
            Ok(Self::Tcp(listener, there))
        };
        listen().map_err(|cause| unavailable(address, cause))
    }

    /// In a folder, which is made for this user alone if it is not there.
    pub(super) fn within(folder: &Path, name: &str) -> Result<Self> {
        let shown = folder.display().to_string();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|cause| unavailable(&shown, cause))?;
        let there = fs::metadata(folder).map_err(|cause| unavailable(&shown, cause))?;
        let (owner, me) = (there.uid(), rustix::process::getuid().as_raw());
        if there.permissions().mode() & 0o022 != 0 && owner != me {
            let message = format!("{shown}: others than user {owner} may write it, expected a folder of user {me}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        let path = folder.join(name);
        let listen = || {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|cause| unavailable(&path.display().to_string(), cause))?;
        Ok(Self::Unix(listener, path, std::process::id()))
    }

    pub(super) fn address(&self) -> String {
        match self {
            Self::Unix(_, path, _) => path.display().to_string(),
            Self::Tcp(_, there) => format!("{TCP}{there}"),
        }
    }

    /// The next that wants in, if there is one.
    pub(super) fn accept(&self) -> io::Result<Option<Link>> {
        let accepted = match self {
            Self::Unix(listener, ..) => listener.accept().and_then(|(stream, _)| Link::of_unix(stream)),
            Self::Tcp(listener, _) => listener.accept().and_then(|(stream, _)| Link::of_tcp(stream)),
        };
        match accepted {
            Ok(link) => Ok(Some(link)),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener, ..) => listener.as_fd(),
            Self::Tcp(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path, process) = self
            && *process == std::process::id()
        {
            // Whoever removed it already wanted it gone too.
            let _removed = fs::remove_file(path);
        }
    }
}

fn unavailable(what: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: {cause}")).with_source(cause)
}
