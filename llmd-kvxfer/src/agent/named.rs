//! Transports by their names, as settings and other languages have them.

use std::path::Path;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::AgentBuilder;
use crate::device::{self, Device, DeviceId, Vendor};
use crate::transport::{CudaIpc, Local, Shm, Tcp};

/// What agents of this process that name `local` find each other by, and which process that is: a forked child has one of its own.
static HERE: Mutex<Option<(u32, Local)>> = Mutex::new(None);

impl AgentBuilder {
    /// Moves blocks by the transport of this name too: `shm`, with its socket in `folder` where that is given, or `local`, by which
    /// all agents of this process find each other that name it, or `tcp://HOST:PORT`, listening there, or `cuda_ipc`, with its socket
    /// in `folder` too, by the first device of CUDA, or else of ROCm: another is named `cuda_ipc://cuda:1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that is none, and what [`Tcp::bind`] and [`device::open`] say.
    pub fn transport_named(self, name: &str, folder: Option<&Path>) -> Result<Self> {
        match name {
            "local" => Ok(self.transport(here())),
            "shm" => Ok(self.transport(folder.map_or_else(Shm::default, Shm::in_folder))),
            "cuda_ipc" => Ok(self.transport(importing(first_device()?, folder))),
            _ if name.starts_with("cuda_ipc://") => {
                let device = device::open(name["cuda_ipc://".len()..].parse()?)?;
                Ok(self.transport(importing(device, folder)))
            }
            _ if name.starts_with("tcp://") => Ok(self.transport(Tcp::bind(&name["tcp://".len()..])?)),
            _ => Err(Error::new(ErrorKind::Invalid, format!("transport `{name}`, expected {KNOWN}"))),
        }
    }
}

const KNOWN: &str = "`shm`, `cuda_ipc`, `cuda_ipc://DEVICE`, `tcp://HOST:PORT` or `local`";

fn importing(device: Arc<dyn Device>, folder: Option<&Path>) -> CudaIpc {
    let transport = CudaIpc::new(device);
    match folder {
        Some(folder) => transport.in_folder(folder),
        None => transport,
    }
}

/// Of CUDA, or else of ROCm.
fn first_device() -> Result<Arc<dyn Device>> {
    let first = |vendor| device::open(DeviceId { vendor, ordinal: 0 });
    first(Vendor::Nvidia).or_else(|cuda| {
        first(Vendor::Amd).map_err(|rocm| {
            let message = format!("no device imports memory: {cuda}; {rocm}");
            Error::new(ErrorKind::Unsupported, message).with_source(cuda)
        })
    })
}

fn here() -> Local {
    let process = std::process::id();
    let mut here = HERE.lock();
    match &*here {
        Some((of, local)) if *of == process => local.clone(),
        _ => here.insert((process, Local::default())).1.clone(),
    }
}
