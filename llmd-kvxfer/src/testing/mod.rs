//! For those who write a transport or a device of their own: the suites that say whether it is right, and wrappers that make a
//! transport go wrong. Behind feature `testing`.

mod device;
mod flaky;
pub mod formats;
mod throttled;
mod transport;

pub use self::device::device;
pub use self::flaky::{Faults, Flaky};
pub use self::throttled::Throttled;
pub use self::transport::{transport, transport_with};
