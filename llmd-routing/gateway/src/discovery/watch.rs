//! Looks at the endpoints file again and again, and says what it lists when that has changed.

use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};

use super::file::MAX_BYTES;
use super::{EndpointEntry, EndpointsFile};
use crate::clock::Clock;
use crate::settings::Polling;

/// Reads the file now, and gives the entries that are right; what is wrong with others is logged.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be read, [`ErrorKind::Invalid`] when it is no list of endpoints. The
/// message begins with the file's name.
pub(crate) fn read(path: &Path) -> Result<Vec<EndpointEntry>> {
    parse(path, &load(path)?)
}

/// Calls `changed` with the entries each time that the file has others; never returns. A file that cannot be read, or
/// is no list of endpoints, changes nothing: the endpoints of before stay.
pub(crate) async fn watch(path: &Path, polling: &Polling, clock: &Clock, mut changed: impl FnMut(Vec<EndpointEntry>)) {
    let mut seen = Vec::new();
    let mut failing = false;
    loop {
        let loaded = load(path);
        match &loaded {
            Ok(text) if *text != seen => {
                seen.clone_from(text);
                match parse(path, text) {
                    Ok(entries) => changed(entries),
                    Err(error) => tracing::warn!("{error}; the endpoints of before stay"),
                }
                failing = false;
            }
            Ok(_) => failing = false,
            Err(error) if !failing => {
                tracing::warn!("{error}; the endpoints of before stay");
                failing = true;
            }
            Err(_) => {}
        }
        clock.sleep_until(clock.now() + polling.endpoints_file).await;
    }
}

/// At most one byte more than may be read, so that a larger file is seen to be larger.
fn load(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text))
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("{}: cannot be read: {error}", path.display())))?;
    Ok(text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<EndpointEntry>> {
    let named = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Invalid, format!("{}: {error}", path.display()));
    let text = std::str::from_utf8(text).map_err(|error| named(&error))?;
    let file = EndpointsFile::parse(text).map_err(|error| named(&error))?;
    for problem in &file.problems {
        tracing::warn!("{}: {problem}; the other entries are kept", path.display());
    }
    Ok(file.entries)
}
