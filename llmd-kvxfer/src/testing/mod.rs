//! What others need to test their own code against ours: conformance suites.

mod device;

pub use device::device;
