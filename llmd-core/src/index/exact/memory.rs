//! What is remembered of blocks that are gone.

use std::collections::VecDeque;

use super::super::BlockFate;
use super::super::span::Domain;

/// The blocks of one worker whose last copy under a name went, oldest first.
///
/// There are thousands of them for each worker, and each that goes is written down: so what blocks that go together have in
/// common is said once, and a block that went just before the one that it followed does not repeat its digest.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gone: VecDeque<Packed>,
    /// The number of the oldest one, among all that ever went.
    first: u64,
    /// What those have in common that went from a number on.
    causes: VecDeque<(u64, Cause)>,
    /// The digest before those, by number, that are not [`FOLLOWED`] and whose place is known; not of the last one.
    before: VecDeque<(u64, u64)>,
    /// The digest before the last one.
    before_last: u64,
}

/// What is said of each block by itself.
#[derive(Clone, Copy, Debug)]
struct Packed {
    name: u64,
    digest: u64,
    /// 0 when its place is not known; and whether it is [`FOLLOWED`].
    depth: u32,
    /// When it went, from the order of its cause on.
    order: u32,
}

/// The digest before this block is that of the one that went next.
const FOLLOWED: u32 = 1 << 31;

impl Packed {
    const fn depth(&self) -> u32 {
        self.depth & !FOLLOWED
    }

    const fn is_followed(&self) -> bool {
        self.depth & FOLLOWED != 0
    }
}

/// What blocks have in common that go together.
#[derive(Clone, Copy, Debug)]
struct Cause {
    fate: Option<BlockFate>,
    domain: Domain,
    order: u64,
}

impl Cause {
    fn new(gone: &Gone) -> Self {
        // What readers may be told: of the others it is enough that they are gone.
        let fate = gone.fate.filter(|fate| matches!(fate, BlockFate::Evicted { .. } | BlockFate::Cleared));
        Self { fate, domain: gone.domain, order: gone.order }
    }

    /// When a block went, counted from here; `None` when it went otherwise.
    fn covers(&self, other: &Self) -> Option<u32> {
        let is_same = (self.fate, self.domain) == (other.fate, other.domain);
        other.order.checked_sub(self.order).filter(|_| is_same).and_then(|order| u32::try_from(order).ok())
    }
}

/// A block that is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gone {
    /// What the engine called it; 0 when that means nothing any longer.
    pub(super) name: u64,
    pub(super) domain: Domain,
    /// Where it stood; `None` when nobody knew.
    pub(super) prefix: Option<Prefix>,
    /// What became of it; `None` when its place was not known when it went.
    pub(super) fate: Option<BlockFate>,
    /// When that was, among all that ever went.
    pub(super) order: u64,
}

/// Some leading blocks of a prompt: the digest of the last one and of the one before it, and how many they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Prefix {
    pub(super) digest: u64,
    pub(super) before: u64,
    pub(super) depth: u32,
}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.gone.capacity() * size_of::<Packed>()
            + self.causes.capacity() * size_of::<(u64, Cause)>()
            + self.before.capacity() * size_of::<(u64, u64)>()
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Gone> {
        (0..self.gone.len()).map(|nth| self.get(nth))
    }

    #[inline]
    pub(super) fn remember(&mut self, gone: Gone) {
        let Prefix { digest, before, depth } = gone.prefix.unwrap_or_default();
        let number = self.first + self.gone.len() as u64;
        if let Some(last) = self.gone.back_mut() {
            if last.depth() > 0 && depth > 0 && digest == self.before_last {
                last.depth |= FOLLOWED;
            } else if last.depth() > 0 {
                self.before.push_back((number - 1, self.before_last));
            }
        }
        self.before_last = before;
        let cause = Cause::new(&gone);
        let order = match self.causes.back().and_then(|(_, last)| last.covers(&cause)) {
            Some(order) => order,
            None => {
                self.causes.push_back((number, cause));
                0
            }
        };
        self.gone.push_back(Packed { name: gone.name, digest, depth, order });
    }

    /// Forgets the oldest; gives it back if it went under a name of such a space.
    #[inline]
    pub(super) fn forget_oldest(&mut self, is_wanted: impl FnOnce(Domain) -> bool) -> Option<Gone> {
        let (_, cause) = self.causes.front()?;
        let oldest = if is_wanted(cause.domain) { Some(self.get(0)) } else { None };
        self.gone.pop_front()?;
        self.first += 1;
        while self.before.front().is_some_and(|&(number, _)| number < self.first) {
            self.before.pop_front();
        }
        while self.causes.get(1).is_some_and(|&(number, _)| number <= self.first) {
            self.causes.pop_front();
        }
        if self.gone.is_empty() {
            self.causes.clear();
        }
        oldest
    }

    /// Where the block of a name stood.
    pub(super) fn find(&self, name: u64) -> Option<Prefix> {
        self.last_place(|gone| gone.name == name)
    }

    /// Where a block stood, by its digest.
    pub(super) fn find_digest(&self, digest: u64) -> Option<Prefix> {
        self.last_place(|gone| gone.digest == digest)
    }

    fn last_place(&self, is_it: impl Fn(&Packed) -> bool) -> Option<Prefix> {
        let nth = self.gone.iter().rposition(|gone| gone.depth() > 0 && is_it(gone))?;
        self.get(nth).prefix
    }

    /// The place of a name that is remembered without one is known now.
    pub(super) fn place(&mut self, name: u64, prefix: Prefix) {
        for nth in 0..self.gone.len() {
            if self.gone[nth].name == name {
                if let Some(other) = nth.checked_sub(1)
                    && self.gone[other].is_followed()
                {
                    self.set_before(other, self.gone[nth].digest);
                }
                self.gone[nth] = Packed { digest: prefix.digest, depth: prefix.depth, ..self.gone[nth] };
                self.set_before(nth, prefix.before);
            }
        }
    }

    /// Names mean nothing any longer; what became of their blocks is still known.
    pub(super) fn forget_names(&mut self) {
        self.gone.iter_mut().for_each(|gone| gone.name = 0);
    }

    /// What became of a block the last time, and when that was.
    pub(super) fn fate(&self, digest: u64) -> Option<(u64, BlockFate)> {
        let known = self.gone.iter().enumerate().filter(|(_, gone)| gone.digest == digest && gone.depth() > 0);
        let told = known.map(|(nth, _)| self.get(nth));
        told.filter_map(|gone| Some((gone.order, gone.fate?))).max_by_key(|&(order, _)| order)
    }

    fn get(&self, nth: usize) -> Gone {
        let packed = &self.gone[nth];
        let number = self.first + nth as u64;
        let (_, cause) = self.causes[self.causes.partition_point(|&(from, _)| from <= number) - 1];
        let (digest, depth) = (packed.digest, packed.depth());
        let prefix = (depth > 0).then(|| Prefix { digest, before: self.before(nth), depth });
        Gone {
            name: packed.name,
            domain: cause.domain,
            prefix,
            fate: cause.fate,
            order: cause.order + u64::from(packed.order),
        }
    }

    fn before(&self, nth: usize) -> u64 {
        if self.gone[nth].is_followed() {
            return self.gone[nth + 1].digest;
        }
        let kept = self.before.binary_search_by_key(&(self.first + nth as u64), |&(number, _)| number);
        debug_assert!(kept.is_ok() || nth + 1 == self.gone.len(), "all but the last one say what came before");
        kept.map_or(self.before_last, |kept| self.before[kept].1)
    }

    fn set_before(&mut self, nth: usize, digest: u64) {
        self.gone[nth].depth &= !FOLLOWED;
        if nth + 1 == self.gone.len() {
            self.before_last = digest;
            return;
        }
        let number = self.first + nth as u64;
        match self.before.binary_search_by_key(&number, |&(number, _)| number) {
            Ok(kept) => self.before[kept].1 = digest,
            Err(kept) => self.before.insert(kept, (number, digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Few of each, so that blocks follow each other, go twice, and have something in common.
    fn gone() -> impl Strategy<Value = Gone> {
        let prefix = proptest::option::of((1..8_u64, 1..8_u64, 1..4_u32));
        let prefix = prefix.prop_map(|told| told.map(|(digest, before, depth)| Prefix { digest, before, depth }));
        let fate = prop_oneof![
            Just(None),
            Just(Some(BlockFate::Cleared)),
            (0..3_u8).prop_map(|at| Some(BlockFate::Evicted { at: f64::from(at) })),
        ];
        (0..6_u64, 0..2_u32, prefix, fate, 0..4_u64).prop_map(|(name, domain, prefix, fate, order)| Gone {
            name,
            domain,
            prefix,
            fate,
            order,
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Remember(Gone),
        ForgetOldest,
        Place(u64, Prefix),
        ForgetNames,
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = (0..6_u64, 1..8_u64, 1..8_u64, 1..4_u32);
        prop_oneof![
            12 => gone().prop_map(Step::Remember),
            4 => Just(Step::ForgetOldest),
            2 => place.prop_map(|(name, digest, before, depth)| Step::Place(name, Prefix { digest, before, depth })),
            1 => Just(Step::ForgetNames),
        ]
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(steps in vec(step(), 0..60)) {
            let (mut memory, mut model) = (Memory::default(), VecDeque::<Gone>::new());
            for step in steps {
                match step {
                    Step::Remember(gone) => {
                        memory.remember(gone);
                        model.push_back(gone);
                    }
                    Step::ForgetOldest => prop_assert_eq!(memory.forget_oldest(|_| true), model.pop_front()),
                    Step::Place(name, prefix) => {
                        memory.place(name, prefix);
                        model.iter_mut().filter(|gone| gone.name == name).for_each(|gone| gone.prefix = Some(prefix));
                    }
                    Step::ForgetNames => {
                        memory.forget_names();
                        model.iter_mut().for_each(|gone| gone.name = 0);
                    }
                }
                prop_assert!(memory.iter().eq(model.iter().copied()), "{:?}\n{:?}", memory, model);
                let last = |name| model.iter().rev().find_map(|gone| gone.prefix.filter(|_| gone.name == name));
                prop_assert!((0..6).all(|name| memory.find(name) == last(name)));
            }
        }
    }

    #[test]
    fn blocks_that_go_from_the_end_of_a_prompt_take_24_bytes_each() {
        let mut memory = Memory::default();
        for depth in (1..=4096_u32).rev() {
            let prefix = Prefix { digest: depth.into(), before: u64::from(depth) - 1, depth };
            let (fate, order) = (Some(BlockFate::Evicted { at: 1.5 }), 7_u64 + u64::from(4096 - depth));
            memory.remember(Gone { name: 9, domain: 0, prefix: Some(prefix), fate, order });
        }
        assert_eq!((memory.before.len(), memory.causes.len()), (0, 1));
        assert!(memory.bytes() <= 4096 * 24 + 1024, "{} bytes", memory.bytes());
    }
}
