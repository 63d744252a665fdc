//! The machine's own device does all that the fake ones do. Where there is none, that is said, and nothing is tried.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "these are tests, and say what they could not try")]

use std::sync::Arc;

use llmd_kvxfer::device::{self, Cuda, Device, Hip, Vendor};
use llmd_kvxfer::{Local, Shm, testing};
use tempfile::TempDir;

use crate::pools::{by_tcp, host, memory};

/// The first device of whoever has a driver here.
pub(crate) fn device() -> Option<Arc<dyn Device>> {
    let mut why = Vec::new();
    for id in ["cuda:0", "rocm:0"] {
        match device::open(id.parse().unwrap()) {
            Ok(device) => return Some(device),
            Err(error) => why.push(error.to_string()),
        }
    }
    println!("there is no GPU here: {}", why.join("; "));
    None
}

#[test]
fn it_does_what_every_device_must() {
    // One of its own: what others ask of the device is not to be counted.
    match device().map(|device| device.id().vendor) {
        None => {}
        Some(Vendor::Amd) => testing::device(|| Hip::load().and_then(|hip| hip.device(0)).unwrap()),
        Some(_) => testing::device(|| Cuda::load().and_then(|cuda| cuda.device(0)).unwrap()),
    }
}

#[test]
fn pools_of_it_are_moved_within_a_process() {
    let Some(device) = device() else { return };
    let (here, on_it) = (Local::default(), memory(&device));
    for memory in [[&on_it as &dyn Fn(usize) -> _, &host], [&host, &on_it], [&on_it, &on_it]] {
        testing::transport_with(|| here.clone(), memory);
    }
}

#[test]
fn pools_of_it_are_moved_through_shared_memory() {
    let Some(device) = device() else { return };
    let (folder, on_it) = (TempDir::new().unwrap(), memory(&device));
    for memory in [[&on_it as &dyn Fn(usize) -> _, &host], [&host, &on_it], [&on_it, &on_it]] {
        testing::transport_with(|| Shm::in_folder(folder.path()), memory);
    }
}

#[test]
fn pools_of_it_are_moved_by_tcp() {
    let Some(device) = device() else { return };
    let on_it = memory(&device);
    for memory in [[&on_it as &dyn Fn(usize) -> _, &host], [&host, &on_it], [&on_it, &on_it]] {
        testing::transport_with(by_tcp, memory);
    }
}
