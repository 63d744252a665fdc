//! Snapshots on disk: whole or not at all, and for their owner only, since they hold the index's secret.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use llmd_core::{Error, ErrorKind, Result};

/// How large a snapshot can be that is read: some 100 million blocks.
const MAX_BYTES: u64 = 1 << 34;
/// Readable and writable by the owner and by nobody else.
const OWNER_ONLY: u32 = 0o600;

/// Puts a snapshot at `path`, in place of what was there. Whatever happens meanwhile, either the old one or the new one is
/// there afterwards.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the file system does not take it.
pub(super) fn write(path: &Path, snapshot: &[u8]) -> Result<()> {
    let beside = beside(path)?;
    let written = write_new(&beside, snapshot).and_then(|()| fs::rename(&beside, path)).and_then(|()| sync(path));
    written.map_err(|error| {
        // It is there when the disk is full, and not when it was renamed.
        let _ = fs::remove_file(&beside);
        failed("written", path, error)
    })
}

/// The snapshot at `path`.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be read; [`ErrorKind::Exhausted`] when it is larger than any that is written.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let read = |path| -> io::Result<(Vec<u8>, u64)> {
        let mut snapshot = Vec::new();
        let file = File::open(path)?;
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut snapshot)?;
        Ok((snapshot, read as u64))
    };
    let (snapshot, len) = read(path).map_err(|error| failed("read", path, error))?;
    if len > MAX_BYTES {
        let message = format!("snapshot {} has more than {MAX_BYTES} bytes", path.display());
        return Err(Error::new(ErrorKind::Exhausted, message));
    }
    Ok(snapshot)
}

/// A name beside `path` that no other call has.
fn beside(path: &Path) -> Result<PathBuf> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("path {:?} names no file to write a snapshot to", path.display()))
    })?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}", process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(hidden))
}

fn write_new(path: &Path, snapshot: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(snapshot)?;
    file.sync_all()
}

/// Makes the file's name as lasting as its content.
fn sync(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("snapshot {} cannot be {what}", path.display())).with_source(error)
}
