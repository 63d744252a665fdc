//! Memory that peers cannot map: by its address, and by copies of who serves it.

use std::os::fd::AsRawFd;

use super::*;

/// A pair of which the second reads like this, and how that is called.
fn pairs() -> [(Pair, &'static str); 2] {
    let build = |name: &str, shm: Shm| Agent::builder(name).transport(shm).build().unwrap();
    let pair = |shm| Pair { prefill: build("prefill-0", Shm::default()), decode: build("decode-0", shm) };
    [(pair(Shm::default()), "cma"), (pair(Shm::default().without_cma()), "staged")]
}

/// In memory that is only this process's.
fn adopted(agent: &Agent, seed: u8, layout: KvLayout) -> Pool {
    let pool = agent.register(Region::adopt_bytes(vec![0; layout.end() as usize]), layout).unwrap();
    fill(&pool, seed);
    pool
}

fn fill(pool: &Pool, seed: u8) {
    let len = pool.layout().block_bytes();
    (0..pool.layout().shape().blocks).for_each(|block| pool.write_block(block, &content(seed, block, len)).unwrap());
}

/// 48 MiB, each block of another byte: more than all slots hold.
fn large(agent: &Agent, seed: u8) -> Pool {
    let layout = KvLayout::opaque("large", 96, 512 << 10).unwrap();
    let pool = agent.register(Region::adopt_bytes(vec![0; layout.end() as usize]), layout).unwrap();
    (0..96).for_each(|block| pool.write_block(block, &vec![seed ^ block as u8; 512 << 10]).unwrap());
    pool
}

fn way(agent: &Agent, grant: &Grant, pool: &Pool) -> &'static str {
    agent.consider(grant, pool)[0].cost.as_ref().unwrap().way
}

/// How many bytes were fetched mapped, by address and staged.
fn by_way(agent: &Agent) -> [u64; 3] {
    let stats = agent.stats();
    [stats.mapped_bytes, stats.cma_bytes, stats.staged_bytes]
}

#[test]
fn an_engines_own_memory_arrives_in_every_layout() {
    let wide = KvShape { blocks: 32, tokens: 32, ..SHAPE };
    for (pair, name) in pairs() {
        let Pair { prefill, decode } = &pair;
        let computed = adopted(prefill, 1, layout("LBNHC"));
        for to in [layout("LBNHC"), layout("LBHNC"), layout("BLHNC"), KvLayout::named("LBNHC", wide).unwrap()] {
            let cache = adopted(decode, 2, to.clone());
            let mapped = filled(prefill, 3, to.clone());
            let from: Vec<u32> = (0..64).rev().collect();
            let into: Vec<u32> = (0..to.shape().blocks).collect();
            // What is right is what comes out of memory that is mapped.
            let straight = filled(prefill, 1, layout("LBNHC"));
            for (source, target) in [(&straight, &mapped), (&computed, &cache)] {
                let reader = if target.id() == cache.id() && source.id() == computed.id() { decode } else { prefill };
                let grant = prefill.grant(source, &from, Lease::for_secs(30)).unwrap();
                let op = reader.fetch(&grant, target, &into, LONG).unwrap();
                let fetched = reader.wait(op, LONG).unwrap();
                assert_eq!((fetched.outcome, fetched.transport), (Outcome::Done, "shm"), "{name}: {:?}", fetched.why);
                assert!(fetched.blocks.is_all());
                if reader.id() == decode.id() {
                    assert_eq!(way(decode, &grant, &cache), name);
                }
            }
            for &block in &into {
                assert!(cache.read_block(block).unwrap() == mapped.read_block(block).unwrap(), "{block} by {name}");
            }
        }
        let bytes = 4 * 64 * computed.layout().block_bytes();
        assert_eq!(by_way(decode), if name == "cma" { [0, bytes, 0] } else { [0, 0, bytes] });
        assert_eq!(prefill.stats().served_bytes, if name == "cma" { 0 } else { bytes });
    }
}

#[test]
fn a_file_that_can_be_cut_off_is_not_mapped() {
    for (Pair { prefill, decode }, name) in pairs() {
        let path = std::env::temp_dir().join(format!("llmd-unmapped-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![0; layout("LBNHC").end() as usize]).unwrap();
        let computed = prefill.register(Region::adopt_path(&path).unwrap(), layout("LBNHC")).unwrap();
        fill(&computed, 1);
        std::fs::remove_file(&path).unwrap();
        let cache = filled(&decode, 2, layout("LBNHC"));
        let grant = prefill.grant(&computed, &[9, 3], Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &[0, 1], LONG).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
        assert_eq!(way(&decode, &grant, &cache), name);
        assert!(cache.read_block(1).unwrap() == computed.read_block(3).unwrap());
    }
}

#[test]
fn only_a_part_of_a_grant_is_fetched() {
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (adopted(&prefill, 1, layout("LBNHC")), adopted(&decode, 2, layout("LBHNC")));
        let grant = prefill.grant(&computed, &[9, 3, 60, 7, 8], Lease::for_secs(30)).unwrap();
        let part = grant.part(2..4).unwrap();
        let op = decode.fetch(&part, &cache, &[5, 6], LONG).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done, "{name}");
        let back = adopted(&prefill, 3, layout("LBNHC"));
        let grant = decode.grant(&cache, &[5, 6], Lease::for_secs(30)).unwrap();
        let op = prefill.fetch(&grant, &back, &[1, 2], LONG).unwrap();
        assert_eq!(prefill.wait(op, LONG).unwrap().outcome, Outcome::Done);
        for (from, to) in [(60, 1), (7, 2)] {
            assert!(back.read_block(to).unwrap() == computed.read_block(from).unwrap(), "{from} to {to} by {name}");
        }
    }
}

#[test]
fn what_was_changed_after_it_was_sealed_is_corrupt_and_the_rest_arrives() {
    for (Pair { prefill, decode }, name) in pairs() {
        for to in ["LBNHC", "LBHNC"] {
            let (computed, cache) = (adopted(&prefill, 1, layout("LBNHC")), adopted(&decode, 2, layout(to)));
            let grant = prefill.grant(&computed, &[4, 5, 6], Lease::for_secs(30)).unwrap();
            let first = decode.submit(&Fetch::new(&grant, &cache, &[0, 1, 2]).and_hold()).unwrap();
            assert_eq!(decode.wait(first, LONG).unwrap().outcome, Outcome::Done);
            let mut flipped = computed.read_block(5).unwrap();
            flipped[777] ^= 4;
            computed.write_block(5, &flipped).unwrap();
            let again = decode.submit(&Fetch::new(&grant, &cache, &[3, 4, 5]).and_hold()).unwrap();
            let fetched = decode.wait(again, LONG).unwrap();
            assert_eq!(fetched.outcome, Outcome::Corrupt, "{name} to {to}");
            assert_eq!(fetched.blocks.failed().collect::<Vec<_>>(), [1]);
            assert!(cache.read_block(3).unwrap() == cache.read_block(0).unwrap());
        }
    }
}

#[test]
fn a_lease_that_ended_is_stale_and_a_forged_one_denied() {
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (adopted(&prefill, 1, layout("LBNHC")), adopted(&decode, 2, layout("LBNHC")));
        let outcome = |grant: &Grant| {
            let op = decode.fetch(grant, &cache, &[0], LONG).unwrap();
            decode.wait(op, LONG).unwrap().outcome
        };
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        assert_eq!(outcome(&grant), Outcome::Done);
        assert_eq!(lease_end(&prefill).free, [4]);
        assert_eq!(outcome(&grant), Outcome::Stale, "{name}");
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        let mut forged = grant.to_bytes();
        let secret = grant.capability().to_bytes();
        let place = forged.windows(16).position(|window| window == secret).unwrap();
        forged[place] ^= 1;
        assert_eq!(outcome(&Grant::from_bytes(&forged).unwrap()), Outcome::Denied, "{name}");
    }
}

/// Some slots are filled again and again, and cancels come at any time.
#[test]
fn a_transfer_may_be_cancelled_at_any_time_and_leaves_all_slots() {
    let all: Vec<u32> = (0..96).collect();
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (large(&prefill, 0), large(&decode, 128));
        let grant = prefill.grant(&computed, &all, Lease::for_secs(60)).unwrap();
        let mut outcomes = Vec::new();
        for round in 0..12 {
            let op = decode.submit(&Fetch::new(&grant, &cache, &all).and_hold()).unwrap();
            std::thread::sleep(Duration::from_micros(700 * round));
            decode.cancel(op).unwrap();
            let fetched = decode.wait(op, LONG).unwrap();
            if fetched.outcome == Outcome::Cancelled {
                let before = cache.read_block(95).unwrap();
                std::thread::sleep(Duration::from_millis(3));
                assert!(cache.read_block(95).unwrap() == before, "nothing is written after the end");
            }
            outcomes.push(fetched.outcome);
        }
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Cancelled | Outcome::Done)), "{outcomes:?}");
        assert!(outcomes.contains(&Outcome::Cancelled), "{name}");
        let op = decode.submit(&Fetch::new(&grant, &cache, &all).and_hold()).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done, "{name}");
        assert!(all.iter().all(|&block| cache.read_block(block).unwrap() == computed.read_block(block).unwrap()));
    }
}

#[test]
fn many_transfers_share_the_slots() {
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (adopted(&prefill, 1, layout("LBNHC")), adopted(&decode, 2, layout("LBHNC")));
        let grant = prefill.grant(&computed, &(0..64).collect::<Vec<_>>(), Lease::for_secs(30)).unwrap();
        let fetch = |block: u32| {
            let part = grant.part(block as usize..block as usize + 1).unwrap();
            decode.submit(&Fetch::new(&part, &cache, &[block]).and_hold()).unwrap()
        };
        let ops: Vec<_> = (0..64).map(fetch).collect();
        for op in ops {
            assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done, "{name}");
        }
    }
}

#[test]
fn blocks_that_are_larger_than_most_have_slots_of_their_own() {
    for (Pair { prefill, decode }, name) in pairs() {
        // A period is 3 blocks of 1.5 MiB here, and 2 there.
        let shape = |blocks, tokens| KvShape { layers: 6, blocks, heads: 4, tokens, parts: 2, content: 512 };
        let (small, wide) = (shape(9, 64), shape(6, 96));
        for (from, to) in [(small, small), (small, wide), (wide, small)] {
            let layout = |name, shape| KvLayout::named(name, shape).unwrap();
            let computed = adopted(&prefill, 1, layout("LBNHC", from));
            let (cache, back) = (adopted(&decode, 2, layout("LBHNC", to)), adopted(&prefill, 3, layout("LBNHC", from)));
            let all = |shape: KvShape| (0..shape.blocks).collect::<Vec<_>>();
            let grant = prefill.grant(&computed, &all(from), Lease::for_secs(30)).unwrap();
            let op = decode.fetch(&grant, &cache, &all(to), LONG).unwrap();
            let fetched = decode.wait(op, LONG).unwrap();
            assert_eq!(fetched.outcome, Outcome::Done, "{name}: {:?}", fetched.why);
            let grant = decode.grant(&cache, &all(to), Lease::for_secs(30)).unwrap();
            let op = prefill.fetch(&grant, &back, &all(from), LONG).unwrap();
            assert_eq!(prefill.wait(op, LONG).unwrap().outcome, Outcome::Done);
            for block in all(from) {
                assert!(back.read_block(block).unwrap() == computed.read_block(block).unwrap(), "{block} by {name}");
            }
        }
    }
}

#[test]
fn the_side_that_serves_may_release_while_it_is_read() {
    let all: Vec<u32> = (0..96).collect();
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (large(&prefill, 0), large(&decode, 128));
        // The way is known and the slots are there.
        let grant = prefill.grant(&computed, &[0], Lease::for_secs(60)).unwrap();
        let op = decode.fetch(&grant, &cache, &[0], LONG).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done);
        // Now and then it is all there before it is released.
        let outcome = (0..20).map(|_| {
            let grant = prefill.grant(&computed, &all, Lease::for_secs(60)).unwrap();
            let op = decode.fetch(&grant, &cache, &all, LONG).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            prefill.release(grant.lease()).unwrap();
            decode.wait(op, LONG).unwrap().outcome
        });
        assert_eq!(outcome.into_iter().find(|&outcome| outcome != Outcome::Done), Some(Outcome::Stale), "{name}");
        let grant = prefill.grant(&computed, &all, Lease::for_secs(60)).unwrap();
        let op = decode.fetch(&grant, &cache, &all, LONG).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Done, "{name}");
    }
}

#[test]
fn a_region_is_not_read_after_its_pool_is_gone() {
    for (Pair { prefill, decode }, name) in pairs() {
        let (computed, cache) = (adopted(&prefill, 1, layout("LBNHC")), adopted(&decode, 2, layout("LBNHC")));
        let grant = prefill.grant(&computed, &[4, 5], Lease::for_secs(30)).unwrap();
        let fetch = || {
            let op = decode.submit(&Fetch::new(&grant, &cache, &[0, 1]).and_hold()).unwrap();
            decode.wait(op, LONG).unwrap().outcome
        };
        assert_eq!(fetch(), Outcome::Done);
        prefill.unregister(&computed).unwrap();
        drop(computed);
        assert_eq!(fetch(), Outcome::Stale, "{name}");
    }
}

#[test]
fn memory_that_is_only_for_reading_is_not_fetched_into() {
    for (Pair { prefill, decode }, _) in pairs() {
        let computed = adopted(&prefill, 1, layout("LBNHC"));
        let region = Region::memfd(layout("LBNHC").end() as usize).unwrap();
        let fd = region.fd().unwrap();
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let cache = decode
            .register(Region::adopt_fd(std::fs::File::open(path).unwrap().into()).unwrap(), layout("LBNHC"))
            .unwrap();
        let grant = prefill.grant(&computed, &[4], Lease::for_secs(30)).unwrap();
        let op = decode.fetch(&grant, &cache, &[0], LONG).unwrap();
        assert_eq!(decode.wait(op, LONG).unwrap().outcome, Outcome::Io);
    }
}

#[test]
fn two_that_read_the_same_for_the_first_time_both_have_it() {
    for turn in 0..12 {
        let build = |name: &str| Agent::builder(name).transport(Shm::default()).build().unwrap();
        let (prefill, readers) = (build("prefill-0"), [build("decode-0"), build("decode-1")]);
        let computed = adopted(&prefill, 1, layout("LBNHC"));
        let caches = readers.each_ref().map(|reader| adopted(reader, 2, layout("LBNHC")));
        if turn % 3 == 0 {
            std::thread::sleep(Duration::from_millis(3));
        }
        let terms = Lease::for_secs(30).consumers(2);
        let grant = prefill.grant(&computed, &[1], terms).unwrap();
        std::thread::scope(|scope| {
            for (reader, cache) in readers.iter().zip(&caches) {
                let grant = &grant;
                scope.spawn(move || {
                    let op = reader.fetch(grant, cache, &[3], LONG).unwrap();
                    let fetched = reader.wait(op, LONG).unwrap();
                    assert_eq!(fetched.outcome, Outcome::Done, "turn {turn}: {:?}", fetched.why);
                });
            }
        });
    }
}
