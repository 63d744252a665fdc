//! Every plan against a copy byte by byte that knows nothing of runs.

use llmd_kvxfer::{Axis, KvLayout, KvShape, Plan};
use proptest::prelude::*;

const ORDERS: [&str; 8] = ["LBNHC", "LBHNC", "LHBNC", "BLHNC", "BLNHC", "BHLNC", "LPBNHC", "PBLHNC"];

/// What was never written.
const NOTHING: u8 = 0xaa;

/// What the two sides share.
#[derive(Clone, Debug)]
struct Contents {
    parts: u32,
    content: u32,
}

#[derive(Clone, Debug)]
struct Side {
    layout: KvLayout,
    blocks: Vec<u32>,
}

fn contents() -> impl Strategy<Value = Contents> {
    (1..=2_u32, 1..=5_u32).prop_map(|(parts, content)| Contents { parts, content })
}

fn side(contents: Contents) -> impl Strategy<Value = Side> {
    let Contents { parts, content } = contents;
    let extents = (1..=3_u32, 1..=5_u32, 1..=4_u32, 1..=6_u32);
    let shape = extents.prop_map(move |(layers, blocks, heads, tokens)| KvShape {
        layers,
        blocks,
        heads,
        tokens,
        parts,
        content,
    });
    (shape, 0..ORDERS.len(), 0..=2_u32, 0..=2_u32, 0..=9_u64, 1..=2_u64).prop_flat_map(
        |(shape, order, layer, head, offset, pad)| {
            let packed = KvLayout::named(ORDERS[order], shape).expect("a known order");
            // A larger stride everywhere leaves gaps between all that is not content.
            let padded =
                KvLayout::strided(shape, |axis: Axis| packed.stride(axis) * pad).expect("gaps overlap nothing");
            let layout = padded.from_layer(layer).from_head(head).at_offset(offset).expect("it is small");
            let all: Vec<u32> = (0..shape.blocks).collect();
            let blocks = Just(all).prop_shuffle();
            blocks.prop_map(move |blocks| Side { layout: layout.clone(), blocks })
        },
    )
}

/// Where a byte is: of a token of the side's blocks, taken together in their order, of a layer and a head of the model.
fn address(side: &Side, token: u32, layer: u32, head: u32, part: u32, byte: u32) -> Option<usize> {
    let (layout, shape) = (&side.layout, side.layout.shape());
    let block = *side.blocks.get((token / shape.tokens) as usize)?;
    let layer = layer.checked_sub(layout.first_layer()).filter(|&layer| layer < shape.layers)?;
    let head = head.checked_sub(layout.first_head()).filter(|&head| head < shape.heads)?;
    let places = [layer, block, head, token % shape.tokens, part];
    let along = |(axis, place): (Axis, u32)| layout.stride(axis) * u64::from(place);
    Some((layout.offset() + Axis::ALL.into_iter().zip(places).map(along).sum::<u64>() + u64::from(byte)) as usize)
}

fn copied_one_by_one(from: &Side, to: &Side, memory: &[u8]) -> Vec<u8> {
    let mut written = vec![NOTHING; to.layout.end() as usize];
    let shape = to.layout.shape();
    for token in 0..64 {
        for (layer, head) in (0..8).flat_map(|layer| (0..8).map(move |head| (layer, head))) {
            for (part, byte) in (0..shape.parts).flat_map(|part| (0..shape.content).map(move |byte| (part, byte))) {
                let at = |side| address(side, token, layer, head, part, byte);
                if let (Some(read), Some(write)) = (at(from), at(to)) {
                    written[write] = memory[read];
                }
            }
        }
    }
    written
}

/// As many blocks of each as hold the same tokens, and part of one more on one side.
fn fitted(mut from: Side, mut to: Side) -> (Side, Side) {
    let (a, b) = (from.layout.shape().tokens as usize, to.layout.shape().tokens as usize);
    let tokens = (from.blocks.len() * a).min(to.blocks.len() * b);
    from.blocks.truncate(tokens.div_ceil(a));
    to.blocks.truncate(tokens.div_ceil(b));
    (from, to)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_copies_what_a_copy_byte_by_byte_does(
        (from, to) in contents().prop_flat_map(|contents| (side(contents.clone()), side(contents))),
    ) {
        let (from, to) = fitted(from, to);
        let memory: Vec<u8> = (0..from.layout.end()).map(|at| (at * 31 % 167) as u8).collect();
        let plan = Plan::new(&from.layout, &to.layout).unwrap();
        let mut written = vec![NOTHING; to.layout.end() as usize];
        let mut last = None;
        for copy in plan.copies(&from.blocks, &to.blocks).unwrap() {
            let [read, write] = [copy.from, copy.to].map(|at| at as usize);
            written[write..][..copy.len as usize].copy_from_slice(&memory[read..][..copy.len as usize]);
            prop_assert_ne!(last, Some((copy.from, copy.to)), "copies that follow each other are one");
            last = Some((copy.from + copy.len, copy.to + copy.len));
        }
        prop_assert_eq!(written, copied_one_by_one(&from, &to, &memory));
    }

    #[test]
    fn shards_bring_all_of_what_they_cover(
        (from, to) in contents().prop_flat_map(|contents| {
            (prop::collection::vec(side(contents.clone()), 1..5), side(contents))
        }),
    ) {
        let layouts: Vec<_> = from.iter().map(|side| side.layout.clone()).collect();
        let held = |layer: u32, head: u32| {
            from.iter().any(|side| {
                let (layout, shape) = (&side.layout, side.layout.shape());
                (layout.first_layer()..layout.first_layer() + shape.layers).contains(&layer)
                    && (layout.first_head()..layout.first_head() + shape.heads).contains(&head)
            })
        };
        let (first, shape) = ((to.layout.first_layer(), to.layout.first_head()), to.layout.shape());
        let mut wanted = (0..shape.layers).flat_map(|layer| (0..shape.heads).map(move |head| (layer, head)));
        let is_covered = wanted.all(|(layer, head)| held(first.0 + layer, first.1 + head));
        let plans = Plan::cover(&layouts, &to.layout);
        prop_assert_eq!(plans.is_ok(), is_covered);
        for (shard, plan) in plans.into_iter().flatten() {
            prop_assert_eq!(&plan, &Plan::new(&layouts[shard], &to.layout).unwrap());
            prop_assert!(!plan.is_empty());
        }
    }
}
