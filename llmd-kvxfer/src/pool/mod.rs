//! A region that an agent knows, and how it is laid out.

mod board;
mod seals;

use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

pub(crate) use self::board::{Board, BoardView, slots};
pub(crate) use self::seals::{Seals, SealsView, Ticket};
#[cfg(feature = "nixl")]
pub(crate) use self::{board::standing, seals::sealed_since};
use crate::copy::{Packed, sum_of};
use crate::device::{BUFFER_BYTES, CopyEngine, MAX_BUFFER_BYTES};
use crate::layout::KvLayout;
use crate::plan::Plan;
use crate::region::Region;

/// A region that an agent knows, with its layout: what blocks are granted of and fetched into. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    id: u32,
    tenant: String,
    region: Region,
    layout: KvLayout,
    /// From the layout to itself: the order in which a block's bytes are summed.
    own: Plan,
    seals: Arc<Seals>,
    moved: Option<Moved>,
}

/// How blocks get out of a device.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) engine: Arc<CopyEngine>,
    /// One behind the other.
    pub(crate) packed: Packed,
}

impl Pool {
    pub(crate) fn new(id: u32, tenant: &str, region: Region, layout: KvLayout) -> Result<Self> {
        Self::made(id, tenant, region, layout, None)
    }

    /// One of a region that is in a device, which this copies for.
    pub(crate) fn moved_by(
        engine: Arc<CopyEngine>,
        id: u32,
        tenant: &str,
        region: Region,
        layout: KvLayout,
    ) -> Result<Self> {
        let packed = Packed::new(&layout, &layout, BUFFER_BYTES, MAX_BUFFER_BYTES)?;
        Self::made(id, tenant, region, layout, Some(Moved { engine, packed }))
    }

    fn made(id: u32, tenant: &str, region: Region, layout: KvLayout, moved: Option<Moved>) -> Result<Self> {
        if layout.end() > region.len() as u64 {
            let message = format!(
                "a region of {} bytes, expected the {} that its layout of {} has",
                region.len(),
                layout.end(),
                layout.shape()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let own = Plan::new(&layout, &layout)?;
        let seals = Arc::new(Seals::new(layout.shape().blocks)?);
        Ok(Self(Arc::new(Registered { id, tenant: tenant.to_owned(), region, layout, own, seals, moved })))
    }

    /// Its number in its agent; one that was unregistered is not used again.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Whose it is: nobody of another tenant is served of it.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// The memory.
    pub fn region(&self) -> &Region {
        &self.0.region
    }

    /// How it is laid out.
    pub fn layout(&self) -> &KvLayout {
        &self.0.layout
    }

    /// Copies a block's content out of the pool, in the order in which it lies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a block that is not there.
    pub fn read_block(&self, block: u32) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        for piece in self.0.own.copies(&[block], &[block])? {
            let start = content.len();
            content.resize(start + piece.len as usize, 0);
            self.0.region.read(piece.from as usize, &mut content[start..])?;
        }
        Ok(content)
    }

    /// Copies a block's content into the pool, in the order in which it lies there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a block that is not there and for content of another length.
    pub fn write_block(&self, block: u32, content: &[u8]) -> Result<()> {
        let expected = self.0.layout.block_bytes();
        if content.len() as u64 != expected {
            let message = format!("{} bytes for block {block}, expected {expected}", content.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut rest = content;
        for piece in self.0.own.copies(&[block], &[block])? {
            let (run, after) = rest.split_at(piece.len as usize);
            self.0.region.write(piece.to as usize, run)?;
            rest = after;
        }
        Ok(())
    }

    /// Whether the sum of a block that is lent has been taken. Whoever fetches it sooner waits for that.
    pub fn is_sealed(&self, block: u32) -> bool {
        crate::copy::Expected::sum(&*self.0.seals, block).is_some()
    }

    pub(crate) fn own_plan(&self) -> &Plan {
        &self.0.own
    }

    pub(crate) fn seals(&self) -> &Arc<Seals> {
        &self.0.seals
    }

    /// How its blocks get out of the device that it is in.
    pub(crate) fn moved(&self) -> Option<&Moved> {
        self.0.moved.as_ref()
    }

    /// What copies for it, where it is in a device.
    pub(crate) fn engine(&self) -> Option<&Arc<CopyEngine>> {
        self.0.moved.as_ref().map(|moved| &moved.engine)
    }

    /// Takes the sum of a block that is to be sealed, and says it.
    pub(crate) fn seal(&self, block: u32, ticket: Ticket) -> Result<()> {
        let sum = sum_of(&self.0.own, &self.0.region, block)?;
        self.0.seals.seal(ticket, sum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvShape;

    #[test]
    fn a_blocks_content_comes_out_as_it_went_in() {
        let shape = KvShape { layers: 3, blocks: 5, heads: 2, tokens: 4, parts: 2, content: 16 };
        let layout = KvLayout::named("LBHNC", shape).unwrap().at_offset(100).unwrap();
        let pool = Pool::new(0, "", Region::memfd(layout.end() as usize).unwrap(), layout).unwrap();
        let content: Vec<u8> = (0..pool.layout().block_bytes()).map(|place| place as u8).collect();
        pool.write_block(4, &content).unwrap();
        assert_eq!(pool.read_block(4).unwrap(), content);
        assert!(pool.read_block(3).unwrap().iter().all(|&byte| byte == 0));
        assert_eq!(pool.read_block(5).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(pool.write_block(4, b"short").unwrap_err().to_string(), "5 bytes for block 4, expected 768");
    }

    #[test]
    fn a_region_that_is_too_short_is_refused() {
        let layout = KvLayout::opaque("amx", 4, 4096).unwrap();
        let said = Pool::new(0, "", Region::memfd(16_383).unwrap(), layout).unwrap_err();
        assert!(said.to_string().starts_with("a region of 16383 bytes, expected the 16384"), "{said}");
    }
}
