//! How many leading blocks of a prompt each column holds: run after run.

use super::cover::Group;
use super::memory::prefetch;
use super::run::Header;
use super::{Column, View};
use crate::BlockHash;

/// How often a run that changed under a reader's eyes is looked up again before the walk ends there.
const TRIES: u32 = 8;

/// How many leading blocks each column holds: for some numbers of blocks the columns that hold so many and no more, as bits.
/// A column stands in one level; one that holds none in no level.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Levels {
    blocks: Vec<u32>,
    bits: Vec<u64>,
    words: usize,
}

/// A run on the way, how many blocks come before it and how many of its blocks matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) run: u32,
    pub(super) start: u32,
    pub(super) matched: u32,
}

/// What a walk is for, and where it leaves what it finds.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Walk {
    /// The runs on the way, when somebody wants to go there again.
    pub(super) steps: Vec<Step>,
    /// Of the columns that are looked at closely, those that hold something behind the end of what they lead with.
    pub(in super::super) ragged: Vec<u64>,
    /// Where the walk before this one left the first run: many prompts leave their system prompt at the same block.
    left_at: usize,
}

impl Levels {
    pub(in super::super) fn clear(&mut self) {
        self.blocks.clear();
        self.bits.clear();
    }

    #[inline]
    fn push(&mut self, blocks: u32, columns: &[u64]) {
        self.blocks.push(blocks);
        self.bits.extend_from_slice(columns);
    }

    /// How many leading blocks a column holds.
    #[inline]
    pub(in super::super) fn of(&self, column: Column) -> u32 {
        let (word, bit) = (usize::from(column >> 6), column & 63);
        if word >= self.words {
            return 0;
        }
        let held =
            self.blocks.iter().enumerate().find(|&(level, _)| self.bits[level * self.words + word] >> bit & 1 == 1);
        held.map_or(0, |(_, &blocks)| blocks)
    }

    /// Writes how many leading blocks each column holds, by column.
    pub(in super::super) fn spread(&self, by_column: &mut Vec<u32>) {
        by_column.clear();
        by_column.resize(64 * self.words, 0);
        for (level, &blocks) in self.blocks.iter().enumerate() {
            let words = &self.bits[level * self.words..][..self.words];
            for (held, &bits) in by_column.chunks_exact_mut(64).zip(words) {
                let mut bits = bits;
                while bits != 0 {
                    held[bits.trailing_zeros() as usize] = blocks;
                    bits &= bits - 1;
                }
            }
        }
    }
}

impl View {
    /// Writes how many leading blocks of the prompt with these digests each of the `live` columns holds. Those of `closely`
    /// are looked at to the end, and `walk` says where to find more about them; where there are none, `walk` is left empty.
    pub(in super::super) fn walk(
        &self,
        digests: &[BlockHash],
        live: &[u64],
        closely: Option<&[u64]>,
        levels: &mut Levels,
        walk: &mut Walk,
    ) {
        levels.clear();
        walk.steps.clear();
        walk.ragged.clear();
        levels.words = live.len();
        match live.len() {
            0 => {}
            1 => self.walk_words::<1>(digests, live, closely, levels, walk),
            2..=4 => self.walk_words::<4>(digests, live, closely, levels, walk),
            5..=16 => self.walk_words::<16>(digests, live, closely, levels, walk),
            17..=128 => self.walk_words::<128>(digests, live, closely, levels, walk),
            _ => self.walk_words::<1024>(digests, live, closely, levels, walk),
        }
    }

    fn walk_words<const W: usize>(
        &self,
        digests: &[BlockHash],
        live: &[u64],
        closely: Option<&[u64]>,
        levels: &mut Levels,
        walk: &mut Walk,
    ) {
        let words = live.len();
        let mut alive = [0; W];
        alive[..words].copy_from_slice(live);
        if closely.is_some() {
            walk.ragged.resize(words, 0);
        }
        let Some(first) = digests.first() else { return };
        if let Some(digest) = digests.get(walk.left_at) {
            self.heads.prefetch(digest.0);
        }
        let Some(place) = self.heads.get(first.0) else { return };
        let (mut run, mut at, mut tries) = (place.run, 0, 0);
        loop {
            let cell = self.runs.at(run as usize);
            let (version, header) = cell.read();
            let is_it = header.head == digests[at].0
                && header.start as usize == at
                && header.len > 0
                && (at == 0 || header.before == digests[at - 1].0);
            if !is_it {
                if !cell.is_still(version) {
                    continue;
                }
                // It was another's when the table led here, or became one since.
                tries += 1;
                match self.heads.get(digests[at].0) {
                    Some(place) if tries < TRIES => run = place.run,
                    _ => break,
                }
                continue;
            }
            if let Some(bitmap) = header.whole.address() {
                prefetch(self.words.at(bitmap));
            }
            let matched = self.matched(&header, &digests[at..]);
            let next = at + matched;
            let is_asked_for = at == 0 && next == walk.left_at;
            if !is_asked_for && let Some(digest) = digests.get(next) {
                self.heads.prefetch(digest.0);
            }
            if at == 0 {
                walk.left_at = next;
            }
            let mut through = [0; W];
            header.whole.add_to(&self.words, &mut through[..words]);
            let before = levels.blocks.len();
            let asks = at == 0 || closely.is_some() || (0..words).any(|word| alive[word] & !through[word] != 0);
            let mut more = [0; W];
            if asks && header.groups > 0 {
                let more = if closely.is_some() { &mut more[..words] } else { &mut [] };
                self.parts(&header, (at, matched), &alive[..words], &mut through[..words], more, levels);
            }
            if !cell.is_still(version) {
                levels.blocks.truncate(before);
                levels.bits.truncate(before * words);
                continue;
            }
            let mut looks_on = 0;
            if let Some(closely) = closely {
                walk.steps.push(Step { run, start: at as u32, matched: matched as u32 });
                for word in 0..words {
                    looks_on |= (through[word] | more[word]) & closely[word];
                    walk.ragged[word] |= (through[word] & !alive[word] | more[word]) & closely[word];
                }
            }
            // Who was alive and neither holds all that matched nor begins with a part of it ends before this run.
            let mut ended = [0; W];
            let (mut any_ended, mut any_alive) = (0, 0);
            for word in 0..words {
                if at > 0 {
                    ended[word] = alive[word] & !through[word];
                }
                alive[word] &= through[word];
                any_alive |= alive[word];
            }
            if at > 0 {
                for level in levels.bits[before * words..].chunks_exact(words) {
                    ended.iter_mut().zip(level).for_each(|(ended, told)| *ended &= !told);
                }
                (0..words).for_each(|word| any_ended |= ended[word]);
                if any_ended != 0 {
                    levels.push(at as u32, &ended[..words]);
                }
            }
            at = next;
            if at == digests.len() || (any_alive | looks_on) == 0 {
                break;
            }
            match self.heads.get(digests[at].0) {
                Some(place) => run = place.run,
                None => break,
            }
            tries = 0;
        }
        if at > 0 && alive[..words].iter().any(|&bits| bits != 0) {
            levels.push(at as u32, &alive[..words]);
        }
    }

    /// How many of `digests` a run has, of which it has the first.
    #[inline]
    pub(super) fn matched(&self, header: &Header, digests: &[BlockHash]) -> usize {
        let most = digests.len().min(header.len as usize);
        let same = |nth: usize| self.word(header.digests.wrapping_add(nth as u32)) == digests[nth].0;
        let last = digests[most - 1].0;
        if if most == header.len as usize { header.end == last } else { same(most - 1) } {
            return most;
        }
        // Longer and longer steps, then the middle of the last one again and again.
        let (mut known, mut step, mut wrong) = (0, 1, most - 1);
        while known + step < wrong {
            if !same(known + step) {
                wrong = known + step;
                break;
            }
            known += step;
            step *= 2;
        }
        while wrong - known > 1 {
            let middle = usize::midpoint(known, wrong);
            if same(middle) {
                known = middle;
            } else {
                wrong = middle;
            }
        }
        known + 1
    }

    /// Looks at the parts of a run of which `matched` blocks matched, and before which `at` blocks come: adds to `through` who
    /// holds all that matched, to `more`, as far as it reaches, who holds something behind a gap, and to the levels who of
    /// `alive` ends in it.
    fn parts(
        &self,
        header: &Header,
        (at, matched): (usize, usize),
        alive: &[u64],
        through: &mut [u64],
        more: &mut [u64],
        levels: &mut Levels,
    ) {
        for nth in 0..header.groups {
            let Group { from, to, holders } = self.group(header, nth);
            if from > 0 {
                if (from as usize) < matched {
                    holders.add_to(&self.words, more);
                }
            } else if to as usize >= matched {
                holders.add_to(&self.words, through);
            } else {
                let level = levels.bits.len();
                levels.bits.resize(level + alive.len(), 0);
                let bits = &mut levels.bits[level..];
                holders.add_to(&self.words, bits);
                more.iter_mut().zip(&*bits).zip(alive).for_each(|((more, bits), alive)| *more |= bits & !alive);
                bits.iter_mut().zip(alive).for_each(|(bits, alive)| *bits &= alive);
                if bits.iter().all(|&bits| bits == 0) {
                    levels.bits.truncate(level);
                } else {
                    levels.blocks.push(at as u32 + to);
                }
            }
        }
    }
}
