//! What a hit is, by the kinds and block sizes of a worker's cache groups.
//!
//! All lengths are in blocks of the index. The rules are those of vLLM's lookup.

use smallvec::SmallVec;

use crate::GroupIdx;

/// What a group needs in order to hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Every block from the start.
    Full,
    /// The state at the end of the hit.
    State,
    /// The blocks that hold the last so many tokens but one before the end of the hit.
    Window(u32),
}

/// One of a worker's cache groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Group {
    pub(super) kind: Kind,
    /// How many blocks its names cover, in order: one number, unless parts of blocks have names too.
    pub(super) spans: SmallVec<[u32; 1]>,
}

/// What a lookup takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hit {
    pub(super) blocks: u32,
    /// The first group that did not allow a longer one; `None` when the prompt ends there.
    pub(super) limited_by: Option<GroupIdx>,
}

impl Group {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, spans: SmallVec::new() }
    }

    /// Learns that names cover so many blocks; says whether that is new.
    pub(super) fn add_span(&mut self, span: u32) -> bool {
        match self.spans.binary_search(&span) {
            Ok(_) => false,
            Err(place) => {
                self.spans.insert(place, span);
                true
            }
        }
    }

    /// How many blocks of the index one of its own covers.
    pub(super) fn span(&self) -> u32 {
        self.spans.last().copied().unwrap_or(1)
    }

    /// Whether it is full attention and each of its names covers one block.
    pub(super) fn is_plain(&self) -> bool {
        self.kind == Kind::Full && self.spans.iter().all(|&span| span == 1)
    }
}

/// How many blocks every name covers, when all groups are full and agree on that; then a block is held when all groups
/// hold it. Otherwise the engine's lookup decides.
pub(super) fn alike(groups: &[(GroupIdx, Group)]) -> Option<u32> {
    let mut spans = groups.iter().flat_map(|(_, group)| &group.spans).copied();
    let first = spans.next().unwrap_or(1);
    (spans.all(|span| span == first) && groups.iter().all(|(_, group)| group.kind == Kind::Full)).then_some(first)
}

/// Whether a hit can end within a block: where names of one group cover more and fewer blocks.
pub(super) fn hits_parts(groups: &[(GroupIdx, Group)]) -> bool {
    groups.iter().any(|(_, group)| group.spans.len() > 1)
}

pub(super) fn has_window(groups: &[(GroupIdx, Group)]) -> bool {
    groups.iter().any(|(_, group)| matches!(group.kind, Kind::Window(_)))
}

/// The longest hit of at most `limit` blocks of `unit` tokens. `leads` says how many leading blocks a group holds under
/// names of its own span, and `has` whether it holds a name that stands at the end of so many blocks.
pub(super) fn hit(
    groups: &[(GroupIdx, Group)],
    limit: u32,
    unit: u32,
    leads: impl Fn(GroupIdx) -> u32,
    has: impl Fn(GroupIdx, u32) -> bool,
) -> Hit {
    let largest = groups.iter().map(|(_, group)| group.span()).max().unwrap_or(1);
    let step = if hits_parts(groups) { 1 } else { largest };
    let reaches: SmallVec<[u32; 4]> =
        groups.iter().map(|(idx, group)| group.reach(limit, leads(*idx), |end| has(*idx, end))).collect();
    let forbids = |end| {
        let mut all = groups.iter().zip(&reaches);
        all.find(|((idx, group), reach)| !group.allows(end, **reach, unit, |end| has(*idx, end)))
    };
    let most = reaches.iter().copied().min().unwrap_or(0).min(limit) / step;
    let blocks =
        (0..=most).rev().map(|steps| steps * step).find(|&end| end == 0 || forbids(end).is_none()).unwrap_or(0);
    let longer = Some(blocks + step).filter(|&end| end <= limit);
    Hit { blocks, limited_by: longer.and_then(forbids).map(|((idx, _), _)| *idx) }
}

impl Group {
    /// How far a hit can reach at most, as far as this group is concerned.
    fn reach(&self, limit: u32, leads: u32, has: impl Fn(u32) -> bool) -> u32 {
        if self.kind != Kind::Full {
            return limit;
        }
        let span = self.span();
        let whole = leads.min(limit) / span * span;
        let part = || (whole + 1..=limit.min(whole + span - 1)).rev().find(|&end| has(end));
        if self.spans.len() > 1 { part().unwrap_or(whole) } else { whole }
    }

    /// Whether a hit may end here, as far as this group is concerned.
    fn allows(&self, end: u32, reach: u32, unit: u32, has: impl Fn(u32) -> bool) -> bool {
        let span = self.span();
        match self.kind {
            Kind::Full => end <= reach,
            Kind::State => has(end),
            Kind::Window(window) => {
                let needed = (window - 1).div_ceil(span * unit).min(end / span);
                end.is_multiple_of(span) && (0..needed).all(|before| has(end - before * span))
            }
        }
    }
}
