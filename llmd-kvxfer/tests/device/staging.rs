//! Transfers: every byte arrives whichever way it goes, and the way is the one that takes least.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::ErrorKind;
use llmd_kvxfer::device::{
    Costs, DeviceCopy, Direction, HostMemory, HostSide, PackCosts, PerDirection, Staging, StagingCounts, StagingLimits,
    Transfer,
};
use llmd_kvxfer::{Copy, KvLayout, KvShape, Plan};

use crate::fake::{Fake, Kind, Left};
use crate::sides::{Sides, drain, pattern, read, submit, write};

const LEN: u64 = 1 << 19;

/// Copies are dear, or packing is, or rows are cheap.
fn costs(copy_us: f64, pack: Option<f64>, row_us: Option<f64>) -> Costs {
    let pack = pack.map(|launch_us| PackCosts { launch_us, bytes_per_us: 1e6 });
    let each = PerDirection { bytes_per_us: 1e4, copy_us: vec![(4096, copy_us)], row_us, pack };
    Costs { to_device: each.clone(), to_host: each }
}

const SMALL: StagingLimits = StagingLimits { slot_bytes: 10_000, slot_copies: 64, transfers: 4 };

/// Copies of some hundred bytes: far from each other in the device, one behind the other in the host.
fn gathered(count: u64) -> Vec<DeviceCopy> {
    let len = |at: u64| 300 + at % 7;
    let host = |at: u64| (0..at).map(len).sum();
    let copy = |at: u64| DeviceCopy { device: (at * 37 % count) * 1000, host: host(at), len: len(at) };
    (0..count).map(copy).collect()
}

fn plainly(direction: Direction, batch: &[DeviceCopy], device: &mut [u8], host: &mut [u8]) {
    for copy in batch {
        let there = copy.device as usize..(copy.device + copy.len) as usize;
        let here = copy.host as usize..(copy.host + copy.len) as usize;
        match direction {
            Direction::ToDevice => device[there].copy_from_slice(&host[here]),
            Direction::ToHost => host[here].copy_from_slice(&device[there]),
        }
    }
}

/// Makes a transfer, and compares both sides with what plain copies give.
fn arrives(fake: &Fake, costs: &Costs, direction: Direction, is_pinned: bool, batch: &[DeviceCopy]) -> StagingCounts {
    let sides = Sides::new(fake.device(), LEN);
    let mut staging = Staging::new(Arc::clone(&sides.device), costs.clone(), SMALL).expect("the device does it");
    let (mut there, mut here) = (pattern(1, LEN), pattern(2, LEN));
    sides.fill(&there);
    // What the device reaches by itself is the pinned memory; the other kind is memory of its own.
    let pageable = HostMemory::allocate(LEN as usize).expect("the device does it");
    let host = if is_pinned { sides.pinned.memory() } else { &pageable };
    write(host, &here);
    let side = if is_pinned { HostSide::Pinned(sides.pinned.clone()) } else { HostSide::Pageable(pageable.clone()) };
    let transfer = Transfer::new(direction, &sides.memory, side, batch.iter().copied());
    let id = submit(&mut staging, transfer).expect("the device does it");
    let done = drain(&mut staging);
    assert!(matches!(done.as_slice(), [(one, Ok(()))] if *one == id), "{done:?}");
    plainly(direction, batch, &mut there, &mut here);
    assert!(read(host) == here, "{direction:?}: the host's bytes are others");
    assert!(sides.fetch() == there, "{direction:?}: the device's bytes are others");
    staging.counts()
}

#[test]
fn small_copies_are_packed_where_that_takes_less() {
    let fake = Fake::new(Kind::Cuda);
    for direction in Direction::ALL {
        for is_pinned in [true, false] {
            let batch = gathered(500);
            let bytes: u64 = batch.iter().map(|copy| copy.len).sum();
            let counts = arrives(&fake, &costs(1.0, Some(10.0), None), direction, is_pinned, &batch);
            assert!(counts.packed >= bytes / SMALL.slot_bytes, "{counts:?}");
            assert!(counts.batches <= 1, "but for what is left at the end: {counts:?}");
            assert_eq!(counts.staged_bytes, if is_pinned { 0 } else { bytes });
        }
    }
    assert_eq!(fake.left(), Left::default());
}

#[test]
fn they_go_as_they_are_where_packing_takes_more_or_is_not_there() {
    for (kind, pack) in [(Kind::Cuda, Some(1e9)), (Kind::Hip, Some(0.0)), (Kind::OldHip, None)] {
        let fake = Fake::new(kind);
        for direction in Direction::ALL {
            for is_pinned in [true, false] {
                let counts = arrives(&fake, &costs(1.0, pack, None), direction, is_pinned, &gathered(500));
                assert_eq!((counts.packed, counts.rows), (0, 0));
                assert_eq!(counts.batches > 1, !is_pinned, "{counts:?}");
            }
        }
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn rows_are_one_copy() {
    for kind in [Kind::Cuda, Kind::Hip] {
        let fake = Fake::new(kind);
        let batch: Vec<_> = (0..100).map(|at| DeviceCopy { device: at * 4096, host: at * 700, len: 512 }).collect();
        for direction in Direction::ALL {
            for is_pinned in [true, false] {
                let counts = arrives(&fake, &costs(1.0, Some(1e9), Some(0.01)), direction, is_pinned, &batch);
                assert!(counts.rows > 0 && counts.rows + counts.batches == 6, "{counts:?}");
            }
        }
    }
}

#[test]
fn what_is_larger_than_a_buffer_is_cut() {
    let fake = Fake::new(Kind::Cuda);
    let batch =
        [DeviceCopy { device: 3, host: 77, len: 100_001 }, DeviceCopy { device: 300_000, host: 500_000, len: 1 }];
    for direction in Direction::ALL {
        for is_pinned in [true, false] {
            arrives(&fake, &costs(1.0, Some(0.0), None), direction, is_pinned, &batch);
        }
    }
}

#[test]
fn what_a_plan_says_arrives_in_the_other_layout() {
    let fake = Fake::new(Kind::Cuda);
    let shape = KvShape { layers: 2, blocks: 8, heads: 4, tokens: 16, parts: 2, content: 64 };
    let (there, here) = (KvLayout::named("LBNHC", shape).unwrap(), KvLayout::named("BLHNC", shape).unwrap());
    let plan = Plan::new(&there, &here).unwrap();
    let (from, to) = ([5, 6, 1], [0, 1, 2]);
    let copies: Vec<Copy> = plan.copies(&from, &to).unwrap().collect();
    let bytes = pattern(1, LEN);
    let sides = Sides::new(fake.device(), LEN);
    sides.fill(&bytes);
    write(sides.pinned.memory(), &pattern(2, LEN));
    let mut staging = Staging::new(Arc::clone(&sides.device), costs(1.0, Some(1.0), None), SMALL).unwrap();
    let store = Transfer::store(&sides.memory, HostSide::Pinned(sides.pinned.clone()), copies.iter().copied());
    submit(&mut staging, store).unwrap();
    drain(&mut staging).pop().unwrap().1.unwrap();
    let stored = read(sides.pinned.memory());
    for Copy { from, to, len } in &copies {
        let (from, to, len) = (*from as usize, *to as usize, *len as usize);
        assert_eq!(stored[to..to + len], bytes[from..from + len]);
    }
    // And back: other bytes there, then the same again.
    sides.fill(&pattern(3, LEN));
    write(sides.pinned.memory(), &stored);
    let back = copies.iter().map(|copy| Copy { from: copy.to, to: copy.from, len: copy.len });
    submit(&mut staging, Transfer::load(&sides.memory, HostSide::Pinned(sides.pinned.clone()), back)).unwrap();
    drain(&mut staging).pop().unwrap().1.unwrap();
    let now = sides.fetch();
    for Copy { from, len, .. } in &copies {
        let (from, len) = (*from as usize, *len as usize);
        assert_eq!(now[from..from + len], bytes[from..from + len]);
    }
    assert!(staging.counts().packed > 0, "{:?}", staging.counts());
}

#[test]
fn a_transfer_fails_once_and_the_others_go_on() {
    for kind in Kind::ALL {
        let fake = Fake::new(kind);
        let sides = Sides::new(fake.device(), LEN);
        let mut staging = Staging::new(Arc::clone(&sides.device), costs(1.0, Some(10.0), None), SMALL).unwrap();
        fake.hold(true);
        let mut ids = Vec::new();
        for at in 0..3 {
            let place = |copy: DeviceCopy| DeviceCopy { host: copy.host + at * 200_000, ..copy };
            let batch = gathered(300).into_iter().map(place);
            let pageable = HostMemory::allocate(LEN as usize).unwrap();
            let side = HostSide::Pageable(pageable);
            let transfer = Transfer::new(Direction::ToHost, &sides.memory, side, batch);
            ids.push(submit(&mut staging, transfer).unwrap());
        }
        fake.fail_later(1, 719);
        fake.hold(false);
        let done = drain(&mut staging);
        let failed: Vec<_> = done.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| *id).collect();
        assert_eq!(failed, [ids[0]], "{kind:?}");
        let mut ended: Vec<_> = done.iter().map(|(id, _)| *id).collect();
        ended.sort_unstable();
        assert_eq!(ended, ids, "each ends once");
        drop((staging, sides));
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn no_room_is_waited_for_as_long_as_something_is_under_way() {
    let fake = Fake::new(Kind::Cuda);
    let sides = Sides::new(fake.device(), LEN);
    let mut staging = Staging::new(Arc::clone(&sides.device), costs(1.0, None, None), SMALL).unwrap();
    let transfer = || {
        let host = HostSide::Pinned(sides.pinned.clone());
        Transfer::new(Direction::ToHost, &sides.memory, host, gathered(10))
    };
    fake.hold(true);
    let ticket = sides.submit(Direction::ToHost, &[DeviceCopy { device: 0, host: LEN - 1, len: 1 }]).unwrap();
    fake.fail("event_create", 1, 2);
    submit(&mut staging, transfer()).unwrap();
    fake.hold(false);
    drain(&mut staging).pop().unwrap().1.unwrap();
    ticket.wait().unwrap();
    fake.fail("event_create", 1, 2);
    submit(&mut staging, transfer()).unwrap();
    assert_eq!(drain(&mut staging).pop().unwrap().1.unwrap_err().kind(), ErrorKind::Exhausted);
}

#[test]
fn polling_never_blocks_and_only_two_parts_are_under_way() {
    let fake = Fake::new(Kind::Cuda);
    let sides = Sides::new(fake.device(), LEN);
    let mut staging = Staging::new(Arc::clone(&sides.device), costs(1.0, Some(10.0), None), SMALL).unwrap();
    fake.hold(true);
    let mut done = Vec::new();
    for _ in 0..SMALL.transfers {
        let host = HostSide::Pinned(sides.pinned.clone());
        submit(&mut staging, Transfer::new(Direction::ToHost, &sides.memory, host, gathered(300))).unwrap();
        staging.poll(&mut done);
    }
    assert!(done.is_empty());
    assert_eq!(sides.device.counts().under_way, 2);
    let host = HostSide::Pinned(sides.pinned.clone());
    let more = Transfer::new(Direction::ToHost, &sides.memory, host, gathered(1));
    let error = submit(&mut staging, more).unwrap_err();
    assert_eq!((error.kind(), staging.waiting()), (ErrorKind::Exhausted, SMALL.transfers));
    fake.hold(false);
    assert_eq!(drain(&mut staging).len(), SMALL.transfers);
}

#[test]
fn what_reaches_outside_is_refused_before_anything_is_copied() {
    let fake = Fake::new(Kind::Hip);
    let sides = Sides::new(fake.device(), LEN);
    let mut staging = Staging::new(Arc::clone(&sides.device), costs(1.0, None, None), SMALL).unwrap();
    let outside = DeviceCopy { device: 0, host: LEN, len: 1 };
    let batch = gathered(10).into_iter().chain([outside]);
    let transfer = Transfer::new(Direction::ToHost, &sides.memory, HostSide::Pinned(sides.pinned.clone()), batch);
    assert_eq!(submit(&mut staging, transfer).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!((staging.waiting(), sides.device.counts().bytes), (0, 0));
    let limits = StagingLimits { slot_copies: 0, ..SMALL };
    let refused = Staging::new(Arc::clone(&sides.device), costs(1.0, None, None), limits);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn buffers_that_cannot_be_pinned_are_an_error() {
    let fake = Fake::new(Kind::Cuda);
    let device = fake.device();
    fake.fail("register", 2, 2);
    let error = Staging::new(device, costs(1.0, None, None), SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert_eq!(fake.left(), Left::default());
}

/// A clock that goes on by so much whenever it is asked.
fn ticking(by: Duration) -> impl FnMut() -> Duration {
    let mut now = Duration::ZERO;
    move || {
        now += by;
        now
    }
}

#[test]
fn costs_are_measured_as_long_as_there_is_time() {
    let fake = Fake::new(Kind::Cuda);
    let budget = Duration::from_millis(200);
    let measured = Costs::measure(fake.device().as_ref(), budget, &mut ticking(Duration::from_millis(1))).unwrap();
    for costs in [&measured.to_device, &measured.to_host] {
        assert_eq!(costs.copy_us.len(), 4);
        assert!(costs.pack.is_some() && costs.row_us.is_some());
        // Eight MiB in a tick of a millisecond.
        assert!((costs.bytes_per_us - 8388.608).abs() < 1e-6, "{}", costs.bytes_per_us);
    }
    let late = Costs::measure(fake.device().as_ref(), budget, &mut ticking(Duration::from_millis(60))).unwrap();
    assert!(late.to_device.copy_us.is_empty() && late.to_host.pack.is_none(), "{late:?}");
    let hip = Fake::new(Kind::Hip);
    let measured = Costs::measure(hip.device().as_ref(), budget, &mut ticking(Duration::from_millis(1))).unwrap();
    assert!(measured.to_device.pack.is_none(), "what the device cannot do has no cost");
    assert_eq!((fake.left(), hip.left()), (Left::default(), Left::default()));
}
