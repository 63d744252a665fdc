//! The span index: prefixes as runs of blocks, and for each run who holds which part of it.
//!
//! Blocks that follow each other lie in a run, whose last digest stands for all of it: a reader that finds its own digest
//! there has matched the whole run by one comparison. Runs form a tree whose branches are found by the digest of their first
//! block in one table for all, so that a root may have a million branches and none of them is ever divided. Of a run, whole
//! holders stand in its header, and those that hold parts in groups that hold the same part. A *column* is what is held
//! of a kind: one worker's blocks of one cache group on one medium.
//!
//! One writer; readers never wait for more than the moment in which a header changes. What is said here about digests
//! holds for prefixes: a digest covers all blocks before it. `docs/adr/0010` has the reasons.

mod arena;
mod cover;
mod evict;
mod gather;
mod memory;
#[cfg(all(test, loom))]
mod models;
mod name;
mod names;
mod remove;
mod run;
mod set;
mod settle;
mod store;
mod sweep;
mod sync;
#[cfg_attr(loom, path = "modelled.rs")]
mod system;
mod table;
mod walk;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use self::arena::Arena;
pub(super) use self::evict::Dropped;
pub(super) use self::gather::{Stretch, Stretches};
use self::memory::Stable;
use self::name::Aliases;
pub(super) use self::name::{Domain, Known, Namer, SHARED};
use self::names::Names;
pub(super) use self::remove::Removed;
use self::run::Run;
pub(super) use self::store::{At, Batch, Stored};
pub(super) use self::sweep::Swept;
use self::sync::{AtomicBool, AtomicU64, Ordering};
use self::table::{Table, TableView};
pub(super) use self::walk::{Levels, Walk};

/// What is held of a kind, as a number.
pub(super) type Column = u16;

/// The longest run: longer chains are several.
const MAX_RUN: usize = names::MAX_OFF;

/// The root of all prompts, which is no run.
const ROOT: u32 = 0;
/// The parent of a run whose place in the tree is not known.
const FLOATING: u32 = u32::MAX;

/// A block: its run, and how many blocks of the run come before it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Place {
    pub(super) run: u32,
    pub(super) off: u32,
}

impl Place {
    /// As a number whose last 8 bits are 0.
    const fn pack(self) -> u64 {
        (self.run as u64) << 32 | (self.off as u64) << 8
    }

    const fn unpack(packed: u64) -> Option<Self> {
        let (run, off) = ((packed >> 32) as u32, (packed >> 8) as u32 & 0xff_ffff);
        if run == ROOT { None } else { Some(Self { run, off }) }
    }
}

/// What readers see.
pub(super) struct View {
    runs: Arc<Stable<Run>>,
    words: Arc<Stable<AtomicU64>>,
    heads: Arc<TableView>,
    /// Whether what the writer has locked stays locked.
    writer_is_gone: AtomicBool,
}

/// The writing end.
pub(super) struct Span {
    view: Arc<View>,
    arena: Arena,
    heads: Table,
    /// From a shared name to its place.
    names: Names,
    /// From a name in another space to its place, by [`key`](Self::key).
    own_names: Table,
    /// What only the writer knows of each run.
    meta: Vec<Meta>,
    free_runs: Vec<u32>,
    /// Whose each column is.
    owners: Vec<u32>,
    /// Whether names in a column cover several blocks each, or there are none: then a block has no name in it unless
    /// [`copies`](Self::copies) says so.
    is_wide: Vec<bool>,
    free_columns: Vec<Column>,
    /// Copies of a block in a column that are not one copy under the name that goes without saying.
    copies: HashMap<(Place, Column), Copies, BuildHasherDefault<Mixed>>,
    /// How many names of a wide column cover a block, where that is more than one.
    covers: HashMap<(Place, Column), u32, BuildHasherDefault<Mixed>>,
    /// Names beside the shared ones, for runs that have such.
    aliases: HashMap<u32, Aliases, BuildHasherDefault<Mixed>>,
    retired: Vec<sweep::Retired>,
    sweeping_at: u32,
    evicting_at: u32,
    floating: usize,
    blocks: usize,
    bytes: usize,
    /// Names whose block is gone, when somebody wants to know.
    gone: Vec<u64>,
    tells_gone: bool,
    next_domain: Domain,
    secret: u64,
}

/// Under which names how many copies there are.
type Copies = SmallVec<[(Domain, u32); 1]>;

/// What only the writer knows of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Meta {
    parent: u32,
    /// How many runs hang on it.
    children: u32,
    /// Behind how many of its blocks the last of them hangs, at most.
    reaches: u32,
    /// How many blocks there is room for.
    room: u32,
    /// How many words its groups have.
    list_room: u32,
    /// How many of its groups do not begin with the run.
    islands: u32,
    /// Whether [`Span::copies`] or [`Span::covers`] knows of it.
    has_copies: bool,
    /// Whether it has names beside the shared ones.
    has_aliases: bool,
    /// Whether something was stored in it since it was last considered for eviction.
    is_fresh: bool,
}

impl Span {
    pub(super) fn new(secret: u64) -> Self {
        let (runs, words) = (Arc::new(Stable::new()), Arc::new(Stable::new()));
        let heads = Table::new(secret);
        let view =
            View { runs, words: Arc::clone(&words), heads: heads.view(), writer_is_gone: AtomicBool::new(false) };
        Self {
            view: Arc::new(view),
            arena: Arena::new(words),
            heads,
            names: Names::new(secret.rotate_left(32)),
            own_names: Table::new(secret.rotate_left(16)),
            meta: vec![Meta::default()],
            free_runs: Vec::new(),
            owners: Vec::new(),
            is_wide: Vec::new(),
            free_columns: Vec::new(),
            copies: HashMap::default(),
            covers: HashMap::default(),
            aliases: HashMap::default(),
            retired: Vec::new(),
            sweeping_at: 1,
            evicting_at: 1,
            floating: 0,
            blocks: 0,
            bytes: 0,
            gone: Vec::new(),
            tells_gone: false,
            next_domain: SHARED,
            secret,
        }
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Different blocks that somebody holds, or that lie before such.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Runs in use.
    pub(super) fn runs(&self) -> usize {
        self.meta.len() - 1 - self.free_runs.len()
    }

    /// Bytes that were asked of the system, at least.
    pub(super) fn bytes(&self) -> usize {
        let meta = self.meta.capacity() * size_of::<Meta>();
        // A hash map has a byte for each place besides.
        let copies = self.copies.capacity() * (size_of::<((Place, Column), Copies)>() + 1);
        let covers = self.covers.capacity() * (size_of::<((Place, Column), u32)>() + 1);
        let aliases = self.aliases.capacity() * (size_of::<(u32, Aliases)>() + 1);
        let beside = meta + copies + covers + aliases;
        self.bytes + self.arena.bytes() + self.heads.bytes() + self.names.bytes() + self.own_names.bytes() + beside
    }

    /// Names of blocks, each once for every space that it is in.
    pub(super) const fn names(&self) -> usize {
        self.names.len() + self.own_names.len()
    }

    /// A new column of the worker with this number, in which each name covers one block unless it is wide; `None` when
    /// there are 65,536 already.
    pub(super) fn column(&mut self, owner: u32, is_wide: bool) -> Option<Column> {
        if let Some(column) = self.free_columns.pop() {
            self.owners[usize::from(column)] = owner;
            self.is_wide[usize::from(column)] = is_wide;
            return Some(column);
        }
        let column = Column::try_from(self.owners.len()).ok()?;
        self.owners.push(owner);
        self.is_wide.push(is_wide);
        Some(column)
    }

    /// Columns that were ever given out.
    pub(super) fn columns(&self) -> usize {
        self.owners.len()
    }

    /// The digest of a block, how many blocks its prefix has, and the digest before it.
    pub(super) fn prefix(&self, place: Place) -> (u64, u32, u64) {
        let header = self.run(place.run).peek();
        let before = match place.off {
            0 => header.before,
            off => self.view.word(header.digests + off - 1),
        };
        (self.view.word(header.digests + place.off), header.start + place.off + 1, before)
    }

    /// Where the block with this digest is, whose prefix has so many blocks: slow, for what is asked once in a while.
    pub(super) fn search(&self, digest: u64, depth: u32) -> Option<Place> {
        (1..self.meta.len() as u32).find_map(|run| {
            let header = self.run(run).peek();
            let off = (depth - 1).checked_sub(header.start).filter(|&off| off < header.len)?;
            (self.view.word(header.digests + off) == digest).then_some(Place { run, off })
        })
    }

    /// Names whose blocks are gone since the last call; keeps a list of them from the first call on.
    pub(super) fn take_gone(&mut self) -> Vec<u64> {
        self.tells_gone = true;
        std::mem::take(&mut self.gone)
    }

    #[inline]
    fn run(&self, run: u32) -> &Run {
        self.view.runs.at(run as usize)
    }

    fn meta(&self, run: u32) -> &Meta {
        &self.meta[run as usize]
    }

    fn meta_mut(&mut self, run: u32) -> &mut Meta {
        &mut self.meta[run as usize]
    }

    /// Where the shared name of a block is.
    #[inline]
    fn name_at(&self, place: Place) -> u32 {
        name_at(&self.view, &self.meta, place)
    }

    /// The place of a shared name.
    #[inline]
    fn named(&self, name: u64) -> Option<Place> {
        self.names.get(name, |place| self.view.word(self.name_at(place)))
    }

    /// Makes a name lead to a place, where it has to stand from now on, unless it is shared already; says whether it was not.
    #[inline]
    fn name_it(&mut self, name: u64, place: Place) -> bool {
        let Self { names, view, meta, .. } = self;
        names.insert(name, place, |place| view.word(name_at(view, meta, place)))
    }
}

#[inline]
fn name_at(view: &View, meta: &[Meta], place: Place) -> u32 {
    view.runs.at(place.run as usize).digests() + meta[place.run as usize].room + place.off
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blocks, runs) = (self.blocks, self.runs());
        f.debug_struct("Span").field("blocks", &blocks).field("runs", &runs).finish_non_exhaustive()
    }
}

impl View {
    /// The writer will never end what it is at, and readers need not wait for it. There must be no other thread.
    pub(super) fn lose_writer(&self) {
        self.writer_is_gone.store(true, Ordering::Relaxed);
        self.runs.all().for_each(Run::give_up);
    }

    pub(super) fn writer_is_gone(&self) -> bool {
        self.writer_is_gone.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// Mixes numbers that nobody chooses to be alike: places, runs and columns.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
