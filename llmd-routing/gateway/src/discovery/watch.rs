//! An endpoints file that is looked at again and again.

use std::fmt::Display;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};

use super::file::MAX_BYTES;
use super::{EndpointEntry, EndpointsFile};
use crate::clock::Clock;
use crate::settings::Polling;

/// An endpoints file, and what it said last.
#[derive(Debug)]
pub(crate) struct FileWatch {
    path: PathBuf,
    seen: Vec<u8>,
}

impl FileWatch {
    /// Reads the file now, and gives the entries that are right; what is wrong with others is logged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be read, [`ErrorKind::Invalid`] when it is no list of endpoints. The
    /// message begins with the file's name.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Vec<EndpointEntry>)> {
        let seen = load(&path)?;
        let entries = parse(&path, &seen)?;
        Ok((Self { path, seen }, entries))
    }

    /// Calls `changed` with the entries each time that the file has others; never returns. A file that cannot be read, or
    /// is no list of endpoints, changes nothing: the endpoints of before stay.
    pub(crate) async fn run(mut self, polling: Polling, clock: Clock, mut changed: impl FnMut(Vec<EndpointEntry>)) {
        let mut missing = false;
        loop {
            clock.sleep_until(clock.now() + polling.endpoints_file).await;
            match load(&self.path) {
                Ok(text) if text != self.seen => {
                    match parse(&self.path, &text) {
                        Ok(entries) => changed(entries),
                        Err(error) => tracing::warn!("{error}; the endpoints of before stay"),
                    }
                    self.seen = text;
                    missing = false;
                }
                Ok(_) => missing = false,
                Err(error) => {
                    if !std::mem::replace(&mut missing, true) {
                        tracing::warn!("{error}; the endpoints of before stay");
                    }
                }
            }
        }
    }
}

/// At most one byte more than may be read, so that a larger file is seen to be larger.
fn load(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("{}: cannot be read: {error}", path.display())))?;
    Ok(text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<EndpointEntry>> {
    let named = |error: &dyn Display| Error::new(ErrorKind::Invalid, format!("{}: {error}", path.display()));
    let text = std::str::from_utf8(text).map_err(|error| named(&error))?;
    let file = EndpointsFile::parse(text).map_err(|error| named(&error))?;
    for problem in &file.problems {
        tracing::warn!("{}: {problem}; the other entries are kept", path.display());
    }
    Ok(file.entries)
}
