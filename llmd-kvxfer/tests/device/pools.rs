//! Pools of device memory, moved by agents of one process.

use std::sync::Arc;

use llmd_kvxfer::device::{Device, Host};
use llmd_kvxfer::{Local, Region, testing};

use crate::fake::{Fake, Kind, Left};

fn memory(device: &Arc<dyn Device>) -> impl Fn(usize) -> Region + use<> {
    let device = Arc::clone(device);
    move |len| Region::on_device(Arc::clone(&device), device.allocate(len as u64).unwrap()).unwrap()
}

fn host(len: usize) -> Region {
    Region::memfd(len).unwrap()
}

fn conforms(memory: [&dyn Fn(usize) -> Region; 2]) {
    let here = Local::default();
    testing::transport_with(|| here.clone(), memory);
}

#[test]
fn from_a_device_to_the_host_and_back() {
    for kind in [Kind::Cuda, Kind::OldHip] {
        let fake = Fake::new(kind);
        let device = fake.device();
        conforms([&memory(&device), &host]);
        conforms([&host, &memory(&device)]);
        drop(device);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn within_a_device() {
    for kind in [Kind::Cuda, Kind::Hip] {
        let fake = Fake::new(kind);
        let device = fake.device();
        conforms([&memory(&device), &memory(&device)]);
        drop(device);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn from_one_device_to_another() {
    let (one, other) = (Fake::new(Kind::Cuda), Fake::new(Kind::Hip));
    conforms([&memory(&one.device()), &memory(&other.device())]);
    assert_eq!((one.left(), other.left()), (Left::default(), Left::default()));
}

#[test]
fn the_hosts_memory_is_a_device_too() {
    let device: Arc<dyn Device> = Arc::new(Host::new());
    conforms([&memory(&device), &memory(&device)]);
}
