//! Where each part of a KV cache lies in memory.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use llmd_core::Result;
use llmd_kvxfer::{Axis, KvLayout, KvShape};

use crate::boundary::made;
use crate::error::llmd_error;
use crate::given::{items, text, text_or_null};
use crate::quiet::quietly;
use crate::sized::{Settings, Sizes, settings};

/// Where each part of a KV cache lies in memory: `offset + sum of index * stride` over layers, blocks, heads, tokens and parts, and
/// there `content` bytes that follow each other.
#[derive(Debug)]
pub struct llmd_layout(pub(crate) KvLayout);

/// How many axes a layout has.
pub const LLMD_AXES: usize = 5;

/// How much there is of each axis, and which part of a model's cache it is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_shape {
    /// sizeof(llmd_shape).
    pub struct_size: usize,
    /// Layers. Default: 1.
    pub layers: u32,
    /// Blocks.
    pub blocks: u32,
    /// KV heads. Default: 1.
    pub heads: u32,
    /// Tokens per block. Default: 1.
    pub tokens: u32,
    /// 2 where keys and values are kept, 1 for a latent. Default: 1.
    pub parts: u32,
    /// Bytes of one token's key, or value, or latent, of one head and layer.
    pub content: u32,
    /// Where the first byte is.
    pub offset: u64,
    /// The first of its layers, of the model's.
    pub first_layer: u32,
    /// The first of its heads, of the model's.
    pub first_head: u32,
    /// What the content is, such as `bfloat16`: nothing is moved between formats that differ. Default: the empty text.
    pub format: *const c_char,
}

impl Sizes for llmd_shape {
    const NAME: &'static str = "llmd_shape";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_shape {}

/// The layout that vLLM calls by this name: an order of L (layers), B (blocks), H (heads), N (tokens) that ends with C, outermost
/// first, such as `LBNHC` (NHD) or `LBHNC` (HND); P says where keys and values stand, if not inside C. NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_layout_named(
    name: *const c_char,
    shape: *const llmd_shape,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_layout>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let name = unsafe { text(name, "name") }?;
        // SAFETY: as above.
        unsafe { placed(shape, |shape| KvLayout::named(name, shape)) }
    })
}

/// The layout with these LLMD_AXES strides, in bytes, of layers, blocks, heads, tokens and parts. NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_layout_strided(
    strides: *const u64,
    shape: *const llmd_shape,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_layout>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let strides = unsafe { items(strides, LLMD_AXES, "strides") }?;
        // SAFETY: as above.
        unsafe { placed(shape, |shape| KvLayout::strided(shape, |axis| strides[axis.index()])) }
    })
}

/// `blocks` blocks of `block_bytes` each, one after the other, of whose inside nothing is known: they are moved whole, and only to
/// blocks of the same size and `format`, which may be NULL. NULL when it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_layout_block_major(
    blocks: u32,
    block_bytes: u32,
    format: *const c_char,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> Option<Box<llmd_layout>> {
    made(error, || {
        // SAFETY: as llmd.h says.
        let format = unsafe { text_or_null(format, "format") }?.unwrap_or_default();
        KvLayout::opaque(format, blocks, block_bytes).map(llmd_layout)
    })
}

/// The layout of a shape, where it says that it is.
///
/// # Safety
///
/// `shape` is as `llmd.h` says.
unsafe fn placed(shape: *const llmd_shape, layout: impl FnOnce(KvShape) -> Result<KvLayout>) -> Result<llmd_layout> {
    const { assert!(Axis::ALL.len() == LLMD_AXES, "every axis has a stride") }
    // SAFETY: the caller's promise is the same, for the struct and for all that it points to.
    let (given, format) = unsafe {
        let given = settings(shape)?;
        (given, text_or_null(given.format, "format")?.unwrap_or_default())
    };
    let or_one = |value: u32| if value == 0 { 1 } else { value };
    let shape = KvShape {
        layers: or_one(given.layers),
        blocks: given.blocks,
        heads: or_one(given.heads),
        tokens: or_one(given.tokens),
        parts: or_one(given.parts),
        content: given.content,
    };
    let layout = layout(shape)?.of_format(format).from_layer(given.first_layer).from_head(given.first_head);
    layout.at_offset(given.offset).map(llmd_layout)
}

/// How many bytes of content a block has. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_layout_block_bytes(layout: Option<&llmd_layout>) -> u64 {
    layout.map_or(0, |layout| layout.0.block_bytes())
}

/// How many bytes the memory must have: where the last byte ends. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_layout_end(layout: Option<&llmd_layout>) -> u64 {
    layout.map_or(0, |layout| layout.0.end())
}

/// Frees a layout. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_layout_free(layout: Option<Box<llmd_layout>>) {
    quietly((), || drop(layout));
}
