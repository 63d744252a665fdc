//! A second process that reaches the same device memory.

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::device::{Device, IpcHandle};
use serde_json::{Map, Value};

use crate::rig::{self, Rig};
use crate::rounded;

/// What the second process does: how fast it reads all of what the first one exported.
pub(crate) fn read(device: &Arc<dyn Device>, handle: &str) -> Result<f64> {
    let bytes = hex::decode(handle).map_err(|cause| {
        Error::new(ErrorKind::Invalid, format!("--import {handle}: expected a handle")).with_source(cause)
    })?;
    rig::read(device, &IpcHandle::from_bytes(&bytes)?)
}

/// Runs one with these arguments, and puts what it says.
pub(crate) fn put(figures: &mut Map<String, Value>, rig: &mut Rig, arguments: &[OsString]) -> Result<()> {
    if !rig.has_ipc() {
        return Ok(());
    }
    rig.fill_for_reading()?;
    let handle = hex::encode(rig.export()?.to_bytes());
    let failed = |what: String| Error::new(ErrorKind::Unavailable, format!("the second process {what}"));
    let program = env::current_exe().map_err(|cause| failed("is not known".to_owned()).with_source(cause))?;
    let output = Command::new(program).args(arguments).args(["--import", &handle]).output();
    let output = output.map_err(|cause| failed("does not run".to_owned()).with_source(cause))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some(bytes_per_s) = said.trim().parse::<f64>().ok().filter(|_| output.status.success()) else {
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("ended with {}: {error}", output.status)));
    };
    figures.insert("device.ipc.to_host_gb_per_s".into(), rounded(bytes_per_s / 1e9));
    Ok(())
}
