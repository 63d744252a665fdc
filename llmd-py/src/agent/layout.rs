//! Where each part of a KV cache lies in memory.

use llmd_kvxfer::{Axis, KvShape};
use pyo3::prelude::*;

use crate::error::raise;
use crate::whole::{Whole, named};

/// Where each part of a KV cache lies in memory, as one engine has it: `offset + Σ index · stride` over layers, blocks, heads, tokens
/// and parts, and there `content` bytes that follow each other.
///
/// Made by `named`, `strided` or `block_major`. Nothing is moved between layouts whose contents differ in size or `format`, which is
/// compared and means nothing else; `first_layer` and `first_head` say which of the model's these are, in shards.
#[pyclass(frozen, eq, hash, module = "llmd_py")]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct KvLayout(pub(crate) llmd_kvxfer::KvLayout);

/// How much there is of each axis, as it was given.
#[derive(Debug)]
struct Shape {
    layers: Whole,
    blocks: Whole,
    heads: Whole,
    tokens: Whole,
    parts: Whole,
    content: Whole,
}

impl Shape {
    fn read(self) -> PyResult<KvShape> {
        Ok(KvShape {
            layers: self.layers.named("layers")?,
            blocks: self.blocks.named("blocks")?,
            heads: self.heads.named("heads")?,
            tokens: self.tokens.named("tokens")?,
            parts: self.parts.named("parts")?,
            content: self.content.named("content")?,
        })
    }
}

/// Which part of a model's cache it is, and of what.
#[derive(Debug)]
struct Part<'a> {
    format: &'a str,
    offset: Option<Whole>,
    first_layer: Option<Whole>,
    first_head: Option<Whole>,
}

impl Part<'_> {
    fn of(self, layout: llmd_core::Result<llmd_kvxfer::KvLayout>) -> PyResult<KvLayout> {
        let layout = layout.map_err(raise)?.of_format(self.format);
        let layout = layout.from_layer(named(self.first_layer, "first_layer")?.unwrap_or_default());
        let layout = layout.from_head(named(self.first_head, "first_head")?.unwrap_or_default());
        layout.at_offset(named(self.offset, "offset")?.unwrap_or_default()).map(KvLayout).map_err(raise)
    }
}

#[pymethods]
impl KvLayout {
    /// The layout that vLLM calls by this name: an order of L (layers), B (blocks), H (heads), N (tokens of a block) that ends with C,
    /// outermost first, such as `"LBNHC"` (NHD) or `"LBHNC"` (HND). Parts (keys and values) stand inside C unless the name says where
    /// else, as P: `"LPBNHC"`. `content` is the bytes of one token's key, or value, or latent, of one head and layer.
    ///
    /// Raises `InvalidError` for another name, and an axis of which there is nothing.
    #[staticmethod]
    #[pyo3(signature = (
        name, *, layers, blocks, heads, tokens, parts, content, format="", offset=None, first_layer=None, first_head=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn named(
        name: &str,
        layers: Whole,
        blocks: Whole,
        heads: Whole,
        tokens: Whole,
        parts: Whole,
        content: Whole,
        format: &str,
        offset: Option<Whole>,
        first_layer: Option<Whole>,
        first_head: Option<Whole>,
    ) -> PyResult<Self> {
        let shape = Shape { layers, blocks, heads, tokens, parts, content }.read()?;
        Part { format, offset, first_layer, first_head }.of(llmd_kvxfer::KvLayout::named(name, shape))
    }

    /// The layout with these strides, in bytes, of layers, blocks, heads, tokens and parts.
    ///
    /// Raises `InvalidError` for an axis of which there is nothing, and strides by which two parts would lie on the same byte.
    #[staticmethod]
    #[pyo3(signature = (
        strides, *, layers, blocks, heads, tokens, parts, content, format="", offset=None, first_layer=None, first_head=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn strided(
        strides: (Whole, Whole, Whole, Whole, Whole),
        layers: Whole,
        blocks: Whole,
        heads: Whole,
        tokens: Whole,
        parts: Whole,
        content: Whole,
        format: &str,
        offset: Option<Whole>,
        first_layer: Option<Whole>,
        first_head: Option<Whole>,
    ) -> PyResult<Self> {
        let shape = Shape { layers, blocks, heads, tokens, parts, content }.read()?;
        let (layer, block, head, token, part) = strides;
        let strides: [u64; Axis::ALL.len()] = [
            layer.named("stride of layers")?,
            block.named("stride of blocks")?,
            head.named("stride of heads")?,
            token.named("stride of tokens")?,
            part.named("stride of parts")?,
        ];
        let layout = llmd_kvxfer::KvLayout::strided(shape, |axis| strides[axis.index()]);
        Part { format, offset, first_layer, first_head }.of(layout)
    }

    /// Blocks of `block_bytes` each, one after the other, of whose inside nothing is known: they are moved whole, and only to blocks
    /// of the same format and size.
    ///
    /// Raises `InvalidError` when there are no blocks, or blocks of no bytes.
    #[staticmethod]
    #[pyo3(signature = (*, blocks, block_bytes, format="", offset=None))]
    fn block_major(blocks: Whole, block_bytes: Whole, format: &str, offset: Option<Whole>) -> PyResult<Self> {
        let (blocks, bytes) = (blocks.named("blocks")?, block_bytes.named("block_bytes")?);
        let layout = llmd_kvxfer::KvLayout::opaque(format, blocks, bytes);
        Part { format, offset, first_layer: None, first_head: None }.of(layout)
    }

    /// How many layers.
    #[getter]
    fn layers(&self) -> u32 {
        self.0.shape().layers
    }

    /// How many blocks.
    #[getter]
    fn blocks(&self) -> u32 {
        self.0.shape().blocks
    }

    /// How many KV heads.
    #[getter]
    fn heads(&self) -> u32 {
        self.0.shape().heads
    }

    /// How many tokens a block has.
    #[getter]
    fn tokens(&self) -> u32 {
        self.0.shape().tokens
    }

    /// 2 where keys and values are kept, 1 for a latent.
    #[getter]
    fn parts(&self) -> u32 {
        self.0.shape().parts
    }

    /// Bytes of one token's key, or value, or latent, of one head and layer.
    #[getter]
    fn content(&self) -> u32 {
        self.0.shape().content
    }

    /// What the content is.
    #[getter]
    fn format(&self) -> &str {
        self.0.format()
    }

    /// Where the first byte is.
    #[getter]
    fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// The first of its layers, of the model's.
    #[getter]
    fn first_layer(&self) -> u32 {
        self.0.first_layer()
    }

    /// The first of its heads, of the model's.
    #[getter]
    fn first_head(&self) -> u32 {
        self.0.first_head()
    }

    /// How many bytes further on the next layer, block, head, token and part lies.
    #[getter]
    fn strides(&self) -> (u64, u64, u64, u64, u64) {
        let [layer, block, head, token, part] = Axis::ALL.map(|axis| self.0.stride(axis));
        (layer, block, head, token, part)
    }

    /// Whether nothing is known of the inside of its blocks.
    #[getter]
    fn opaque(&self) -> bool {
        self.0.is_opaque()
    }

    /// How many bytes of content a block has.
    #[getter]
    fn block_bytes(&self) -> u64 {
        self.0.block_bytes()
    }

    /// How many bytes the memory must have: where the last byte ends.
    #[getter]
    fn end(&self) -> u64 {
        self.0.end()
    }

    fn __repr__(&self) -> String {
        let shape = self.0.shape();
        if self.0.is_opaque() {
            return format!("<KvLayout of {} blocks of {} bytes>", shape.blocks, shape.content);
        }
        format!("<KvLayout of {shape}>")
    }
}
