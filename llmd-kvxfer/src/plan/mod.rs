//! Which bytes go where between two layouts.

mod copies;
mod piece;

use std::ops::Range;

use llmd_core::{Error, ErrorKind, Result};

pub use self::copies::{Copies, Copy};
use self::piece::Piece;
use crate::layout::{Axis, KvLayout};

/// Which bytes go where between the blocks of two layouts: made once for a pair of layouts, and used for any blocks.
///
/// What the two have in common is copied: of the model's layers and heads those that both shards hold, in whatever order each
/// has its axes. Blocks may have different numbers of tokens; then token `n` of what the blocks of one side hold, in the order in
/// which they are named, is token `n` of what those of the other side do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    from: Side,
    to: Side,
    /// What is copied in each period: the fewest blocks that hold as many tokens on both sides.
    pieces: Vec<Piece>,
    is_complete: bool,
    keeps_order: bool,
}

/// One side of a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Side {
    offset: u64,
    /// Where the last byte of its layout ends.
    end: u64,
    block_stride: u64,
    /// How many blocks there are.
    blocks: u32,
    /// Tokens per block.
    tokens: u32,
    /// Blocks of a period.
    period: usize,
}

/// How many pieces a period may have: blocks of 16 and 48 tokens have 3, and what needs more has sizes that nobody meant.
const MAX_PIECES: u64 = 4096;

impl Plan {
    /// What is copied from blocks of one layout to blocks of another.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when their contents differ in format, size or parts, when the inside of the blocks of only one
    /// is known, or when their blocks fit together only after more than 4,096 pieces.
    pub fn new(from: &KvLayout, to: &KvLayout) -> Result<Self> {
        alike(from, to)?;
        let (layers, heads) = (common(from, to, Axis::Layer), common(from, to, Axis::Head));
        let [a, b] = [from, to].map(|layout| u64::from(layout.shape().tokens));
        let period = a / gcd(a, b) * b;
        if period / a + period / b > MAX_PIECES {
            let message = format!("blocks of {a} and of {b} tokens, which fit together only after {period} tokens");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let is_complete = layers.len() == to.shape().layers as usize && heads.len() == to.shape().heads as usize;
        let mut pieces = Vec::new();
        let mut token = 0;
        while token < period && !layers.is_empty() && !heads.is_empty() {
            let next = (token / a + 1).saturating_mul(a).min((token / b + 1) * b);
            pieces.push(Piece::new(from, to, &layers, &heads, token..next));
            token = next;
        }
        let side = |layout: &KvLayout, tokens: u64| Side {
            offset: layout.offset(),
            end: layout.end(),
            block_stride: layout.stride(Axis::Block),
            blocks: layout.shape().blocks,
            tokens: layout.shape().tokens,
            period: (period / tokens) as usize,
        };
        let keeps_order = match &pieces[..] {
            [piece] => piece.bytes() == from.block_bytes() && piece.is_ascending(),
            _ => false,
        };
        Ok(Self { from: side(from, a), to: side(to, b), pieces, is_complete, keeps_order })
    }

    /// Plans from several shards by which all of `to` is filled, each with its place among `from`. Shards of which nothing is
    /// needed any more, such as others with the same heads, are left out.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`ErrorKind::Invalid`] when they do not hold all layers and heads together.
    pub fn cover(from: &[KvLayout], to: &KvLayout) -> Result<Vec<(usize, Self)>> {
        let first = (to.first_layer(), to.first_head());
        let mut missing = vec![true; to.shape().layers as usize * to.shape().heads as usize];
        let place = |layer: u32, head: u32| ((layer - first.0) * to.shape().heads + (head - first.1)) as usize;
        let mut plans = Vec::new();
        for (shard, layout) in from.iter().enumerate() {
            let (layers, heads) = (common(layout, to, Axis::Layer), common(layout, to, Axis::Head));
            let mut is_needed = false;
            for layer in layers {
                for head in heads.clone() {
                    is_needed |= std::mem::take(&mut missing[place(layer, head)]);
                }
            }
            if is_needed {
                plans.push((shard, Self::new(layout, to)?));
            }
        }
        match missing.iter().position(|&missing| missing) {
            None => Ok(plans),
            Some(place) => {
                let (layer, head) =
                    (place as u32 / to.shape().heads + first.0, place as u32 % to.shape().heads + first.1);
                let message =
                    format!("layer {layer}, head {head} is in none of {} shards, expected in one", from.len());
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Whether every layer and head of the blocks that are written is. Else others have to bring the rest.
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether each block goes whole, and its bytes in the order in which they lie: then what is summed while it is copied is the
    /// block.
    pub(crate) const fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    /// Where block `from` lies when all that is copied of a block is one run, as it does to `to`.
    pub(crate) fn run_of(&self, from: u32, to: u32) -> Option<Copy> {
        let [Piece { run, from: start, to: end, strides, .. }] = &self.pieces[..] else { return None };
        (strides.is_empty() && self.period() == (1, 1)).then(|| Copy {
            from: self.from.offset + u64::from(from) * self.from.block_stride + start,
            to: self.to.offset + u64::from(to) * self.to.block_stride + end,
            len: *run,
        })
    }

    /// How many blocks each side has in a period, those that are read first: what can be copied apart from the rest.
    pub(crate) const fn period(&self) -> (usize, usize) {
        (self.from.period, self.to.period)
    }

    /// How many bytes go in each period.
    pub(crate) fn period_bytes(&self) -> u64 {
        self.pieces.iter().map(Piece::bytes).sum()
    }

    /// How long the memory must be that is read, and the one that is written.
    pub(crate) const fn ends(&self) -> (u64, u64) {
        (self.from.end, self.to.end)
    }

    /// Whether the two have nothing in common.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The copies that bring what is in the blocks `from` into the blocks `to`, as few as there can be in this order. Neither list
    /// may name a block twice, or some tokens are written over others.
    ///
    /// Where the sides have different numbers of tokens per block, the last block of a side may have tokens that the other side
    /// has no room for; they are left.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a block that the layout does not have, and for lists one of which holds at least a block more than
    /// the other has room for.
    pub fn copies<'a>(&'a self, from: &'a [u32], to: &'a [u32]) -> Result<Copies<'a>> {
        for (side, blocks, what) in [(&self.from, from, "read"), (&self.to, to, "written")] {
            if let Some(block) = blocks.iter().find(|&&block| block >= side.blocks) {
                let message = format!("block {block} to be {what}, expected one below {}", side.blocks);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        let held = |side: &Side, blocks: &[u32]| blocks.len() as u64 * u64::from(side.tokens);
        let (read, written) = (held(&self.from, from), held(&self.to, to));
        let is_a_block_more = |more: u64, less: u64, block: u32| more >= less.saturating_add(block.into());
        if is_a_block_more(read, written, self.from.tokens) || is_a_block_more(written, read, self.to.tokens) {
            let message = format!(
                "{} blocks of {} tokens into {} of {}, expected as many as hold the same tokens",
                from.len(),
                self.from.tokens,
                to.len(),
                self.to.tokens
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Copies::new(self, from, to))
    }
}

/// Refuses contents of which one is not the other.
fn alike(from: &KvLayout, to: &KvLayout) -> Result<()> {
    let (a, b) = (from.shape(), to.shape());
    let differs = if from.is_opaque() != to.is_opaque() {
        Some("blocks of which the inside is known, and blocks of which it is not".to_owned())
    } else if from.format() != to.format() {
        Some(format!("content of format `{}` and of `{}`", from.format(), to.format()))
    } else if a.content != b.content {
        Some(format!("content of {} bytes and of {}", a.content, b.content))
    } else if a.parts != b.parts {
        Some(format!("content of {} parts and of {}", a.parts, b.parts))
    } else {
        None
    };
    differs
        .map_or(Ok(()), |differs| Err(Error::new(ErrorKind::Unsupported, format!("{differs}: neither is the other"))))
}

/// Of the model's layers or heads, those that both hold.
fn common(from: &KvLayout, to: &KvLayout, axis: Axis) -> Range<u32> {
    let range = |layout: &KvLayout| {
        let first = if axis == Axis::Layer { layout.first_layer() } else { layout.first_head() };
        first..first.saturating_add(layout.shape().len(axis))
    };
    let (a, b) = (range(from), range(to));
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvShape;

    const SHAPE: KvShape = KvShape { layers: 2, blocks: 8, heads: 4, tokens: 16, parts: 2, content: 64 };

    fn named(name: &str, shape: KvShape) -> KvLayout {
        KvLayout::named(name, shape).unwrap()
    }

    fn copies(plan: &Plan, from: &[u32], to: &[u32]) -> Vec<Copy> {
        plan.copies(from, to).unwrap().collect()
    }

    fn copy(from: u64, to: u64, len: u64) -> Copy {
        Copy { from, to, len }
    }

    #[test]
    fn whole_blocks_of_the_same_order_are_one_copy_each_and_neighbours_one_together() {
        let plan = Plan::new(&named("BLHNC", SHAPE), &named("BLHNC", SHAPE)).unwrap();
        let block = 2 * 4 * 16 * 2 * 64;
        assert_eq!(
            copies(&plan, &[5, 1, 2, 3], &[0, 4, 5, 7]),
            [copy(5 * block, 0, block), copy(block, 4 * block, 2 * block), copy(3 * block, 7 * block, block),]
        );
        let layers = Plan::new(&named("LBNHC", SHAPE), &named("LBNHC", SHAPE)).unwrap();
        let page = block / 2;
        assert_eq!(copies(&layers, &[3], &[1]), [copy(3 * page, page, page), copy(11 * page, 9 * page, page)]);
    }

    #[test]
    fn heads_go_to_the_shard_that_holds_them() {
        // Four heads of one engine to the second of two shards with two each.
        let half = KvShape { heads: 2, layers: 1, ..SHAPE };
        let whole = KvShape { layers: 1, ..SHAPE };
        let plan = Plan::new(&named("LBHNC", whole), &named("LBHNC", half).from_head(2)).unwrap();
        assert!(plan.is_complete());
        let head = 16 * 2 * 64;
        assert_eq!(copies(&plan, &[1], &[0]), [copy(4 * head + 2 * head, 0, 2 * head)]);
        let none = Plan::new(&named("LBHNC", whole), &named("LBHNC", half).from_head(4)).unwrap();
        assert!(none.is_empty() && !none.is_complete());
        assert_eq!(copies(&none, &[1], &[0]), []);
    }

    #[test]
    fn shards_cover_what_none_of_them_holds() {
        let shard = |head: u32, layer: u32| {
            named("LBHNC", KvShape { heads: 2, layers: 1, ..SHAPE }).from_head(head).from_layer(layer)
        };
        let to = named("BLHNC", SHAPE);
        // The second holds what the first does; the last holds nothing that is wanted.
        let from = [shard(0, 0), shard(0, 0), shard(2, 0), shard(0, 1), shard(2, 1), shard(2, 7)];
        let plans = Plan::cover(&from, &to).unwrap();
        assert_eq!(plans.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 2, 3, 4]);
        assert_eq!(
            Plan::cover(&from[..4], &to).unwrap_err().to_string(),
            "layer 1, head 2 is in none of 4 shards, expected in one"
        );
    }

    #[test]
    fn tokens_keep_their_order_in_blocks_of_another_size() {
        let (small, large) = (KvShape { tokens: 2, ..SHAPE }, KvShape { tokens: 3, ..SHAPE });
        let small = named("LBNHC", KvShape { layers: 1, ..small });
        let large = named("LBNHC", KvShape { layers: 1, ..large });
        let plan = Plan::new(&small, &large).unwrap();
        let token = 4 * 2 * 64;
        // Tokens 0 1 | 2 3 | 4 5 become 0 1 2 | 3 4 5; blocks 0, 1, 2 lie one after the other, and so do 6 and 7.
        assert_eq!(copies(&plan, &[0, 1, 2], &[6, 7]), [copy(0, 18 * token, 6 * token)]);
        assert_eq!(
            copies(&plan, &[2, 1, 0], &[7, 0]),
            [
                copy(4 * token, 21 * token, 2 * token),
                copy(2 * token, 23 * token, token),
                copy(3 * token, 0, token),
                copy(0, token, 2 * token),
            ]
        );
        assert_eq!(copies(&plan, &[0, 1], &[6, 7]), [copy(0, 18 * token, 4 * token)], "two tokens of room are left");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let said = |from: &KvLayout, to: &KvLayout| Plan::new(from, to).unwrap_err().to_string();
        let layout = named("LBNHC", SHAPE);
        let opaque = KvLayout::opaque("amx", 8, 4096).unwrap();
        assert_eq!(
            said(&layout, &opaque),
            "blocks of which the inside is known, and blocks of which it is not: neither is the other"
        );
        assert_eq!(
            said(&opaque, &KvLayout::opaque("vec", 8, 4096).unwrap()),
            "content of format `amx` and of `vec`: neither is the other"
        );
        assert_eq!(
            said(&opaque, &KvLayout::opaque("amx", 8, 8192).unwrap()),
            "content of 4096 bytes and of 8192: neither is the other"
        );
        assert_eq!(
            said(&layout, &named("LBNHC", KvShape { parts: 1, ..SHAPE })),
            "content of 2 parts and of 1: neither is the other"
        );
        let odd = named("LBNHC", KvShape { tokens: 4097, ..SHAPE });
        assert_eq!(said(&layout, &odd), "blocks of 16 and of 4097 tokens, which fit together only after 65552 tokens");

        let plan = Plan::new(&layout, &layout).unwrap();
        let said = |from: &[u32], to: &[u32]| plan.copies(from, to).unwrap_err().to_string();
        assert_eq!(said(&[8], &[0]), "block 8 to be read, expected one below 8");
        assert_eq!(said(&[0], &[9]), "block 9 to be written, expected one below 8");
        assert_eq!(said(&[0, 1], &[0]), "2 blocks of 16 tokens into 1 of 16, expected as many as hold the same tokens");
    }

    #[test]
    fn opaque_blocks_are_copied_whole() {
        let (from, to) = (KvLayout::opaque("amx", 8, 4096).unwrap(), KvLayout::opaque("amx", 4, 4096).unwrap());
        let to = to.at_offset(64).unwrap();
        let plan = Plan::new(&from, &to).unwrap();
        assert_eq!(copies(&plan, &[7, 0], &[1, 0]), [copy(7 * 4096, 64 + 4096, 4096), copy(0, 64, 4096)]);
    }
}
