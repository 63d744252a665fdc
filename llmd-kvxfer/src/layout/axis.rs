//! The axes, and that what lies along them is apart.

use std::fmt;

use llmd_core::Result;

use super::{KvShape, invalid};

/// An axis along which a KV cache has several of something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a cache has these axes")]
pub enum Axis {
    /// The model's layers.
    Layer,
    /// The cache's blocks.
    Block,
    /// KV heads.
    Head,
    /// Tokens of a block.
    Token,
    /// Keys and values.
    Part,
}

impl Axis {
    /// Every axis; the place in here is [`index`](Self::index).
    pub const ALL: [Self; 5] = [Self::Layer, Self::Block, Self::Head, Self::Token, Self::Part];

    /// Its place among all.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As names of layouts have it.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Layer => 'L',
            Self::Block => 'B',
            Self::Head => 'H',
            Self::Token => 'N',
            Self::Part => 'P',
        }
    }
}

/// What there are several of.
impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layer => "layers",
            Self::Block => "blocks",
            Self::Head => "heads",
            Self::Token => "tokens",
            Self::Part => "parts",
        })
    }
}

/// Refuses strides by which two parts would lie on the same byte: from the nearest neighbours on, what lies within each must fit
/// between it and the next.
pub(super) fn disjoint(shape: &KvShape, strides: &[u64; Axis::ALL.len()]) -> Result<()> {
    let mut axes = Axis::ALL;
    axes.sort_by_key(|axis| strides[axis.index()]);
    let mut within = u64::from(shape.content);
    for axis in axes.into_iter().filter(|&axis| shape.len(axis) > 1) {
        let stride = strides[axis.index()];
        if stride < within {
            return Err(invalid(format!(
                "{axis} {stride} bytes apart, expected at least the {within} that lie within one"
            )));
        }
        // What checks the extent has seen that this fits.
        within += u64::from(shape.len(axis) - 1) * stride;
    }
    Ok(())
}
