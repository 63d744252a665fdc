//! Devices that are opened by their names, and what finds them by these: tensors and transports.

#![expect(unsafe_code, reason = "tensors are handed over by address")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use llmd_core::ErrorKind;
use llmd_kvxfer::device::{DeviceId, open, open_from};
use llmd_kvxfer::{Agent, DlpackForm, KvLayout, Lease, Region, delete_dlpack};
use tempfile::TempDir;

use crate::fake::{Fake, Kind, Left};

/// A tensor, which is deleted when nobody has it.
struct Tensor(NonNull<c_void>);

// SAFETY: a tensor of ours belongs to no thread.
unsafe impl Send for Tensor {}
// SAFETY: as above.
unsafe impl Sync for Tensor {}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: it is dropped once.
        unsafe { delete_dlpack(self.0, DlpackForm::Versioned) };
    }
}

/// Drivers find devices by numbers that are the same for the whole process: each test has a device of its own.
fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

#[test]
fn a_tensor_on_a_device_is_a_region_of_it() {
    for (name, kind, dlpack) in [("cuda:1", Kind::Cuda, (2, 1)), ("rocm:1", Kind::Hip, (10, 1))] {
        let fake = Fake::new(kind);
        let device = open_from(id(name), fake.path()).unwrap();
        assert!(Arc::ptr_eq(&device, &open(id(name)).unwrap()), "it is open already");
        let lends = Region::on_device(Arc::clone(&device), device.allocate(4096).unwrap()).unwrap();
        assert_eq!(lends.dlpack_device(), dlpack);
        let tensor = lends.to_dlpack(DlpackForm::Versioned).unwrap();
        // SAFETY: it was just made, and is deleted when its owner goes.
        let region = unsafe { Region::adopt_dlpack(tensor, DlpackForm::Versioned, Tensor(tensor)) }.unwrap();
        drop((lends, device));
        region.write(100, b"a block").unwrap();
        let mut read = [0; 7];
        region.read(100, &mut read).unwrap();
        assert!(region.is_on_device() && region.len() == 4096 && &read == b"a block");
        drop(region);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn a_device_is_open_by_one_library_at_a_time() {
    let (one, other) = (Fake::new(Kind::Cuda), Fake::new(Kind::Cuda));
    let device = open_from(id("cuda:0"), one.path()).unwrap();
    let error = open_from(id("cuda:0"), other.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let said =
        format!("nvidia:0 by {}, expected {}, by which it is open", other.path().display(), one.path().display());
    assert_eq!(error.to_string(), said);
    drop(device);
    open_from(id("cuda:0"), other.path()).unwrap();
}

#[test]
fn a_device_without_a_driver_says_what_was_looked_for() {
    let error = open_from(id("rocm:7"), Path::new("nowhere/libamdhip64.so")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "no driver's library was found: looked for nowhere/libamdhip64.so");
}

#[test]
fn a_transport_that_imports_is_found_by_its_name() {
    let (fake, folder) = (Fake::new(Kind::OldHip), TempDir::new().unwrap());
    let device = open_from(id("rocm:0"), fake.path()).unwrap();
    let build = |name: &str| Agent::builder("prefill-0").transport_named(name, Some(folder.path()));
    let agent = build("cuda_ipc://rocm:0").unwrap().build().unwrap();
    let layout = KvLayout::opaque("bytes", 4, 4096).unwrap();
    let region = Region::on_device(Arc::clone(&device), device.allocate(layout.end()).unwrap()).unwrap();
    let pool = agent.register(region, layout).unwrap();
    let grant = agent.grant(&pool, &[1], Lease::for_secs(60)).unwrap();
    assert!(grant.address("cuda_ipc").unwrap().starts_with(folder.path().to_str().unwrap()));
    let error = build("cuda_ipc://cpu").unwrap_err();
    assert_eq!(error.to_string(), "device \"cpu\", expected one such as \"cuda:0\" or \"rocm:1\"");
}
