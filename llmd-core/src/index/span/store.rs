//! Blocks come: those that are there get one holder more, the others become runs.

use smallvec::SmallVec;

use super::cover::with;
use super::name::{AHEAD, Namer, SHARED};
use super::names::MAX_RUNS;
use super::run::Header;
use super::set::Set;
use super::sync::Ordering;
use super::{Column, Domain, FLOATING, MAX_RUN, Meta, Place, ROOT, Span, name_at};
use crate::BlockHash;

/// Where blocks go on.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct At {
    /// The block before them; `None` at the start of a prompt, and when it is not in the index.
    pub(in super::super) place: Option<Place>,
    /// The digest before them.
    pub(in super::super) before: u64,
    /// How many blocks come before them.
    pub(in super::super) depth: u32,
}

/// Blocks that follow each other.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Batch<'a> {
    pub(in super::super) digests: &'a [BlockHash],
    /// The engine's names, of every `span`-th block; none is 0.
    pub(in super::super) names: &'a [u64],
    pub(in super::super) span: u32,
}

/// What became of names that were stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Stored {
    /// Those that the column did not have.
    pub(in super::super) fresh: usize,
    /// Those of which it has one copy more.
    pub(in super::super) again: usize,
    /// Those for which there is no room.
    pub(in super::super) lost: usize,
    /// Whether a name was of another block, so that one may be held by nobody.
    pub(in super::super) moved: bool,
    /// Whether the column holds a block that it did not.
    pub(in super::super) more: bool,
    /// Whether the worker held one of the blocks under another name.
    pub(in super::super) second_name: bool,
}

impl Stored {
    fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.again += other.again;
        self.lost += other.lost;
        self.more |= other.more;
        self.second_name |= other.second_name;
    }
}

impl Batch<'_> {
    /// Whether each block has a name of its own.
    const fn has_all_names(&self) -> bool {
        self.span == 1 && self.names.len() == self.digests.len()
    }

    /// The name of a block; `None` when it has none.
    #[inline]
    fn name(&self, block: usize) -> Option<u64> {
        if self.span == 1 {
            return self.names.get(block).copied();
        }
        let after = block + 1;
        if after.is_multiple_of(self.span as usize) {
            self.names.get(after / self.span as usize - 1).copied()
        } else {
            None
        }
    }
}

impl Span {
    /// One copy of each block more in a column.
    pub(in super::super) fn store(&mut self, column: Column, namer: &mut Namer, at: At, batch: Batch<'_>) -> Stored {
        let digests = batch.digests;
        let mut stored = Stored::default();
        let has_room = self.arena.has_room(4 * digests.len() + 8 * 1024)
            && self.meta.len() + digests.len() <= MAX_RUNS
            && self.names.have_room();
        if !has_room {
            stored.lost = batch.names.len();
            return stored;
        }
        // In a wide column, blocks are held as often as names cover them.
        let is_counted = self.is_wide[usize::from(column)] && !batch.names.is_empty();
        let (mut run, mut off) = at.place.map_or((ROOT, 0), |place| (place.run, place.off + 1));
        let mut done = 0;
        while done < digests.len() {
            let header = if run == ROOT { Header::default() } else { self.run(run).peek() };
            if off < header.len {
                let matched = self.matched(&header, off, &digests[done..]);
                if matched > 0 {
                    self.hold(column, namer, Place { run, off }, matched, batch, done, &mut stored);
                    self.meta_mut(run).is_fresh = true;
                    done += matched;
                    off += matched as u32;
                    continue;
                }
            }
            let before = if done == 0 { at.before } else { digests[done - 1].0 };
            let depth = at.depth + done as u32;
            let has_branches = run == ROOT || self.meta(run).children > 0 || self.floating > 0;
            if has_branches && let Some(branch) = self.branch(digests[done].0, before, depth) {
                self.adopt(run, off, branch, depth);
                (run, off) = (branch, 0);
                continue;
            }
            let new = self.unknown(&digests[done..], depth);
            stored.more = true;
            if self.can_extend(run, &header, off, column) {
                let new = new.min(MAX_RUN - header.len as usize);
                self.extend(column, run, &digests[done..done + new], is_counted);
                off = header.len;
                self.name_new(column, namer, Place { run, off }, new, batch, done, &mut stored);
                (done, off) = (done + new, off + new as u32);
                continue;
            }
            let new = new.min(MAX_RUN);
            let parent = if run == ROOT && depth > 0 { FLOATING } else { run };
            let holders = if is_counted { Set::default() } else { Set::of(column) };
            let made = self.make_run(holders, (parent, off), (before, depth), &digests[done..done + new]);
            if self.heads.insert(digests[done].0, Place { run: made, off: 0 }).is_err() {
                // Two prefixes with one digest: nothing can be said of the second.
                self.unmake(made);
                stored.lost += batch.names.len().saturating_sub(done / batch.span as usize);
                return stored;
            }
            self.name_new(column, namer, Place { run: made, off: 0 }, new, batch, done, &mut stored);
            (run, off) = (made, new as u32);
            done += new;
        }
        if stored.moved {
            self.settle(run);
        }
        stored
    }

    /// How many of `digests` a run has from `off` on.
    #[inline]
    fn matched(&self, header: &Header, off: u32, digests: &[BlockHash]) -> usize {
        let most = digests.len().min((header.len - off) as usize);
        let same = |nth: usize| self.view.word(header.digests + off + nth as u32) == digests[nth].0;
        if same(most - 1) {
            return most;
        }
        let (mut low, mut high) = (0, most - 1);
        while low < high {
            let middle = usize::midpoint(low, high);
            if same(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The run that begins with a block.
    fn branch(&self, digest: u64, before: u64, depth: u32) -> Option<u32> {
        let run = self.heads.get(digest)?.run;
        let header = self.run(run).peek();
        (header.before == before && header.start == depth && header.head == digest).then_some(run)
    }

    /// A run whose place was not known hangs behind this block.
    fn adopt(&mut self, parent: u32, off: u32, branch: u32, depth: u32) {
        if self.meta(branch).parent != FLOATING || (parent == ROOT && depth > 0) {
            return;
        }
        self.floating -= 1;
        self.meta_mut(branch).parent = parent;
        self.add_child(parent, off);
    }

    fn add_child(&mut self, parent: u32, off: u32) {
        let meta = self.meta_mut(parent);
        meta.children += 1;
        meta.reaches = meta.reaches.max(off);
    }

    /// How many of `digests`, of which the first is in no run, come before one that is.
    fn unknown(&self, digests: &[BlockHash], depth: u32) -> usize {
        if self.floating == 0 {
            return digests.len();
        }
        let known = |nth: &usize| self.branch(digests[*nth].0, digests[nth - 1].0, depth + *nth as u32).is_some();
        (1..digests.len()).find(known).unwrap_or(digests.len())
    }

    /// Whether a run may become longer: nothing branches off, and nobody but this worker holds it.
    fn can_extend(&self, run: u32, header: &Header, off: u32, column: Column) -> bool {
        if run == ROOT || off != header.len || self.meta(run).children > 0 || header.len as usize >= MAX_RUN {
            return false;
        }
        if header.whole.is_only(column) && header.groups == 0 {
            return true;
        }
        let owner = self.owners[usize::from(column)];
        let few = header.whole.address().is_none() && header.groups <= 4;
        let mut is_own = few;
        if few {
            self.columns_of(header, |other| is_own &= self.owners[usize::from(other)] == owner);
        }
        is_own
    }

    /// Makes a run longer, by blocks that the column holds, unless these are counted name by name.
    fn extend(&mut self, column: Column, run: u32, digests: &[BlockHash], is_counted: bool) {
        let new = digests.len() as u32;
        let old = self.run(run).peek();
        if old.len + new > self.meta(run).room {
            self.make_room(run, old.len + new + (old.len + new) / 4);
        }
        let at = self.run(run).peek().digests;
        for (nth, digest) in digests.iter().enumerate() {
            self.view.set_word(at + old.len + nth as u32, digest.0);
        }
        let parts = self.parts(run, column);
        let is_sole = !is_counted && old.whole.is_only(column) && old.groups == 0;
        self.run(run).begin();
        let mut header = self.run(run).peek();
        if !is_sole {
            self.part_whole(run, &mut header);
        }
        header.len += new;
        header.end = digests[digests.len() - 1].0;
        if !is_sole && !is_counted {
            let more = with(&parts, (old.len, header.len));
            self.change(run, &mut header, column, &parts, &more);
        }
        self.run(run).finish(&header);
        self.blocks += digests.len();
        self.meta_mut(run).is_fresh = true;
    }

    /// Gives a run room for more blocks.
    fn make_room(&mut self, run: u32, blocks: u32) {
        let old = self.run(run).peek();
        let old_room = self.meta(run).room;
        let (digests, words) = self.arena.take(2 * blocks as usize);
        let room = words / 2;
        for nth in 0..old.len {
            self.view.set_word(digests + nth, self.view.word(old.digests + nth));
            self.view.set_word(digests + room + nth, self.view.word(old.digests + old_room + nth));
        }
        self.run(run).begin();
        self.run(run).finish(&Header { digests, ..old });
        self.arena.give_back(old.digests, 2 * old_room);
        self.meta_mut(run).room = room;
        let Some(aliases) = self.aliases.get_mut(&run) else { return };
        for (_, at) in aliases {
            let (names, _) = self.arena.take(room as usize);
            for nth in 0..room {
                self.view.set_word(names + nth, if nth < old.len { self.view.word(*at + nth) } else { 0 });
            }
            self.arena.give_back(*at, old_room);
            *at = names;
        }
    }

    /// A new run of blocks with these holders, without names, and which no reader finds yet.
    fn make_run(
        &mut self,
        holders: Set,
        parent: (u32, u32),
        (before, start): (u64, u32),
        digests: &[BlockHash],
    ) -> u32 {
        let run = self.free_runs.pop().unwrap_or_else(|| {
            self.meta.push(Meta::default());
            let run = self.meta.len() - 1;
            self.bytes += self.view.runs.reserve(run, 1);
            run as u32
        });
        let (at, words) = self.arena.take(2 * digests.len());
        for (word, digest) in self.view.list(at, digests.len()).iter().zip(digests) {
            word.store(digest.0, Ordering::Relaxed);
        }
        self.run(run).begin();
        let header = Header {
            start,
            len: digests.len() as u32,
            before,
            head: digests[0].0,
            end: digests[digests.len() - 1].0,
            whole: holders,
            digests: at,
            groups: 0,
            list: 0,
        };
        self.run(run).finish(&header);
        *self.meta_mut(run) = Meta { parent: parent.0, room: words / 2, is_fresh: true, ..Meta::default() };
        match parent.0 {
            FLOATING => self.floating += 1,
            _ => self.add_child(parent.0, parent.1),
        }
        self.blocks += digests.len();
        run
    }

    /// Gives names to the blocks that a run has got, and which the column holds since.
    #[expect(clippy::too_many_arguments, reason = "a stretch of a batch at a place, and whose it is")]
    fn name_new(
        &mut self,
        column: Column,
        namer: &mut Namer,
        place: Place,
        blocks: usize,
        batch: Batch<'_>,
        done: usize,
        stored: &mut Stored,
    ) {
        let mut otherwise = SmallVec::<[usize; 4]>::new();
        if batch.has_all_names() && namer.domains.is_empty() && !self.is_wide[usize::from(column)] {
            let new = &batch.names[done..done + blocks];
            let Self { names, view, meta, .. } = self;
            let at = name_at(view, meta, place);
            let name_of = |place| view.word(name_at(view, meta, place));
            names.insert_all(new, place, name_of, |nth, is_new| {
                view.set_word(at + nth as u32, if is_new { new[nth] } else { 0 });
                if is_new {
                    stored.fresh += 1;
                } else {
                    otherwise.push(done + nth);
                }
            });
        } else {
            for block in done..done + blocks {
                let own = Place { run: place.run, off: place.off + (block - done) as u32 };
                let name = batch.name(block);
                if let Some(later) = batch.name(block + AHEAD) {
                    self.look_ahead(namer, later);
                }
                let is_free = |&name: &u64| namer.domains.is_empty() || self.elsewhere(namer, own, name).is_none();
                let shared = name.filter(is_free).filter(|&name| self.name_it(name, own));
                self.view.set_word(self.name_at(own), shared.unwrap_or(0));
                match (name, shared) {
                    (Some(_), None) => otherwise.push(block),
                    (Some(_), Some(_)) => self.count_new(column, namer, own, SHARED, batch.span, stored),
                    (None, _) => {}
                }
            }
        }
        for block in otherwise {
            let own = Place { run: place.run, off: place.off + (block - done) as u32 };
            let name = batch.name(block).expect("only names are kept for later");
            if let Some(there) = self.elsewhere(namer, own, name) {
                self.let_go_unnamed(column, own);
                stored.moved = true;
                stored.add(self.hold_known(column, namer, there, batch.span, name));
                continue;
            }
            match self.register(namer, own, name, Some(column)) {
                Some(domain) => self.count_new(column, namer, own, domain, batch.span, stored),
                None => {
                    // A block that has no name can never be removed: it must not be held.
                    let parts = self.parts(own.run, column);
                    let left = super::cover::without(&parts, (own.off, own.off + 1));
                    self.cover(own.run, column, &parts, &left);
                    stored.lost += 1;
                }
            }
        }
    }

    /// Counts a block that was just made and named, and which the column therefore holds once.
    #[inline]
    fn count_new(&mut self, column: Column, namer: &Namer, own: Place, domain: Domain, span: u32, stored: &mut Stored) {
        stored.fresh += 1;
        if self.is_wide[usize::from(column)] {
            self.count(column, namer, own, domain, None);
            self.cover_back(column, own, span);
        }
    }

    /// The column holds blocks that are there.
    #[expect(clippy::too_many_arguments, reason = "a stretch of a batch at a place, and whose it is")]
    fn hold(
        &mut self,
        column: Column,
        namer: &mut Namer,
        place: Place,
        blocks: usize,
        batch: Batch<'_>,
        done: usize,
        stored: &mut Stored,
    ) {
        let range = (place.off, place.off + blocks as u32);
        let old = self.parts(place.run, column);
        let is_new = !old.iter().any(|&(from, to)| from < range.1 && range.0 < to);
        if is_new && batch.has_all_names() && !self.meta(place.run).has_aliases && !self.is_wide[usize::from(column)] {
            let at = self.name_at(place);
            let names = &batch.names[done..done + blocks];
            if names.iter().enumerate().all(|(nth, &name)| self.view.word(at + nth as u32) == name) {
                self.cover(place.run, column, &old, &with(&old, range));
                stored.fresh += blocks;
                return;
            }
        }
        let is_wide = self.is_wide[usize::from(column)] && !batch.names.is_empty();
        let mut new = if is_wide { old.clone() } else { with(&old, range) };
        let (mut covered, mut otherwise) = (SmallVec::<[Place; 4]>::new(), SmallVec::<[(Place, u64); 1]>::new());
        for block in done..done + blocks {
            let Some(name) = batch.name(block) else { continue };
            let own = Place { run: place.run, off: place.off + (block - done) as u32 };
            let was_held = old.iter().any(|&(from, to)| from <= own.off && own.off < to);
            let before = self.implied(namer, own);
            if let Some(there) = self.elsewhere(namer, own, name) {
                if !was_held && !is_wide {
                    new = super::cover::without(&new, (own.off, own.off + 1));
                }
                otherwise.push((there, name));
                continue;
            }
            let Some(domain) = self.register(namer, own, name, None) else {
                stored.lost += 1;
                if !was_held {
                    new = super::cover::without(&new, (own.off, own.off + 1));
                }
                continue;
            };
            stored.second_name |= self.has_other_name(namer, own, domain);
            if self.count(column, namer, own, domain, was_held.then_some(before)) {
                stored.fresh += 1;
                covered.push(own);
            } else {
                stored.again += 1;
            }
        }
        if is_wide {
            covered.into_iter().for_each(|end| self.cover_back(column, end, batch.span));
        } else {
            stored.more |= new != old;
            self.cover(place.run, column, &old, &new);
        }
        for (there, name) in otherwise {
            stored.add(self.hold_known(column, namer, there, batch.span, name));
        }
    }

    /// A name of a wide column covers the blocks up to its own.
    fn cover_back(&mut self, column: Column, end: Place, span: u32) {
        let mut next = Some(end);
        for _ in 0..span {
            let Some(place) = next else { return };
            self.cover_once(column, place);
            next = self.back(place);
        }
    }

    /// One name more covers a block in a wide column.
    fn cover_once(&mut self, column: Column, place: Place) {
        if self.holds(place.run, column, place.off) {
            self.meta_mut(place.run).has_copies = true;
            *self.covers.entry((place, column)).or_insert(1) += 1;
        } else {
            self.hold_unnamed(column, place);
        }
    }

    /// Counts one copy more under a name; says whether it is the first. `before` is the space of the copy that went without
    /// saying, when the block was held.
    fn count(&mut self, column: Column, namer: &Namer, place: Place, domain: Domain, before: Option<Domain>) -> bool {
        let implied = self.implied(namer, place);
        let is_wide = self.is_wide[usize::from(column)];
        let before = before.filter(|_| !is_wide || self.copies.contains_key(&(place, column)));
        let Some(before) = before else {
            if implied != domain || is_wide {
                self.copies.insert((place, column), SmallVec::from_slice(&[(domain, 1)]));
                self.meta_mut(place.run).has_copies = true;
            }
            return true;
        };
        self.meta_mut(place.run).has_copies = true;
        let copies = self.copies.entry((place, column)).or_insert_with(|| SmallVec::from_slice(&[(before, 1)]));
        match copies.iter_mut().find(|(other, _)| *other == domain) {
            Some((_, count)) => {
                *count = count.saturating_add(1);
                false
            }
            None => {
                copies.push((domain, 1));
                true
            }
        }
    }

    /// One copy more, under this name, of a block that is there, and of those before it that the name covers.
    pub(in super::super) fn hold_known(
        &mut self,
        column: Column,
        namer: &mut Namer,
        place: Place,
        span: u32,
        name: u64,
    ) -> Stored {
        let mut stored = Stored::default();
        let digest = [BlockHash(self.prefix(place).0)];
        self.hold(column, namer, place, 1, Batch { digests: &digest, names: &[name], span: 1 }, 0, &mut stored);
        if stored.fresh == 1
            && span > 1
            && let Some(before) = self.back(place)
        {
            self.cover_back(column, before, span - 1);
        }
        stored
    }

    /// So many copies more of a block under a name that the column has it by.
    pub(in super::super) fn copy(&mut self, column: Column, namer: &Namer, place: Place, name: u64, more: u32) {
        if more == 0 {
            return;
        }
        let Some(known) = self.find(namer, name).filter(|known| known.place == place) else { return };
        let before = self.implied(namer, place);
        self.meta_mut(place.run).has_copies = true;
        let copies = self.copies.entry((place, column)).or_insert_with(|| SmallVec::from_slice(&[(before, 1)]));
        if let Some((_, count)) = copies.iter_mut().find(|(domain, _)| *domain == known.domain) {
            *count = count.saturating_add(more);
        }
    }

    /// A column that knows no names holds a block that is there.
    pub(in super::super) fn hold_unnamed(&mut self, column: Column, place: Place) {
        let parts = self.parts(place.run, column);
        self.cover(place.run, column, &parts, &with(&parts, (place.off, place.off + 1)));
    }

    /// A column that knows no names does not hold a block any more. [`settle`](Self::settle) is for the caller.
    pub(in super::super) fn let_go_unnamed(&mut self, column: Column, place: Place) {
        let parts = self.parts(place.run, column);
        self.cover(place.run, column, &parts, &super::cover::without(&parts, (place.off, place.off + 1)));
    }

    /// A column that knows no names holds blocks, which may be new.
    ///
    /// Says whether it did not hold them all.
    pub(in super::super) fn store_unnamed(
        &mut self,
        column: Column,
        namer: &mut Namer,
        at: At,
        digests: &[BlockHash],
    ) -> bool {
        self.store(column, namer, at, Batch { digests, names: &[], span: 1 }).more
    }
}
