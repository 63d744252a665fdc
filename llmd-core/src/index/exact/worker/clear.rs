//! Everything goes at once: columns are given up, and swept little by little.

use smallvec::SmallVec;

use super::super::super::BlockFate;
use super::super::super::span::{Column, Known, Namer, Span, Swept};
use super::super::context::{Context, GivenUp};
use super::super::memory::{Gone, Prefix};
use super::Worker;
use super::covers::Covers;
use crate::{ExternalBlockHash, Medium};

impl Worker {
    /// Takes every copy on the GPU away; says how many there were.
    pub(in super::super) fn empty_gpu(&mut self, cx: &mut Context<'_>) -> usize {
        let order = cx.next_order();
        self.dropped = 0;
        let mut removed = 0;
        let (gone, left): (SmallVec<[_; 1]>, _) =
            self.columns.iter().copied().partition(|kept| kept.medium == Medium::Gpu && kept.names > 0);
        self.columns = left;
        for kept in gone {
            removed += kept.copies;
            self.residents -= kept.names;
            self.give_up(kept, order, true, cx);
        }
        let loose: Vec<ExternalBlockHash> = self.loose.iter().map(|(name, _)| name.clone()).collect();
        for name in loose {
            let (copies, lost, is_empty) = self.loose.change(&name, |entry| {
                let lost = entry.copies.iter().filter(|copies| copies.medium == Medium::Gpu);
                let (copies, lost) = lost.fold((0, 0), |(copies, lost), one| (copies + one.count as usize, lost + 1));
                entry.copies.retain(|copies| copies.medium != Medium::Gpu);
                (copies, lost, lost > 0 && entry.copies.is_empty())
            });
            removed += copies;
            self.residents -= lost;
            if is_empty {
                let number = cx.interned.keep(&name);
                self.remember([Self::gone(number, 0, None, BlockFate::Cleared, order)], cx);
            }
        }
        removed
    }

    /// Forgets everything that is held.
    pub(in super::super) fn clear(&mut self, cx: &mut Context<'_>) {
        let order = cx.next_order();
        for kept in std::mem::take(&mut self.columns) {
            self.give_up(kept, order, false, cx);
        }
        for given in cx.given_up.values_mut().filter(|given| given.worker == self.id) {
            given.names_last = false;
        }
        self.memory.lock().forget_names();
        self.namer.domains.clear();
        self.groups.clear();
        self.covers = Covers::default();
        self.loose.clear();
        self.orphans.clear();
        self.waiting.clear();
        self.residents = 0;
        self.incomplete = false;
        self.dropped = 0;
        self.other_size = None;
        self.forgot = false;
        self.spoke_of_other_media = false;
        self.has_two_names = false;
        self.is_news = true;
    }

    /// Forgets that there ever was anything.
    pub(in super::super) fn leave(&mut self, cx: &mut Context<'_>) {
        self.clear(cx);
        for given in cx.given_up.values_mut().filter(|given| given.worker == self.id) {
            given.order = 0;
        }
    }

    fn give_up(&mut self, kept: super::Kept, order: u64, names_last: bool, cx: &mut Context<'_>) {
        self.namer.columns.retain(|column| *column != kept.column);
        let namer = Namer { domains: self.namer.domains.clone(), ..Namer::default() };
        let given = GivenUp { worker: self.id, namer, order, names_last, span: kept.span };
        cx.given_up.insert(kept.column, given);
        cx.span.retire(kept.column);
        self.cleared.push((kept.column, order));
        self.is_news = true;
    }

    /// A column that was given up is swept altogether.
    pub(in super::super) fn is_swept(&mut self, column: Column) {
        self.cleared.retain(|(other, _)| *other != column);
        self.is_news = true;
    }

    /// What is to be remembered of a block that is about to be swept out of a column that was given up.
    pub(in super::super) fn swept(&self, given: &GivenUp, swept: Swept, span: &Span) -> SmallVec<[Gone; 1]> {
        let mut gone = SmallVec::new();
        for (domain, name) in span.names_under(&given.namer, swept.column, swept.place) {
            let known = Known { place: swept.place, domain };
            // Under a name that is left in another column, that one may hold its last block alone.
            let is_left = given.names_last && span.has(&self.namer, known);
            let tells = if is_left { given.span } else { given.span.max(self.covers.of(name)) };
            for (nth, place) in span.covered(swept.place, tells).enumerate().skip(usize::from(is_left)) {
                let (digest, depth, before) = span.prefix(place);
                let name = if given.names_last && nth == 0 { name } else { 0 };
                let prefix = Some(Prefix { digest, before, depth });
                let mut one = Self::gone(name, domain, prefix, BlockFate::Cleared, given.order);
                one.fate = one.fate.filter(|_| !is_left && nth < given.span as usize);
                gone.push(one);
            }
        }
        gone
    }
}
