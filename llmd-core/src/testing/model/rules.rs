//! What a hit is, by the kinds and block sizes of a worker's cache groups.
//!
//! All lengths are in blocks of the index. The rules are those of vLLM's lookup, and hold for every lookup of the
//! captures in `tests/fixtures`.

use std::collections::{BTreeMap, BTreeSet};

use crate::GroupIdx;

/// What a group needs in order to hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Every block from the start.
    Full,
    /// The state at the end of the hit.
    State,
    /// The blocks that hold the last so many tokens but one before the end of the hit.
    Window(usize),
}

/// One of a worker's cache groups.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) kind: Kind,
    /// How many blocks its names cover: one number, unless parts of blocks have names too.
    pub(super) spans: BTreeSet<usize>,
}

/// How a worker's answer comes about.
#[derive(Debug)]
pub(super) enum Rule<'a> {
    /// Every group is full, and every name covers `span` blocks: the blocks that all groups hold.
    AllAlike { span: usize },
    /// Anything else: what the engine's lookup takes.
    Lookup(Lookup<'a>),
}

/// The engine's lookup.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    groups: &'a BTreeMap<GroupIdx, Group>,
}

/// What a lookup takes.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Hit {
    pub(super) blocks: usize,
    /// The first group that did not allow a longer one; `None` when the prompt ends there.
    pub(super) limited_by: Option<GroupIdx>,
}

impl Group {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, spans: BTreeSet::new() }
    }

    /// How many blocks of the index one of its own covers.
    fn span(&self) -> usize {
        self.spans.last().copied().unwrap_or(1)
    }
}

impl<'a> Rule<'a> {
    pub(super) fn new(groups: &'a BTreeMap<GroupIdx, Group>) -> Self {
        let spans: BTreeSet<_> = groups.values().flat_map(|group| &group.spans).copied().collect();
        if spans.len() <= 1 && groups.values().all(|group| group.kind == Kind::Full) {
            return Self::AllAlike { span: spans.last().copied().unwrap_or(1) };
        }
        Self::Lookup(Lookup { groups })
    }
}

impl Lookup<'_> {
    /// Whether a hit can end within a block: where names of one group cover more and fewer blocks.
    pub(super) fn hits_parts(&self) -> bool {
        self.groups.values().any(|group| group.spans.len() > 1)
    }

    pub(super) fn has_window(&self) -> bool {
        self.groups.values().any(|group| matches!(group.kind, Kind::Window(_)))
    }

    /// The longest hit of at most `limit` blocks of `unit` tokens. `has` says whether a group holds a name that stands at
    /// the end of so many blocks.
    pub(super) fn hit(&self, limit: usize, unit: usize, has: impl Fn(GroupIdx, usize) -> bool) -> Hit {
        let largest = self.groups.values().map(Group::span).max().unwrap_or(1);
        let step = if self.hits_parts() { 1 } else { largest };
        let forbids =
            |end| self.groups.iter().find(|(idx, group)| !group.allows(end, limit, unit, &|at| has(**idx, at)));
        let ends = (0..=limit / step).rev().map(|steps| steps * step);
        let blocks = ends.into_iter().find(|&end| end == 0 || forbids(end).is_none()).unwrap_or(0);
        let longer = Some(blocks + step).filter(|&end| end <= limit);
        Hit { blocks, limited_by: longer.and_then(forbids).map(|(&idx, _)| idx) }
    }
}

impl Group {
    /// Whether a hit may end here, as far as this group is concerned.
    fn allows(&self, end: usize, limit: usize, unit: usize, has: &dyn Fn(usize) -> bool) -> bool {
        let span = self.span();
        match self.kind {
            Kind::Full => {
                let whole =
                    (1..).map(|block| block * span).take_while(|&at| at <= limit && has(at)).last().unwrap_or(0);
                let part = (whole + 1..limit.min(whole + span - 1) + 1).rev().find(|&at| has(at));
                end <= if self.spans.len() > 1 { part.unwrap_or(whole) } else { whole }
            }
            Kind::State => has(end),
            Kind::Window(window) => {
                let needed = (window - 1).div_ceil(span * unit).min(end / span);
                end.is_multiple_of(span) && (0..needed).all(|before| has(end - before * span))
            }
        }
    }
}
