//! Every device does what a device must, and gives back what it took.

use std::sync::Arc;

use llmd_kvxfer::device::Host;
use llmd_kvxfer::testing;

use crate::fake::{Fake, Kind, Left};

fn conforms(kind: Kind, delay_us: u32) {
    let fake = Fake::new(kind);
    fake.delay(delay_us);
    testing::device(|| fake.device());
    assert_eq!(fake.left(), Left::default());
}

#[test]
fn the_host_does() {
    testing::device(|| Arc::new(Host::new()));
}

#[test]
fn cuda_does() {
    conforms(Kind::Cuda, 0);
}

#[test]
fn cuda_12_8_does() {
    conforms(Kind::Cuda12, 0);
}

#[test]
fn cuda_without_batches_does() {
    conforms(Kind::OldCuda, 0);
}

#[test]
fn hip_does() {
    conforms(Kind::Hip, 0);
}

#[test]
fn hip_without_batches_does() {
    conforms(Kind::OldHip, 0);
}

#[test]
fn slow_ones_do() {
    conforms(Kind::Cuda, 1);
}
