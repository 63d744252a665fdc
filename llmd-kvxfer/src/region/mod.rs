//! Memory that blocks are moved from and to: ours, the engine's, or a device's.
//!
//! A [`Region`] is made once for a whole pool and registered once, never per block.

#![expect(unsafe_code, reason = "memory that others write too is read and written by pointer")]

mod device;
mod dlpack;
mod host;
mod mapping;
mod process;
mod words;

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

pub(crate) use self::device::OnDevice;
pub use self::dlpack::{DlpackForm, delete_dlpack};
pub use self::host::HostMemory;
pub(crate) use self::mapping::{Access, Mapping, cannot_shrink};
pub(crate) use self::process::{Known, PIECES, Piece, Process, Told};
pub(crate) use self::words::Words;
use crate::device::{Device, DeviceId, DeviceMemory};

/// Memory that blocks are moved from and to. Clones are the same memory; it is given back when the last is dropped.
#[derive(Clone)]
pub struct Region(Arc<Memory>);

struct Memory {
    place: Place,
    len: usize,
    is_writable: bool,
    /// What others on this machine map to read it.
    fd: Option<OwnedFd>,
    /// Whether `fd` can no longer become shorter, so that nobody who mapped it can be killed by reading.
    keeps_its_length: bool,
    /// What keeps the memory there.
    _owner: Box<dyn Any + Send + Sync>,
}

/// Where the bytes are.
enum Place {
    /// In memory that this process reads and writes: here is the first.
    Host(NonNull<u8>),
    /// In a device, which copies them.
    Device(OnDevice),
}

// SAFETY: the address is only read and written through `Region`'s methods and copies by pointer, which say what they need; the
// memory itself belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Region {
    /// `len` bytes of memory of this machine, zero, that peers on it can map to read: [`HostMemory`] with its defaults.
    ///
    /// # Errors
    ///
    /// Those of [`HostMemory::allocate`].
    pub fn memfd(len: usize) -> Result<Self> {
        HostMemory::new(len).allocate()
    }

    /// All of this file, as memory: a memfd of another library, or one under `/dev/shm`. Peers map the same file, and can be kept
    /// from it only by not registering the region. It is written to only when it was opened for writing.
    ///
    /// A file that anybody can cut off, as one can that has no seal against it, is not mapped by peers; they are served by copies.
    /// Whoever cuts it off while this process has it kills this process, by SIGBUS, when it touches what is gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no file or an empty one, and [`ErrorKind::Unavailable`] when it cannot be mapped.
    pub fn adopt_fd(fd: OwnedFd) -> Result<Self> {
        let len = mapping::len_of(fd.as_fd())?;
        let access = mapping::access_of(fd.as_fd())?;
        let mapping = Mapping::new(fd.as_fd(), len, access)?;
        Ok(Self::mapped(mapping, access, fd))
    }

    /// The same, of the file at this path, opened for reading and writing where that is allowed, and for reading otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`adopt_fd`](Self::adopt_fd), and [`ErrorKind::Unavailable`] when it cannot be opened.
    pub fn adopt_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::options().read(true).write(true).open(path).or_else(|_| File::open(path));
        let file = file.map_err(|cause| {
            Error::new(ErrorKind::Unavailable, format!("{}, expected a file to map", path.display())).with_source(cause)
        })?;
        Self::adopt_fd(file.into())
    }

    /// Memory that somebody else allocated, such as an engine's tensor. Peers on this machine cannot map it; they are served by
    /// copies.
    ///
    /// # Safety
    ///
    /// `len` bytes from `address` on must be readable and writable for as long as `owner` lives. Nobody may rely on what is in
    /// blocks while they are written to by a fetch, nor write blocks while they are leased: no more is promised of such bytes than
    /// of a file that two processes have mapped.
    pub unsafe fn adopt_pointer(address: NonNull<u8>, len: usize, owner: impl Any + Send + Sync) -> Self {
        let owner = Box::new(owner);
        let place = Place::Host(address);
        let memory = Memory { place, len, is_writable: true, fd: None, keeps_its_length: false, _owner: owner };
        Self(Arc::new(memory))
    }

    /// A buffer of Rust's.
    pub fn adopt_bytes(mut bytes: Vec<u8>) -> Self {
        let address = NonNull::from(bytes.as_mut_slice()).cast();
        // SAFETY: the buffer lives as long as its owner, which moves without it, and nobody else can reach it.
        unsafe { Self::adopt_pointer(address, bytes.len(), bytes) }
    }

    /// Memory of a device, such as an engine's tensor that the device [adopted](Device::adopt). The device brings its bytes to the
    /// host and back; nobody reads them by an address.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for memory of another device, and what the device says when it pins a buffer.
    pub fn on_device(device: Arc<dyn Device>, memory: DeviceMemory) -> Result<Self> {
        let len = usize::try_from(memory.len());
        let len = len.map_err(|_| Error::new(ErrorKind::Invalid, format!("{memory:?}, expected less bytes")))?;
        let place = Place::Device(OnDevice::new(device, memory)?);
        let owner = Box::new(());
        let memory = Memory { place, len, is_writable: true, fd: None, keeps_its_length: false, _owner: owner };
        Ok(Self(Arc::new(memory)))
    }

    /// Whether its bytes are in a device.
    pub fn is_on_device(&self) -> bool {
        self.device().is_some()
    }

    /// Which device its bytes are in, if they are in one.
    pub fn device_id(&self) -> Option<DeviceId> {
        self.device().map(|there| there.memory().device())
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Whether blocks may be fetched into it.
    pub fn is_writable(&self) -> bool {
        self.0.is_writable
    }

    /// Whether peers on this machine can map it, and read it without anybody's help.
    pub fn is_shareable(&self) -> bool {
        self.0.fd.is_some()
    }

    /// What others map.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.fd.as_ref().map(AsFd::as_fd)
    }

    /// Copies what is at `offset` into `bytes`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the region ends before.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let from = match self.at(offset, bytes.len())? {
            At::Host(from) => from,
            At::Device(device, offset) => return device.read(offset, bytes),
        };
        // SAFETY: the bytes are there, and `bytes` is the caller's alone.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(from.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the region ends before, and [`ErrorKind::Denied`] when it is only for reading.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        if !self.is_writable() {
            return Err(Error::new(
                ErrorKind::Denied,
                "a region that was opened for reading, expected one for writing",
            ));
        }
        let to = match self.at(offset, bytes.len())? {
            At::Host(to) => to,
            At::Device(device, offset) => return device.write(offset, bytes),
        };
        // SAFETY: the bytes are there and writable; the region's memory cannot be reached as a slice, so that they do not overlap.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Whether both are the same memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether those who map it cannot be cut off while they read.
    pub(crate) fn keeps_its_length(&self) -> bool {
        self.0.keeps_its_length
    }

    /// Of the first byte, in this process, for those who read and write the memory by themselves: it is there as long as somebody has
    /// the region, and is not to be written to where [`is_writable`](Self::is_writable) says no. `None` of memory in a device.
    pub fn address(&self) -> Option<NonNull<u8>> {
        match self.0.place {
            Place::Host(address) => Some(address),
            Place::Device(_) => None,
        }
    }

    /// The device's memory, where it is that.
    pub(crate) fn device(&self) -> Option<&OnDevice> {
        match &self.0.place {
            Place::Host(_) => None,
            Place::Device(device) => Some(device),
        }
    }

    fn at(&self, offset: usize, len: usize) -> Result<At<'_>> {
        if offset.checked_add(len).is_none_or(|end| end > self.0.len) {
            let message = format!("{len} bytes at {offset} of a region of {} bytes", self.0.len);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(match &self.0.place {
            // SAFETY: `offset` is not beyond the end, as was checked.
            Place::Host(address) => At::Host(unsafe { address.add(offset) }),
            Place::Device(device) => At::Device(device, offset as u64),
        })
    }

    fn mapped(mapping: Mapping, access: Access, fd: OwnedFd) -> Self {
        Self(Arc::new(Memory {
            place: Place::Host(mapping.address()),
            len: mapping.len(),
            is_writable: access == Access::Write,
            keeps_its_length: cannot_shrink(fd.as_fd()),
            fd: Some(fd),
            _owner: Box::new(mapping),
        }))
    }
}

/// A place in a region.
enum At<'a> {
    Host(NonNull<u8>),
    Device(&'a OnDevice, u64),
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { len, is_writable, keeps_its_length, .. } = &*self.0;
        f.debug_struct("Region")
            .field("len", len)
            .field("device", &self.device_id())
            .field("is_writable", is_writable)
            .field("is_shareable", &self.is_shareable())
            .field("keeps_its_length", keeps_its_length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_all_who_have_the_region() {
        let region = Region::memfd(1 << 20).unwrap();
        let same = region.clone();
        region.write(12_345, b"a block").unwrap();
        let mut read = [0; 7];
        same.read(12_345, &mut read).unwrap();
        assert_eq!(&read, b"a block");
        assert!(region.is_shareable() && region.keeps_its_length());
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused_by_name() {
        let region = Region::adopt_bytes(vec![0; 100]);
        let said = region.write(90, &[0; 11]).unwrap_err();
        assert_eq!(
            (said.kind(), said.to_string()),
            (ErrorKind::Invalid, "11 bytes at 90 of a region of 100 bytes".into())
        );
        assert!(region.read(usize::MAX, &mut [0; 2]).is_err());
        assert!(!region.is_shareable());
    }

    #[test]
    fn memory_of_a_device_is_read_and_written_by_it_alone() {
        let device: Arc<dyn Device> = Arc::new(crate::device::Host::new());
        let region = Region::on_device(Arc::clone(&device), device.allocate(300_000).unwrap()).unwrap();
        let bytes: Vec<u8> = (0..250_000).map(|place| (place % 251) as u8).collect();
        region.write(7, &bytes).unwrap();
        let mut read = vec![0; 250_000];
        region.read(7, &mut read).unwrap();
        assert!(read == bytes);
        assert!(region.is_on_device() && region.address().is_none() && !region.is_shareable());
        assert_eq!(region.read(299_999, &mut [0; 2]).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_file_is_adopted_by_its_path() {
        let path = std::env::temp_dir().join(format!("llmd-region-{}", std::process::id()));
        std::fs::write(&path, [7; 4096]).unwrap();
        let region = Region::adopt_path(&path).unwrap();
        region.write(4095, &[9]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[4094..], [7, 9]);
        assert!(region.is_shareable() && !region.keeps_its_length(), "anybody may cut a file off");
        std::fs::remove_file(&path).unwrap();

        assert_eq!(Region::adopt_path(&path).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(Region::adopt_path("/dev/null").unwrap_err().kind(), ErrorKind::Invalid);
    }
}
