//! For those who write a transport of their own: the suite that says whether it is right, and wrappers that make any of them go
//! wrong. Behind feature `testing`.

mod flaky;
pub mod formats;
mod throttled;
mod transport;

pub use self::flaky::{Faults, Flaky};
pub use self::throttled::Throttled;
pub use self::transport::transport;
