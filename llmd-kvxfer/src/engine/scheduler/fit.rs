//! Which shards of another engine each of our workers needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use crate::layout::KvLayout;
use crate::plan::Plan;

/// By group, how each shard's cache is laid out.
pub(super) type Layouts = BTreeMap<GroupIdx, Vec<KvLayout>>;

/// Which shards of another engine each of our workers needs.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fit {
    /// By worker, in order.
    pub(super) needed: Vec<Vec<u32>>,
    /// By nobody.
    pub(super) unneeded: Vec<u32>,
}

/// What was found for layouts that came before: engines are few, and requests many.
#[derive(Debug, Default)]
pub(super) struct Fits {
    known: HashMap<Layouts, Result<Arc<Fit>, String>>,
}

/// How many are remembered.
const MAX_KNOWN: usize = 64;

impl Fits {
    /// Which of `theirs` each of `ours` needs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] with what does not fit.
    pub(super) fn fit(&mut self, theirs: Layouts, ours: &Layouts) -> Result<Arc<Fit>> {
        let refused = |why: String| Error::new(ErrorKind::Invalid, why);
        if let Some(known) = self.known.get(&theirs) {
            return known.clone().map_err(refused);
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let found = fit(&theirs, ours).map(Arc::new);
        self.known.insert(theirs, found.clone());
        found.map_err(refused)
    }

    /// Ours are others now.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

fn fit(theirs: &Layouts, ours: &Layouts) -> Result<Fit, String> {
    if !theirs.keys().eq(ours.keys()) {
        return Err(format!("groups {} are offered, expected {}", listed(theirs), listed(ours)));
    }
    let shards = theirs.values().next().map_or(0, Vec::len) as u32;
    let workers = ours.values().next().map_or(0, Vec::len);
    let mut needed = vec![BTreeSet::new(); workers];
    for (group, there) in theirs {
        for (worker, here) in ours[group].iter().enumerate() {
            let covered = cover(there, here, worker, workers).map_err(|why| format!("group {}: {why}", group.0))?;
            needed[worker].extend(covered);
        }
    }
    let unneeded = (0..shards).filter(|shard| !needed.iter().any(|needed| needed.contains(shard))).collect();
    Ok(Fit { needed: needed.into_iter().map(|needed| needed.into_iter().collect()).collect(), unneeded })
}

/// Which of these shards this worker needs of one group.
fn cover(there: &[KvLayout], here: &KvLayout, worker: usize, workers: usize) -> Result<Vec<u32>, String> {
    there.iter().try_for_each(|there| same_format(there.format(), here.format()))?;
    // The shard in the same place is the nearest, whichever others have the same.
    if there.len() == workers && Plan::new(&there[worker], here).map_err(|error| error.to_string())?.is_complete() {
        return Ok(vec![worker as u32]);
    }
    if there.iter().any(KvLayout::is_opaque) {
        let shards = there.len();
        return Err(format!("{shards} shards of blocks of whose inside nothing is known, expected {workers}"));
    }
    let plans = Plan::cover(there, here).map_err(|error| error.to_string())?;
    Ok(plans.into_iter().map(|(shard, _)| shard as u32).collect())
}

/// Refuses contents that differ, by what it is in which they do: formats are `key=value` pairs with `;` between.
fn same_format(theirs: &str, ours: &str) -> Result<(), String> {
    if theirs == ours {
        return Ok(());
    }
    let pairs = |format: &str| -> BTreeMap<String, String> {
        let split = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        format.split(';').filter_map(split).collect()
    };
    let (there, here) = (pairs(theirs), pairs(ours));
    let keys: BTreeSet<_> = there.keys().chain(here.keys()).collect();
    let said = |value: Option<&String>| value.map_or_else(|| "not said".to_owned(), |value| format!("`{value}`"));
    let differs = keys.into_iter().find(|key| there.get(*key) != here.get(*key));
    Err(match differs {
        Some(key) => format!("{key} is {} there, expected {}", said(there.get(key)), said(here.get(key))),
        None => format!("the content is `{theirs}` there, expected `{ours}`"),
    })
}

fn listed(layouts: &Layouts) -> String {
    layouts.keys().map(|group| group.0.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KvShape;

    const SHAPE: KvShape = KvShape { layers: 2, blocks: 8, heads: 4, tokens: 16, parts: 2, content: 64 };

    /// Heads in equal parts.
    fn sharded(shards: u32) -> Layouts {
        let heads = SHAPE.heads / shards;
        let shard = |shard| {
            let layout = KvLayout::named("LBHNC", KvShape { heads, ..SHAPE }).unwrap();
            layout.from_head(shard * heads).of_format("dtype=bfloat16")
        };
        [(GroupIdx(0), (0..shards).map(shard).collect())].into()
    }

    fn opaque(shards: usize, format: &str) -> Layouts {
        [(GroupIdx(0), vec![KvLayout::opaque(format, 8, 4096).unwrap(); shards])].into()
    }

    fn needed(theirs: &Layouts, ours: &Layouts) -> Vec<Vec<u32>> {
        fit(theirs, ours).unwrap().needed
    }

    #[test]
    fn each_worker_needs_the_shards_that_have_its_heads() {
        assert_eq!(needed(&sharded(1), &sharded(1)), [[0]]);
        assert_eq!(needed(&sharded(2), &sharded(2)), [[0], [1]]);
        assert_eq!(needed(&sharded(2), &sharded(1)), [[0, 1]]);
        assert_eq!(needed(&sharded(1), &sharded(2)), [[0], [0]]);
        assert_eq!(needed(&sharded(2), &sharded(4)), [[0], [0], [1], [1]]);
        assert_eq!(needed(&opaque(3, ""), &opaque(3, "")), [[0], [1], [2]]);
    }

    #[test]
    fn a_shard_that_others_have_too_is_needed_by_nobody() {
        let mut twice = sharded(1);
        twice.get_mut(&GroupIdx(0)).unwrap().extend(sharded(1)[&GroupIdx(0)].clone());
        let fit = fit(&twice, &sharded(1)).unwrap();
        assert_eq!((fit.needed, fit.unneeded), (vec![vec![0]], vec![1]));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let said = |theirs: &Layouts, ours: &Layouts| fit(theirs, ours).unwrap_err();
        let (there, here) = ("model=tiny;dtype=float16;cache=auto", "model=tiny;dtype=bfloat16;cache=auto");
        let packed = "model=tiny;dtype=bfloat16;cache=auto;packing=vec";
        assert_eq!(said(&opaque(1, there), &opaque(1, here)), "group 0: dtype is `float16` there, expected `bfloat16`");
        assert_eq!(said(&opaque(1, here), &opaque(1, packed)), "group 0: packing is not said there, expected `vec`");
        assert_eq!(said(&opaque(1, "a"), &opaque(1, "b")), "group 0: the content is `a` there, expected `b`");
        assert_eq!(
            said(&opaque(2, ""), &opaque(1, "")),
            "group 0: 2 shards of blocks of whose inside nothing is known, expected 1"
        );
        let mut more = opaque(1, "");
        more.insert(GroupIdx(2), vec![KvLayout::opaque("", 8, 4096).unwrap()]);
        assert_eq!(said(&more, &opaque(1, "")), "groups 0, 2 are offered, expected 0");
    }
}
