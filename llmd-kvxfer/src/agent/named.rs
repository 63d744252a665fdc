//! Transports by their names, as settings and other languages have them.

use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::AgentBuilder;
use crate::transport::{Local, Shm, Tcp};

/// What agents of this process that name `local` find each other by, and which process that is: a forked child has one of its own.
static HERE: Mutex<Option<(u32, Local)>> = Mutex::new(None);

impl AgentBuilder {
    /// Moves blocks by the transport of this name too: `shm`, with its socket in `folder` where that is given, or `local`, by which
    /// all agents of this process find each other that name it, or `tcp://HOST:PORT`, listening there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that is none, and what [`Tcp::bind`] says.
    pub fn transport_named(self, name: &str, folder: Option<&Path>) -> Result<Self> {
        match name {
            "local" => Ok(self.transport(here())),
            "shm" => Ok(self.transport(folder.map_or_else(Shm::default, Shm::in_folder))),
            _ if name.starts_with("tcp://") => Ok(self.transport(Tcp::bind(&name["tcp://".len()..])?)),
            _ => Err(Error::new(ErrorKind::Invalid, format!("transport `{name}`, expected {KNOWN}"))),
        }
    }
}

const KNOWN: &str = "`shm`, `tcp://HOST:PORT` or `local`";

fn here() -> Local {
    let process = std::process::id();
    let mut here = HERE.lock();
    match &*here {
        Some((of, local)) if *of == process => local.clone(),
        _ => here.insert((process, Local::default())).1.clone(),
    }
}
