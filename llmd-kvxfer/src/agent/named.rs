//! Transports by their names, as settings and other languages have them.

use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::AgentBuilder;
use crate::transport::{Local, Shm};

/// What agents of this process that name `local` find each other by, and which process that is: a forked child has one of its own.
static HERE: Mutex<Option<(u32, Local)>> = Mutex::new(None);

impl AgentBuilder {
    /// Moves blocks by the transport of this name too: `shm`, with its socket in `folder` where that is given, or `local`, by which
    /// all agents of this process find each other that name it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that is none, and [`ErrorKind::Unsupported`] for one of a transport that this build does
    /// not have.
    pub fn transport_named(self, name: &str, folder: Option<&Path>) -> Result<Self> {
        match name {
            "local" => Ok(self.transport(here())),
            "shm" => Ok(self.transport(folder.map_or_else(Shm::default, Shm::in_folder))),
            _ if name == "tcp" || name.starts_with("tcp://") => {
                let message = format!("transport `{name}`, which this build does not have, expected {KNOWN}");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            _ => Err(Error::new(ErrorKind::Invalid, format!("transport `{name}`, expected {KNOWN}"))),
        }
    }
}

const KNOWN: &str = "`shm` or `local`";

fn here() -> Local {
    let process = std::process::id();
    let mut here = HERE.lock();
    match &*here {
        Some((of, local)) if *of == process => local.clone(),
        _ => here.insert((process, Local::default())).1.clone(),
    }
}
