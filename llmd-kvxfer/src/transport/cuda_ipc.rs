//! Between devices of one machine, by memory that one process exports and another imports.
//!
//! The two find each other as by shared memory, over a Unix socket, and prove who they are; what the side that reads is given instead
//! of memory to map is the handle by which its device imports the pool. From then on the device copies, within itself or to the host.
//! The board of leases and the seals are shared memory: they are looked at before and after. What arrives is checked only with
//! [`Check::Always`](super::Check::Always): the device has to bring it to the host to be summed.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;

use super::{Cost, Ending, Home, Note, Shm, Transfer, TransferId, Transport, Trust, forward};
use crate::device::Device;
use crate::grant::Grant;
use crate::pool::Pool;

/// Between processes of one machine, by their devices: CUDA's or HIP's handles.
///
/// It serves pools that are [in a device](crate::Region::on_device), and reads such pools into pools of that device, or of the host.
/// Drivers refuse handles of the same process: there, [`Local`](super::Local) does it. A peer that is killed takes its memory with
/// it, and what was read of it by then does not add up or fails.
#[derive(Debug)]
pub struct CudaIpc(Shm);

impl CudaIpc {
    /// This device imports what peers export: that of the agent's pools, or if these are in the host, any that reaches the peers'.
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self(Shm::importing(device))
    }

    /// With its socket in this folder, which is made for this user alone if it is not there: as [`Shm::in_folder`].
    #[must_use]
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self(self.0.with_folder(folder.into()))
    }
}

impl Transport for CudaIpc {
    forward! { 0:
        fn name(&self) -> &'static str;
        fn trust(&self) -> Trust;
        fn start(&mut self, home: &Arc<Home>) -> Result<()>;
        fn address(&self) -> Option<String>;
        fn register(&mut self, pool: &Pool) -> Result<()>;
        fn unregister(&mut self, pool: &Pool);
        fn reach(&self, grant: &Grant, pool: &Pool) -> Result<Cost>;
        fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>>;
        fn cancel(&mut self, transfer: TransferId);
        fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()>;
        fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool;
        fn sleep(&mut self) -> bool;
        fn awake(&mut self);
        fn next_deadline(&self) -> Option<Duration>;
        fn wake_fd(&self) -> Option<BorrowedFd<'_>>;
        fn peers(&self) -> usize;
    }
}
