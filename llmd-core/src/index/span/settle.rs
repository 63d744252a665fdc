//! After removals: blocks that nobody holds and no branch needs go, and runs that are empty.

use super::run::Header;
use super::{FLOATING, Meta, Place, ROOT, Span};

impl Span {
    /// Cuts a run down to what is needed, and frees it when that is nothing; then its parent, and so on.
    pub(in super::super) fn settle(&mut self, mut run: u32) {
        while run != ROOT && run != FLOATING {
            let header = self.run(run).peek();
            let needed = self.held_to(&header).max(self.meta(run).reaches);
            if needed >= header.len {
                return;
            }
            self.cut(run, needed);
            if needed > 0 {
                return;
            }
            run = self.free(run);
        }
    }

    /// Leaves a run its first `len` blocks; nobody holds the others.
    fn cut(&mut self, run: u32, len: u32) {
        let old = self.run(run).peek();
        let names = old.digests + self.meta(run).room;
        let gone = (len..old.len).map(|off| self.view.word(names + off));
        self.names.remove_all(gone.clone(), Place { run, off: len });
        if self.tells_gone {
            self.gone.extend(gone.filter(|&name| name != 0));
        }
        if self.meta(run).has_aliases {
            self.drop_aliases(run, len, old.len);
        }
        self.blocks -= (old.len - len) as usize;
        self.run(run).begin();
        let mut header = Header { len, ..old };
        if len > 0 {
            header.end = self.view.word(old.digests + len - 1);
            self.find_whole(run, &mut header);
        }
        self.run(run).finish(&header);
    }

    fn drop_aliases(&mut self, run: u32, from: u32, to: u32) {
        let lists = self.aliases.get(&run).cloned().unwrap_or_default();
        for (domain, at) in lists {
            for off in from..to {
                let name = self.view.word(at + off);
                if name != 0 {
                    self.own_names.remove(self.key(domain, name));
                    self.view.set_word(at + off, 0);
                    self.gone_name(name);
                }
            }
        }
    }

    /// Frees a run that is empty; gives its parent, which may be empty now.
    fn free(&mut self, run: u32) -> u32 {
        self.heads.remove(self.run(run).peek().head);
        let parent = self.meta(run).parent;
        self.unmake_empty(run);
        if parent == FLOATING {
            self.floating -= 1;
            return ROOT;
        }
        let meta = self.meta_mut(parent);
        meta.children -= 1;
        if meta.children > 0 {
            return ROOT;
        }
        meta.reaches = 0;
        parent
    }

    /// Takes back a run that no reader has found yet.
    pub(super) fn unmake(&mut self, run: u32) {
        let len = self.run(run).peek().len;
        self.blocks -= len as usize;
        let parent = self.meta(run).parent;
        self.unmake_empty(run);
        if parent == FLOATING {
            self.floating -= 1;
        } else {
            self.meta_mut(parent).children -= 1;
            self.settle(parent);
        }
    }

    fn unmake_empty(&mut self, run: u32) {
        let header = self.run(run).peek();
        let Meta { room, list_room, has_aliases, .. } = *self.meta(run);
        debug_assert_eq!(header.groups, 0, "nobody holds any of it");
        self.run(run).begin();
        self.run(run).finish(&Header::default());
        header.whole.give_back(&mut self.arena);
        self.arena.give_back(header.digests, 2 * room);
        self.arena.give_back(header.list, list_room);
        if has_aliases {
            for (_, at) in self.aliases.remove(&run).unwrap_or_default() {
                self.arena.give_back(at, room);
            }
        }
        *self.meta_mut(run) = Meta::default();
        self.free_runs.push(run);
    }

    /// The block at a place and those before it, so many in all, as far as they are there.
    pub(in super::super) fn covered(&self, place: Place, blocks: u32) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(place), |&place| self.back(place)).take(blocks as usize)
    }

    /// The block before a place, in its run or in the one that this hangs on; `None` when that is not known.
    pub(in super::super) fn back(&self, place: Place) -> Option<Place> {
        if place.off > 0 {
            return Some(Place { off: place.off - 1, ..place });
        }
        let parent = self.meta(place.run).parent;
        if parent == ROOT || parent == FLOATING {
            return None;
        }
        let hangs = self.run(place.run).peek().start - self.run(parent).peek().start;
        Some(Place { run: parent, off: hangs.checked_sub(1)? })
    }
}
