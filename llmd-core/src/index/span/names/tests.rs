use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// The n-th place there is, in runs of ten blocks.
fn place(n: u64) -> Place {
    Place { run: (n / 10) as u32 + 1, off: (n % 10) as u32 }
}

/// Any name stands at the place of its number.
fn name_of(place: Place) -> u64 {
    u64::from(place.run - 1) * 10 + u64::from(place.off)
}

fn nobody_passes(names: &Names) -> bool {
    names.segments.in_use().all(|bucket| passed(bucket) == 0)
}

#[test]
fn every_name_is_found_while_segments_grow_and_none_when_they_are_empty() {
    const NAMES: u64 = 50_000;
    let mut names = Names::new(0x5eed);
    for name in 0..NAMES {
        assert!(names.insert(name, place(name), name_of));
        assert!(!names.insert(name, place(NAMES), name_of), "it is there already");
    }
    assert_eq!(names.len(), NAMES as usize);
    assert!((0..NAMES).all(|name| names.get(name, name_of) == Some(place(name))));
    assert!((NAMES..2 * NAMES).all(|name| names.get(name, name_of).is_none()));
    assert!(!names.remove(7, place(8)), "it is elsewhere");
    assert!((0..NAMES).all(|name| names.remove(name, place(name))));
    assert!((0..NAMES).all(|name| !names.remove(name, place(name)) && names.get(name, name_of).is_none()));
    assert_eq!(names.len(), 0);
    assert!(nobody_passes(&names));
}

#[test]
fn a_name_takes_little_more_than_its_slot() {
    const NAMES: u64 = 1_000_000;
    let mut names = Names::new(0x5eed);
    for run in 0..NAMES / 10 {
        let new: Vec<u64> = (run * 10..run * 10 + 10).collect();
        names.insert_all(&new, place(run * 10), name_of, |_, is_new| assert!(is_new));
    }
    assert!((0..NAMES).all(|name| names.get(name, name_of) == Some(place(name))));
    let in_use = names.segments.in_use().count() * size_of::<Bucket>() / NAMES as usize;
    assert!((9..=13).contains(&in_use), "{in_use} bytes in use");
    assert!(names.bytes() / NAMES as usize <= 34, "{} bytes in all", names.bytes());
}

#[test]
fn thousands_of_names_come_and_go() {
    let (mut names, mut there) = (Names::new(0x5eed), vec![false; 6000]);
    let mut chance = 1_u64;
    for step in 0..200_000 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // First more and more, then fewer.
        let (name, comes) = ((chance >> 33) % 6000, (chance >> 20) % 100 < if step < 100_000 { 60 } else { 40 });
        let was_there = &mut there[name as usize];
        if comes {
            assert_eq!(names.insert(name, place(name), name_of), !*was_there);
        } else {
            assert_eq!(names.remove(name, place(name)), *was_there);
        }
        *was_there = comes;
    }
    assert_eq!(names.len(), there.iter().filter(|there| **there).count());
    assert!((0..6000).all(|name| names.get(name, name_of).is_some() == there[name as usize]));
}

#[test]
fn names_that_differ_in_their_first_bits_alone_are_spread() {
    let names = Names::new(0x5eed);
    let homes: HashSet<u64> = (0..1024_u64).map(|nth| tag(hash(names.secret, nth << 54 | 5))).collect();
    assert!(homes.len() > 1000, "{} tags", homes.len());
}

proptest! {
    #[test]
    fn names_are_a_map(
        secret: u64,
        steps in proptest::collection::vec((1..300_u64, 1..30_u64, any::<bool>()), 0..300),
    ) {
        let (mut names, mut model) = (Names::new(secret), HashMap::new());
        for (first, len, is_new) in steps {
            let range: Vec<u64> = (first..first + len).collect();
            if is_new {
                let mut new = Vec::new();
                names.insert_all(&range, place(first), name_of, |nth, is_new| new.push((range[nth], is_new)));
                // Blocks stand in one run: what lies in the next one is elsewhere, and named there.
                let wanted: Vec<_> = range.iter().map(|&name| (name, !model.contains_key(&name))).collect();
                prop_assert_eq!(new, wanted);
                for (nth, &name) in range.iter().enumerate() {
                    let stands = Place { off: place(first).off + nth as u32, ..place(first) };
                    model.entry(name).or_insert(stands);
                }
            } else {
                let known = model.get(&first).copied();
                prop_assert_eq!(known.is_some_and(|place| names.remove(first, place)), model.remove(&first).is_some());
            }
            prop_assert_eq!(names.len(), model.len());
        }
        for name in 1..330 {
            prop_assert_eq!(names.get(name, name_of), model.get(&name).copied());
        }
        let left: Vec<_> = model.into_iter().collect();
        for (name, place) in left {
            names.remove_all([name, 0].into_iter(), place);
        }
        prop_assert!(names.len() == 0 && nobody_passes(&names));
    }
}
