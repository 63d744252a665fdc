//! Memory of this machine that peers can map.

use std::os::fd::AsFd;

use llmd_core::{Error, ErrorKind, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;

use super::mapping::{Access, Mapping};
use super::{Region, mapping};

/// Memory of this machine to be [allocated](Self::allocate): how much, on which pages, and where.
///
/// ```
/// use llmd_kvxfer::HostMemory;
///
/// let region = HostMemory::new(64 << 20).on_node(0).allocate()?;
/// assert_eq!(region.len(), 64 << 20);
/// # Ok::<(), llmd_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is allocated yet"]
pub struct HostMemory {
    len: usize,
    has_huge_pages: bool,
    node: Option<u32>,
    is_lazy: bool,
}

impl HostMemory {
    /// This many bytes, on pages of the usual size, wherever the system likes, all of it taken at once.
    pub const fn new(len: usize) -> Self {
        Self { len, has_huge_pages: false, node: None, is_lazy: false }
    }

    /// On pages of 2 MiB, which the machine's administrator has to set aside.
    pub const fn on_huge_pages(self) -> Self {
        Self { has_huge_pages: true, ..self }
    }

    /// On this NUMA node, and no other.
    pub const fn on_node(self, node: u32) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Each page taken when it is first touched: at once, and without an error when there are too few.
    pub const fn lazily(self) -> Self {
        Self { is_lazy: true, ..self }
    }

    /// Allocates it. Nobody can make it shorter, and nobody but this process can map it to write.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for no bytes, and for a number of bytes that is no multiple of the huge page;
    /// [`ErrorKind::Exhausted`] when the machine has not as much, or the process no file descriptor left;
    /// [`ErrorKind::Unsupported`] when it has no huge pages or no such node.
    pub fn allocate(&self) -> Result<Region> {
        self.is_sensible()?;
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if self.has_huge_pages {
            flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        }
        let fd = memfd_create("llmd-kv", flags).map_err(|errno| self.refused(errno))?;
        ftruncate(&fd, self.len as u64).map_err(|errno| self.refused(errno))?;
        let mapping = Mapping::new(fd.as_fd(), self.len, Access::Write)?;
        if let Some(node) = self.node {
            mapping::bind(&mapping, node)?;
        }
        if !self.is_lazy {
            mapping::populate(&mapping).map_err(|errno| self.refused(errno))?;
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals).map_err(|errno| self.refused(errno))?;
        Ok(Region::mapped(mapping, Access::Write, fd))
    }

    fn is_sensible(&self) -> Result<()> {
        if self.len == 0 {
            return Err(Error::new(ErrorKind::Invalid, "a region of 0 bytes, expected at least 1"));
        }
        if self.has_huge_pages && !self.len.is_multiple_of(HUGE_PAGE) {
            let message = format!("a region of {} bytes, expected a multiple of the huge page's {HUGE_PAGE}", self.len);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    fn refused(&self, errno: Errno) -> Error {
        let kind = match errno {
            Errno::NODEV | Errno::OPNOTSUPP | Errno::NOENT => ErrorKind::Unsupported,
            _ => ErrorKind::Exhausted,
        };
        let pages = if self.has_huge_pages { " on huge pages" } else { "" };
        Error::new(kind, format!("{} bytes of shared memory{pages}: {errno}", self.len)).with_source(errno)
    }
}

const HUGE_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_said() {
        let said = |memory: HostMemory| memory.allocate().map(|_| ()).unwrap_err();
        assert_eq!(said(HostMemory::new(0)).kind(), ErrorKind::Invalid);
        assert_eq!(
            said(HostMemory::new(4096).on_huge_pages()).to_string(),
            "a region of 4096 bytes, expected a multiple of the huge page's 2097152"
        );
        let all = said(HostMemory::new(1 << 50));
        assert!(matches!(all.kind(), ErrorKind::Exhausted | ErrorKind::Unavailable), "{all}");
        assert_eq!(said(HostMemory::new(4096).on_node(1_000_000)).kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn nobody_else_can_write_it_or_make_it_shorter() {
        let region = Region::memfd(8192).unwrap();
        let fd = region.fd().unwrap();
        assert!(ftruncate(fd, 4096).is_err());
        assert!(Mapping::new(fd, 8192, Access::Write).is_err());
        assert!(Mapping::new(fd, 8192, Access::Read).is_ok());
    }
}
