//! Where each part of a KV cache lies in memory.

mod axis;
mod code;
mod name;

use std::fmt;

use llmd_core::{Error, ErrorKind, Result};

pub use self::axis::Axis;

/// How much there is of each axis of a KV cache, in one engine's shard of one cache group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "vLLM's view of a layer has these axes")]
pub struct KvShape {
    /// Layers.
    pub layers: u32,
    /// Blocks.
    pub blocks: u32,
    /// KV heads; 1 for MLA's latent.
    pub heads: u32,
    /// Tokens per block.
    pub tokens: u32,
    /// 2 where keys and values are kept, 1 for MLA's latent.
    pub parts: u32,
    /// Bytes of one token's key, or value, or latent, of one head and layer.
    pub content: u32,
}

/// Where each part of a KV cache lies in memory: `offset + Σ index · stride` over five axes, and there `content` bytes that
/// follow each other.
///
/// Made by [`named`](Self::named) from the name of an order, or from [strides](Self::strided), as vLLM's page tables have them. It
/// says as well which layers and heads of the model these are ([`from_layer`](Self::from_layer), [`from_head`](Self::from_head)),
/// and what the content is ([`of_format`](Self::of_format)): nothing is copied between contents that differ.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KvLayout {
    shape: KvShape,
    offset: u64,
    /// By [`Axis::index`].
    strides: [u64; Axis::ALL.len()],
    first_layer: u32,
    first_head: u32,
    format: String,
    is_opaque: bool,
}

/// Where the last byte of a cache may be, so that no sum of offsets goes beyond what a number holds.
const MAX_BYTES: u64 = 1 << 63;

impl KvLayout {
    /// The layout that vLLM calls by this name: a permutation of the axes L (layers), B (blocks), H (heads), N (tokens of a block)
    /// that ends with C, outermost first, such as `LBNHC` ("NHD"), `LBHNC` ("HND") or `BLHNC` (all layers of a block together).
    /// Parts stand inside C, so that a token's key comes before its value, unless the name says where else they are, as P: `LPBNHC`
    /// keeps the keys of a layer apart from its values. Nothing lies between.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for another name, an axis of which there is nothing, and more bytes than 2⁶³.
    pub fn named(name: &str, shape: KvShape) -> Result<Self> {
        let order = name::order(name)?;
        let mut strides = [0; Axis::ALL.len()];
        let mut bytes = u64::from(shape.content);
        for axis in order.into_iter().rev() {
            strides[axis.index()] = bytes;
            bytes = bytes.checked_mul(shape.len(axis).into()).ok_or_else(|| too_large(&shape))?;
        }
        Self::checked(shape, strides)
    }

    /// The layout with these strides, in bytes, of [each axis](Axis::ALL).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an axis of which there is nothing, more bytes than 2⁶³, and strides by which two parts would lie
    /// on the same byte.
    pub fn strided(shape: KvShape, strides: impl Fn(Axis) -> u64) -> Result<Self> {
        Self::checked(shape, Axis::ALL.map(strides))
    }

    /// Blocks of this many bytes, one after the other, of whose inside nothing is known. They are copied whole, and only to blocks
    /// of the same format and size.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there are no blocks, or blocks of no bytes.
    pub fn opaque(format: impl Into<String>, blocks: u32, block_bytes: u32) -> Result<Self> {
        let shape = KvShape { layers: 1, blocks, heads: 1, tokens: 1, parts: 1, content: block_bytes };
        Ok(Self { format: format.into(), is_opaque: true, ..Self::named("LBHNC", shape)? })
    }

    /// The same, beginning at this byte of the memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it would end beyond 2⁶³ bytes.
    pub fn at_offset(self, offset: u64) -> Result<Self> {
        let moved = Self { offset, ..self };
        if moved.end() > MAX_BYTES { Err(too_large(&moved.shape)) } else { Ok(moved) }
    }

    /// The same, whose first layer is this one of the model: a shard of a pipeline.
    #[must_use]
    pub fn from_layer(self, first_layer: u32) -> Self {
        Self { first_layer, ..self }
    }

    /// The same, whose first head is this one of the model: a shard of tensor parallelism. Where there are more shards than heads,
    /// several have the same one.
    #[must_use]
    pub fn from_head(self, first_head: u32) -> Self {
        Self { first_head, ..self }
    }

    /// The same, with content of this format, such as `bfloat16` or `fp8_e4m3`. Formats are compared, and mean nothing else.
    #[must_use]
    pub fn of_format(self, format: impl Into<String>) -> Self {
        Self { format: format.into(), ..self }
    }

    /// How much there is of each axis.
    pub const fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// What the content is.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// Whether nothing is known of the inside of its blocks.
    pub const fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    /// The first of its layers, of the model's.
    pub const fn first_layer(&self) -> u32 {
        self.first_layer
    }

    /// The first of its heads, of the model's.
    pub const fn first_head(&self) -> u32 {
        self.first_head
    }

    /// Where the first byte of the cache is.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes further on the next of an axis lies.
    pub const fn stride(&self, axis: Axis) -> u64 {
        self.strides[axis.index()]
    }

    /// How many bytes the memory must have: where the last byte ends.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.shape.extent(&self.strides).unwrap_or(u64::MAX))
    }

    /// How many bytes of content a block has, in all layers, heads and tokens.
    pub fn block_bytes(&self) -> u64 {
        let KvShape { layers, heads, tokens, parts, content, .. } = self.shape;
        [layers, heads, tokens, parts, content].into_iter().map(u64::from).product()
    }

    /// The same content, of so many blocks that lie one after the other, `offset` bytes from the beginning: the bytes of each in the
    /// order in which they lie in this one.
    #[cfg(feature = "nixl")]
    pub(crate) fn packed(&self, blocks: u32, offset: u64) -> Result<Self> {
        let shape = KvShape { blocks, ..self.shape };
        let mut axes = Axis::ALL;
        axes.sort_by_key(|axis| (*axis == Axis::Block, self.stride(*axis)));
        let mut strides = [0; Axis::ALL.len()];
        let mut bytes = u64::from(shape.content);
        for axis in axes {
            strides[axis.index()] = bytes;
            bytes = bytes.checked_mul(shape.len(axis).into()).ok_or_else(|| too_large(&shape))?;
        }
        let packed = Self::checked(shape, strides)?;
        let (first_layer, first_head) = (self.first_layer, self.first_head);
        let (format, is_opaque) = (self.format.clone(), self.is_opaque);
        Self { first_layer, first_head, format, is_opaque, ..packed }.at_offset(offset)
    }

    fn checked(shape: KvShape, strides: [u64; Axis::ALL.len()]) -> Result<Self> {
        if let Some(axis) = Axis::ALL.into_iter().find(|&axis| shape.len(axis) == 0) {
            return Err(invalid(format!("0 {axis}, expected at least 1")));
        }
        if shape.content == 0 {
            return Err(invalid("a content of 0 bytes, expected at least 1".into()));
        }
        if shape.extent(&strides).is_none_or(|bytes| bytes > MAX_BYTES) {
            return Err(too_large(&shape));
        }
        axis::disjoint(&shape, &strides)?;
        let format = String::new();
        Ok(Self { shape, offset: 0, strides, first_layer: 0, first_head: 0, format, is_opaque: false })
    }
}

impl KvShape {
    /// How much there is of an axis.
    pub const fn len(&self, axis: Axis) -> u32 {
        match axis {
            Axis::Layer => self.layers,
            Axis::Block => self.blocks,
            Axis::Head => self.heads,
            Axis::Token => self.tokens,
            Axis::Part => self.parts,
        }
    }

    /// How many bytes lie between the first of the first and the last of the last; `None` when that is more than a number holds.
    fn extent(&self, strides: &[u64; Axis::ALL.len()]) -> Option<u64> {
        Axis::ALL.into_iter().try_fold(u64::from(self.content), |bytes, axis| {
            let last = u64::from(self.len(axis)).checked_sub(1)?;
            bytes.checked_add(last.checked_mul(strides[axis.index()])?)
        })
    }
}

/// As vLLM writes shapes: `2 layers × 28 blocks × 2 heads × 32 tokens × 2 parts × 128 bytes`.
impl fmt::Display for KvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for axis in Axis::ALL {
            write!(f, "{} {axis} × ", self.len(axis))?;
        }
        write!(f, "{} bytes", self.content)
    }
}

fn too_large(shape: &KvShape) -> Error {
    invalid(format!("a cache of {shape}, expected one that ends within 2^63 bytes"))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape { layers: 3, blocks: 7, heads: 2, tokens: 16, parts: 2, content: 256 };

    fn strides(layout: &KvLayout) -> [u64; 5] {
        Axis::ALL.map(|axis| layout.stride(axis))
    }

    #[test]
    fn a_name_says_what_follows_what() {
        // Layers, blocks, heads, tokens, parts.
        let table = [
            ("LBNHC", [7 * 16_384, 16_384, 512, 1024, 256]),
            ("LBHNC", [7 * 16_384, 16_384, 8192, 512, 256]),
            ("LHBNC", [7 * 16_384, 8192, 57_344, 512, 256]),
            ("BLHNC", [16_384, 3 * 16_384, 8192, 512, 256]),
            ("BLNHC", [16_384, 3 * 16_384, 512, 1024, 256]),
            ("BHLNC", [8192, 3 * 16_384, 3 * 8192, 512, 256]),
            ("LPBNHC", [7 * 16_384, 8192, 256, 512, 7 * 8192]),
            ("NHD", [7 * 16_384, 16_384, 512, 1024, 256]),
            ("HND", [7 * 16_384, 16_384, 8192, 512, 256]),
        ];
        for (name, expected) in table {
            let layout = KvLayout::named(name, SHAPE).unwrap();
            assert_eq!(strides(&layout), expected, "{name}");
            assert_eq!(layout.end(), 3 * 7 * 16_384, "nothing lies between");
            assert_eq!(layout.block_bytes(), 3 * 16_384);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let said = |layout: Result<KvLayout>| layout.unwrap_err().to_string();
        assert_eq!(
            said(KvLayout::named("LBNH", SHAPE)),
            "layout `LBNH`, expected an order of L, B, H, N and perhaps P that ends with C, such as LBNHC, or NHD or HND"
        );
        for name in ["", "LBNHCC", "LLNHC", "LBNHCP", "lbnhc", "LBNHXC"] {
            assert!(KvLayout::named(name, SHAPE).is_err(), "{name}");
        }
        assert_eq!(said(KvLayout::named("LBNHC", KvShape { heads: 0, ..SHAPE })), "0 heads, expected at least 1");
        assert_eq!(
            said(KvLayout::named("LBNHC", KvShape { content: 0, ..SHAPE })),
            "a content of 0 bytes, expected at least 1"
        );
        let huge = KvShape { layers: u32::MAX, blocks: u32::MAX, ..SHAPE };
        assert!(said(KvLayout::named("LBNHC", huge)).ends_with("expected one that ends within 2^63 bytes"));
        assert!(said(KvLayout::strided(SHAPE, |_| u64::MAX)).ends_with("expected one that ends within 2^63 bytes"));
    }

    #[test]
    fn strides_by_which_parts_would_overlap_are_refused() {
        let packed = KvLayout::named("LBNHC", SHAPE).unwrap();
        let padded = |axis: Axis| packed.stride(axis) * if axis == Axis::Layer { 2 } else { 1 };
        assert_eq!(KvLayout::strided(SHAPE, padded).unwrap().end(), 5 * 7 * 16_384);
        let tight = |axis: Axis| packed.stride(axis) - u64::from(axis == Axis::Block);
        assert_eq!(
            KvLayout::strided(SHAPE, tight).unwrap_err().to_string(),
            "blocks 16383 bytes apart, expected at least the 16384 that lie within one"
        );
    }

    #[test]
    fn an_offset_moves_all_of_it() {
        let layout = KvLayout::named("LBNHC", SHAPE).unwrap();
        let moved = layout.clone().at_offset(100).unwrap();
        assert_eq!((moved.offset(), moved.end()), (100, layout.end() + 100));
        assert!(layout.at_offset(u64::MAX).unwrap_err().to_string().ends_with("ends within 2^63 bytes"));
    }

    #[test]
    #[cfg(feature = "nixl")]
    fn a_packed_block_has_its_bytes_in_the_order_in_which_they_lay() {
        let layout = KvLayout::named("LPBNHC", SHAPE).unwrap().from_head(4).of_format("fp8");
        let packed = layout.packed(5, 100).unwrap();
        assert_eq!(strides(&packed), [16_384, 3 * 16_384, 256, 512, 8192]);
        assert_eq!((packed.offset(), packed.end()), (100, 100 + 5 * 3 * 16_384));
        assert_eq!((packed.first_head(), packed.format()), (4, "fp8"));
    }

    #[test]
    fn an_axis_of_one_may_have_any_stride() {
        let shape = KvShape { parts: 1, heads: 1, ..SHAPE };
        let packed = KvLayout::named("LBNHC", shape).unwrap();
        let nothing = |axis: Axis| if shape.len(axis) == 1 { 0 } else { packed.stride(axis) };
        assert_eq!(KvLayout::strided(shape, nothing).unwrap().end(), packed.end());
    }
}
