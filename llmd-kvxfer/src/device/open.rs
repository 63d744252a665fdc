//! Devices by their ids, each opened once for all of a process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::{Device, DeviceId, Host, Vendor};

/// Those that were opened by their ids: at most as many as a process sees.
static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

struct Opened {
    id: DeviceId,
    library: Option<PathBuf>,
    /// A forked child has nothing of its parent's.
    process: u32,
    device: Weak<dyn Device>,
}

/// This device, by its driver, which is loaded by the names that it has. As long as somebody has it, it is the same one for all of
/// the process who open it: regions and transports that are of one device copy within it.
///
/// ```
/// # use llmd_kvxfer::device;
/// let device = device::open("cuda:0".parse()?);
/// # _ = device;
/// # Ok::<(), llmd_core::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Unsupported`], naming what was looked for, where there is no driver, and where llmd was built without it;
/// [`ErrorKind::Invalid`] for a device that there is not.
pub fn open(id: DeviceId) -> Result<Arc<dyn Device>> {
    opened(id, None)
}

/// The same, by the driver in this file, which is trusted to be one.
///
/// # Errors
///
/// Those of [`open`], and [`ErrorKind::Invalid`] while it is open by another library.
pub fn open_from(id: DeviceId, library: &Path) -> Result<Arc<dyn Device>> {
    opened(id, Some(library))
}

fn opened(id: DeviceId, library: Option<&Path>) -> Result<Arc<dyn Device>> {
    if let Some(there) = find(&OPENED.lock(), id, library)? {
        return Ok(there);
    }
    // A driver takes its time, and nobody else has to wait for it.
    let device = load(id, library)?;
    let mut opened = OPENED.lock();
    // Another thread may have been faster.
    if let Some(there) = find(&opened, id, library)? {
        drop(opened);
        return Ok(there);
    }
    opened.retain(|there| there.device.strong_count() > 0);
    let (library, process) = (library.map(Path::to_owned), std::process::id());
    opened.push(Opened { id, library, process, device: Arc::downgrade(&device) });
    Ok(device)
}

fn find(opened: &[Opened], id: DeviceId, library: Option<&Path>) -> Result<Option<Arc<dyn Device>>> {
    let process = std::process::id();
    let mut there = opened.iter().filter(|there| there.id == id && there.process == process);
    let Some((by, device)) = there.find_map(|there| Some((&there.library, there.device.upgrade()?))) else {
        return Ok(None);
    };
    if library.is_some_and(|library| by.as_deref() != Some(library)) {
        let name =
            |library: Option<&Path>| library.map_or_else(|| "the driver".to_owned(), |it| it.display().to_string());
        let message = format!("{id} by {}, expected {}, by which it is open", name(library), name(by.as_deref()));
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Some(device))
}

fn load(id: DeviceId, library: Option<&Path>) -> Result<Arc<dyn Device>> {
    match id.vendor {
        Vendor::Amd => hip(id.ordinal, library),
        Vendor::Host if id.ordinal == 0 => Ok(Arc::new(Host::new())),
        Vendor::Host => Err(Error::new(ErrorKind::Invalid, format!("{id}, expected host:0"))),
        Vendor::Nvidia => cuda(id.ordinal, library),
    }
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: u32, library: Option<&Path>) -> Result<Arc<dyn Device>> {
    library.map_or_else(super::Cuda::load, super::Cuda::load_from)?.device(ordinal)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_ordinal: u32, _library: Option<&Path>) -> Result<Arc<dyn Device>> {
    Err(Error::new(ErrorKind::Unsupported, "devices of CUDA, expected llmd to be built with feature `cuda`"))
}

#[cfg(feature = "rocm")]
fn hip(ordinal: u32, library: Option<&Path>) -> Result<Arc<dyn Device>> {
    library.map_or_else(super::Hip::load, super::Hip::load_from)?.device(ordinal)
}

#[cfg(not(feature = "rocm"))]
fn hip(_ordinal: u32, _library: Option<&Path>) -> Result<Arc<dyn Device>> {
    Err(Error::new(ErrorKind::Unsupported, "devices of ROCm, expected llmd to be built with feature `rocm`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_the_same_as_long_as_somebody_has_it() {
        let id = "host:0".parse().unwrap();
        let (one, other) = (open(id).unwrap(), open(id).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        let error = open_from(id, Path::new("libother.so")).unwrap_err();
        assert_eq!(error.to_string(), "host:0 by libother.so, expected the driver, by which it is open");
        let before = Arc::downgrade(&one);
        drop((one, other));
        assert_eq!(before.strong_count(), 0);
        assert_eq!(open("host:1".parse().unwrap()).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
