//! A layout as bytes.

use llmd_core::Result;

use super::{Axis, KvLayout, KvShape};
use crate::wire::{Reader, Writer};

/// How long the name of a format may be.
const MAX_FORMAT: usize = 256;

impl KvLayout {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let KvShape { layers, blocks, heads, tokens, parts, content } = self.shape;
        for count in [layers, blocks, heads, tokens, parts, content, self.first_layer, self.first_head] {
            writer.number(count.into());
        }
        writer.number(self.offset);
        for stride in self.strides {
            writer.number(stride);
        }
        writer.byte(self.is_opaque.into());
        let end = (0..=self.format.len().min(MAX_FORMAT)).rev().find(|&end| self.format.is_char_boundary(end));
        writer.text(&self.format[..end.unwrap_or_default()]);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut counts = [0; 8];
        for count in &mut counts {
            *count = reader.small("layout")?;
        }
        let [layers, blocks, heads, tokens, parts, content, first_layer, first_head] = counts;
        let shape = KvShape { layers, blocks, heads, tokens, parts, content };
        let offset = reader.number("layout")?;
        let mut strides = [0; Axis::ALL.len()];
        for stride in &mut strides {
            *stride = reader.number("layout")?;
        }
        let is_opaque = reader.at_most("layout", 1)? == 1;
        let format = reader.text("layout", MAX_FORMAT)?;
        let layout = Self::strided(shape, |axis| strides[axis.index()]).and_then(|layout| layout.at_offset(offset));
        let layout = layout.map_err(|error| reader.wrong("layout", format_args!("is of {error}")))?;
        Ok(Self { is_opaque, ..layout.of_format(format).from_layer(first_layer).from_head(first_head) })
    }
}
