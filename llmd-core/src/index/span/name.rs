//! Names: from what engines call a block to its place, for all workers together.
//!
//! Engines that agree on their names share them: one name per block. A worker whose engine calls a block otherwise, since it
//! seeds its hashes by chance or has the block twice, has *domains* of its own for such names.

use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use super::{Column, Copies, Place, Span};

/// A space of names.
pub(in super::super) type Domain = u32;

/// The space of the names that workers share.
pub(in super::super) const SHARED: Domain = 0;

/// How many spaces one worker can have.
const MAX_DOMAINS: usize = 8;

/// For each space that a run has names of, where they are: as many as it has room for blocks, 0 where there is none.
pub(super) type Aliases = SmallVec<[(Domain, u32); 1]>;

/// Whose names are meant: a worker's own spaces, and its columns.
#[derive(Debug, Default)]
pub(in super::super) struct Namer {
    pub(in super::super) domains: SmallVec<[Domain; 1]>,
    pub(in super::super) columns: SmallVec<[Column; 2]>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Known {
    pub(in super::super) place: Place,
    pub(in super::super) domain: Domain,
}

/// How many names ahead their lines are asked for, where names are looked up one by one.
pub(super) const AHEAD: usize = 8;

impl Span {
    /// Asks for what [`find`](Self::find) will look at.
    #[inline]
    pub(in super::super) fn look_ahead(&self, namer: &Namer, name: u64) {
        self.names.prefetch(name);
        for &domain in &namer.domains {
            self.own_names.prefetch(self.key(domain, name));
        }
    }

    /// What a worker means by a name, if anybody does. A shared name is the worker's own only when
    /// [`copies`](Self::copies_under) says so, or what is remembered of it.
    #[inline]
    pub(in super::super) fn find(&self, namer: &Namer, name: u64) -> Option<Known> {
        let shared = || self.named(name).map(|place| Known { place, domain: SHARED });
        if namer.domains.is_empty() {
            return shared();
        }
        // What is remembered under a name does not hide what is held under it.
        let mut first = None;
        for &domain in &namer.domains {
            let Some(place) = self.own_names.get(self.key(domain, name)) else { continue };
            let known = Known { place, domain };
            if self.has(namer, known) {
                return Some(known);
            }
            first = first.or(Some(known));
        }
        match first {
            None => shared(),
            Some(_) => shared().filter(|&known| self.has(namer, known)).or(first),
        }
    }

    /// Whether a name is one that workers share.
    pub(in super::super) fn has_shared(&self, name: u64) -> bool {
        self.named(name).is_some()
    }

    /// Whether a worker holds a block under a name, in any column.
    pub(in super::super) fn has(&self, namer: &Namer, known: Known) -> bool {
        namer.columns.iter().any(|&column| self.copies_under(namer, column, known) > 0)
    }

    /// How many copies of a block a column has under a name.
    pub(in super::super) fn copies_under(&self, namer: &Namer, column: Column, known: Known) -> u32 {
        if !self.holds(known.place.run, column, known.place.off) {
            return 0;
        }
        if self.meta(known.place.run).has_copies
            && let Some(copies) = self.copies.get(&(known.place, column))
        {
            return copies.iter().find(|(domain, _)| *domain == known.domain).map_or(0, |&(_, count)| count);
        }
        u32::from(!self.is_wide[usize::from(column)] && self.implied(namer, known.place) == known.domain)
    }

    /// Every name of a block under which a column has copies, with their number.
    pub(in super::super) fn names_of(&self, namer: &Namer, column: Column, place: Place) -> SmallVec<[(u64, u32); 1]> {
        self.copies_of(namer, column, place)
            .into_iter()
            .map(|(domain, count)| (self.name(place, domain), count))
            .collect()
    }

    /// The same, each name with its space instead.
    pub(in super::super) fn names_under(
        &self,
        namer: &Namer,
        column: Column,
        place: Place,
    ) -> SmallVec<[(Domain, u64); 1]> {
        self.copies_of(namer, column, place).into_iter().map(|(domain, _)| (domain, self.name(place, domain))).collect()
    }

    fn copies_of(&self, namer: &Namer, column: Column, place: Place) -> Copies {
        let implied = || match self.is_wide[usize::from(column)] {
            true => Copies::new(),
            false => SmallVec::from_slice(&[(self.implied(namer, place), 1)]),
        };
        self.copies.get(&(place, column)).cloned().unwrap_or_else(implied)
    }

    /// Whether a worker holds a block under another name than that of a space.
    pub(super) fn has_other_name(&self, namer: &Namer, place: Place, domain: Domain) -> bool {
        self.meta(place.run).has_aliases
            && namer.columns.iter().any(|&column| {
                self.holds(place.run, column, place.off)
                    && self.copies_of(namer, column, place).iter().any(|&(other, _)| other != domain)
            })
    }

    /// The space of the name under which a worker has its one copy, when nothing else is said.
    #[inline]
    pub(super) fn implied(&self, namer: &Namer, place: Place) -> Domain {
        if !self.meta(place.run).has_aliases {
            return SHARED;
        }
        let own = namer.domains.iter().copied().find(|&domain| self.alias(place, domain) != 0);
        own.unwrap_or(SHARED)
    }

    /// The name of a block in a space; 0 when it has none.
    pub(in super::super) fn name(&self, place: Place, domain: Domain) -> u64 {
        if domain == SHARED { self.view.word(self.name_at(place)) } else { self.alias(place, domain) }
    }

    fn alias(&self, place: Place, domain: Domain) -> u64 {
        let names = self.aliases.get(&place.run).and_then(|names| names.iter().find(|(other, _)| *other == domain));
        names.map_or(0, |(_, at)| self.view.word(at + place.off))
    }

    /// Where a worker has a name already, when that is not at this block: an engine that gives a name twice means the block
    /// that it gave it to first.
    pub(super) fn elsewhere(&self, namer: &Namer, place: Place, name: u64) -> Option<Place> {
        let known = self.find(namer, name).filter(|known| known.place != place)?;
        self.has(namer, known).then_some(known.place)
    }

    /// Makes a name a block's own; says in which space, or `None` when it can be in none. `unnamed` is the column that holds
    /// the block without a name so far, if one does.
    pub(super) fn register(
        &mut self,
        namer: &mut Namer,
        place: Place,
        name: u64,
        unnamed: Option<Column>,
    ) -> Option<Domain> {
        // Its own spaces come first, as when a name is looked for: others may have come to share the name since.
        if let Some(&domain) = namer.domains.iter().find(|&&domain| self.alias(place, domain) == name) {
            return Some(domain);
        }
        let shared = self.name_at(place);
        if self.view.word(shared) == name {
            return Some(SHARED);
        }
        if self.view.word(shared) == 0 && self.name_it(name, place) {
            self.view.set_word(shared, name);
            return Some(SHARED);
        }
        for nth in 0..MAX_DOMAINS {
            let domain = match namer.domains.get(nth) {
                Some(&domain) => domain,
                None => {
                    self.next_domain += 1;
                    namer.domains.push(self.next_domain);
                    self.next_domain
                }
            };
            if self.alias(place, domain) == 0 && self.own_names.insert(self.key(domain, name), place).is_ok() {
                self.add_alias(namer, place, domain, name, unnamed);
                return Some(domain);
            }
        }
        None
    }

    fn add_alias(&mut self, namer: &Namer, place: Place, domain: Domain, name: u64, unnamed: Option<Column>) {
        let before = self.implied(namer, place);
        let named = namer.columns.iter().copied();
        let named = named.filter(|&column| Some(column) != unnamed && !self.is_wide[usize::from(column)]);
        let held: SmallVec<[Column; 4]> = named.filter(|&column| self.holds(place.run, column, place.off)).collect();
        let room = self.meta(place.run).room;
        let names = self.aliases.entry(place.run).or_default();
        let at = match names.iter().find(|(other, _)| *other == domain) {
            Some(&(_, at)) => at,
            None => {
                let (at, _) = self.arena.take(room as usize);
                (0..room).for_each(|word| self.view.set_word(at + word, 0));
                names.push((domain, at));
                at
            }
        };
        self.view.set_word(at + place.off, name);
        self.meta_mut(place.run).has_aliases = true;
        // What went without saying has to be said when it would be something else now.
        if self.implied(namer, place) != before {
            for column in held {
                if let Entry::Vacant(unsaid) = self.copies.entry((place, column)) {
                    unsaid.insert(SmallVec::from_slice(&[(before, 1)]));
                    self.meta[place.run as usize].has_copies = true;
                }
            }
        }
    }

    /// A worker's own name for a block is not remembered any longer.
    pub(in super::super) fn forget(&mut self, namer: &Namer, domain: Domain, name: u64) {
        let key = self.key(domain, name);
        let Some(place) = self.own_names.get(key) else { return };
        if self.has(namer, Known { place, domain }) {
            return;
        }
        self.own_names.remove(key);
        let names = self.aliases.get(&place.run).and_then(|names| names.iter().find(|(other, _)| *other == domain));
        if let Some(&(_, at)) = names {
            self.view.set_word(at + place.off, 0);
        }
        self.gone_name(name);
    }

    /// A name leads nowhere any longer.
    pub(super) fn gone_name(&mut self, name: u64) {
        if self.tells_gone {
            self.gone.push(name);
        }
    }

    /// The key of a name in a space of its own, in the table of these.
    #[inline]
    pub(super) const fn key(&self, domain: Domain, name: u64) -> u64 {
        let mixed = (name ^ self.secret ^ (domain as u64) << 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mixed = (mixed ^ mixed >> 32).wrapping_add((domain as u64).wrapping_mul(0xa076_1d64_78bd_642f));
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mixed >> 29
    }
}
