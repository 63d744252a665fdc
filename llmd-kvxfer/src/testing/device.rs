//! What every device must do.

#![expect(unsafe_code, reason = "bytes are copied while nobody else touches them")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llmd_core::{ErrorKind, Result};

use crate::device::{
    Device, DeviceCopy, DeviceId, DeviceMemory, Direction, HostMemory, Pinned, Rows, Slab, Ticket, Vendor,
};
use crate::plan::Copy;

/// Runs the sentences that every [`Device`] must make true.
///
/// `make` gives a device of which nothing is in use.
///
/// # Panics
///
/// When one is not true.
pub fn device(make: impl Fn() -> Arc<dyn Device>) {
    let sentences = [
        bytes_arrive_both_ways,
        many_small_copies_arrive,
        nothing_but_what_is_named_is_written,
        rows_arrive,
        packed_copies_arrive_or_are_refused,
        tickets_overlap_and_end_in_any_order,
        what_was_waited_for_is_seen_by_the_next,
        a_ticket_that_drops_has_waited,
        a_ticket_keeps_what_it_uses,
        nothing_to_copy_is_done,
        what_reaches_outside_is_refused,
        memory_of_another_device_is_refused,
        rows_that_overlap_are_refused,
        adopted_memory_is_kept_and_let_go,
        pinned_memory_is_let_go,
        nothing_cannot_be_allocated,
        what_is_copied_is_counted,
        copies_within_arrive_or_are_refused,
        small_copies_within_arrive_or_are_refused,
    ];
    for sentence in sentences {
        let device = make();
        sentence(device.as_ref());
        assert_eq!(device.counts().under_way, 0, "tickets of {} are left", device.id());
    }
}

const LEN: u64 = 1 << 17;

/// Memory of a device and of the host, as large, which nobody else touches.
struct Sides<'a> {
    device: &'a dyn Device,
    memory: DeviceMemory,
    host: Pinned,
}

impl<'a> Sides<'a> {
    fn new(device: &'a dyn Device) -> Self {
        let memory = device.allocate(LEN).unwrap_or_else(|error| panic!("{error}"));
        let host = HostMemory::allocate(LEN as usize).unwrap_or_else(|error| panic!("{error}"));
        Self { device, memory, host: device.pin(&host).unwrap_or_else(|error| panic!("{error}")) }
    }

    fn submit(&self, direction: Direction, batch: &[DeviceCopy]) -> Result<Ticket> {
        // SAFETY: both sides are ours, and the sentences touch them only when tickets are done.
        unsafe { self.device.copy(direction, &self.memory, &self.host, batch) }
    }

    fn copy(&self, direction: Direction, batch: &[DeviceCopy]) {
        self.submit(direction, batch).and_then(Ticket::wait).unwrap_or_else(|error| panic!("{error}"));
    }

    fn rows(&self, direction: Direction, rows: &Rows) -> Result<()> {
        // SAFETY: as above.
        unsafe { self.device.copy_strided(direction, &self.memory, &self.host, rows) }.and_then(Ticket::wait)
    }

    fn packed(&self, direction: Direction, batch: &[DeviceCopy], slab: &Slab) -> Result<()> {
        // SAFETY: as above, and nothing else uses the slab.
        unsafe { self.device.copy_packed(direction, &self.memory, &self.host, batch, slab) }.and_then(Ticket::wait)
    }

    fn write(&self, bytes: &[u8]) {
        // SAFETY: nothing is under way.
        unsafe { self.host.memory().write(0, bytes) }.unwrap_or_else(|error| panic!("{error}"));
    }

    fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; LEN as usize];
        // SAFETY: nothing is under way.
        unsafe { self.host.memory().read(0, &mut bytes) }.unwrap_or_else(|error| panic!("{error}"));
        bytes
    }

    /// Puts these bytes into the device, by one large copy.
    fn fill(&self, bytes: &[u8]) {
        self.write(bytes);
        self.copy(Direction::ToDevice, &[WHOLE]);
    }

    /// What is in the device, by one large copy.
    fn fetch(&self) -> Vec<u8> {
        self.copy(Direction::ToHost, &[WHOLE]);
        self.read()
    }
}

const WHOLE: DeviceCopy = DeviceCopy { device: 0, host: 0, len: LEN };

/// Bytes that tell where they are, and which of several they belong to.
fn pattern(which: u64) -> Vec<u8> {
    let byte = |at: u64| (at.wrapping_add(which << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..LEN).map(byte).collect()
}

/// Copies of different lengths, so that neither side has two of them one behind the other.
fn scattered(count: u64) -> Vec<DeviceCopy> {
    let place = LEN / count;
    // Odd, so each place comes once.
    let shuffled = |at: u64| (at * 0x2_6d4d + 7) % count;
    let copy = |at: u64| DeviceCopy {
        device: shuffled(at) * place,
        host: at * place + at % 3,
        len: place - 3 - shuffled(at) % (place / 2),
    };
    (0..count).map(copy).collect()
}

/// The same, one copy after the other, on bytes.
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

fn bytes_arrive_both_ways(device: &dyn Device) {
    let sides = Sides::new(device);
    sides.fill(&pattern(1));
    sides.write(&pattern(2));
    assert!(sides.fetch() == pattern(1), "what came back from {} is not what went there", device.id());
}

fn many_small_copies_arrive(device: &dyn Device) {
    for direction in Direction::ALL {
        let sides = Sides::new(device);
        let (batch, mut there, mut here) = (scattered(4096), pattern(1), pattern(2));
        sides.fill(&there);
        sides.write(&here);
        sides.copy(direction, &batch);
        plainly(direction, &batch, &mut there, &mut here);
        assert!(sides.read() == here, "{direction:?}: the host's bytes are others");
        assert!(sides.fetch() == there, "{direction:?}: the device's bytes are others");
    }
}

fn nothing_but_what_is_named_is_written(device: &dyn Device) {
    let sides = Sides::new(device);
    sides.fill(&pattern(1));
    sides.write(&pattern(2));
    sides.copy(Direction::ToHost, &[DeviceCopy { device: 100, host: 5001, len: 1 }]);
    let mut expected = pattern(2);
    expected[5001] = pattern(1)[100];
    assert!(sides.read() == expected, "more than a byte changed, or another");
}

fn rows_arrive(device: &dyn Device) {
    for direction in Direction::ALL {
        let sides = Sides::new(device);
        let first = DeviceCopy { device: 64, host: 3, len: 100 };
        let rows = Rows { first, count: 77, device_stride: 1024, host_stride: 101 };
        let copy = |row: u64| DeviceCopy { device: 64 + row * 1024, host: 3 + row * 101, len: 100 };
        let (batch, mut there, mut here) = ((0..77).map(copy).collect::<Vec<_>>(), pattern(1), pattern(2));
        sides.fill(&there);
        sides.write(&here);
        sides.rows(direction, &rows).unwrap_or_else(|error| panic!("{error}"));
        plainly(direction, &batch, &mut there, &mut here);
        assert!(sides.read() == here, "{direction:?}: the host's bytes are others");
        assert!(sides.fetch() == there, "{direction:?}: the device's bytes are others");
    }
}

fn packed_copies_arrive_or_are_refused(device: &dyn Device) {
    for direction in Direction::ALL {
        let sides = Sides::new(device);
        let slab = Slab::new(device, 512, LEN).unwrap_or_else(|error| panic!("{error}"));
        let (mut batch, mut there, mut here) = (scattered(512), pattern(1), pattern(2));
        batch.sort_by_key(|copy| copy.host);
        sides.fill(&there);
        sides.write(&here);
        let packed = sides.packed(direction, &batch, &slab);
        if !device.abilities().pack {
            assert_eq!(packed.map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
            continue;
        }
        packed.unwrap_or_else(|error| panic!("{error}"));
        plainly(direction, &batch, &mut there, &mut here);
        assert!(sides.read() == here, "{direction:?}: the host's bytes are others");
        assert!(sides.fetch() == there, "{direction:?}: the device's bytes are others");
        let small = Slab::new(device, 1, 4096).unwrap_or_else(|error| panic!("{error}"));
        let refused = sides.packed(direction, &batch, &small).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::Invalid), "a slab that is too small");
    }
}

fn tickets_overlap_and_end_in_any_order(device: &dyn Device) {
    let sides = Sides::new(device);
    let (mut there, mut here) = (pattern(1), pattern(2));
    sides.fill(&there);
    sides.write(&here);
    let batch = scattered(64);
    let mut tickets = Vec::new();
    for (at, copies) in batch.chunks(4).enumerate() {
        let direction = Direction::ALL[at % 2];
        tickets.push(sides.submit(direction, copies).unwrap_or_else(|error| panic!("{error}")));
        plainly(direction, copies, &mut there, &mut here);
    }
    // Every other is asked until it is done, the rest are waited for, the last first.
    let mut ended = 0;
    while let Some(mut ticket) = tickets.pop() {
        if ended % 2 == 0 {
            while !ticket.is_done().unwrap_or_else(|error| panic!("{error}")) {
                std::thread::yield_now();
            }
            assert!(matches!(ticket.is_done(), Ok(true)), "what is done stays so");
        } else {
            ticket.wait().unwrap_or_else(|error| panic!("{error}"));
        }
        ended += 1;
    }
    assert!(sides.read() == here, "the host's bytes are others");
    assert!(sides.fetch() == there, "the device's bytes are others");
}

fn what_was_waited_for_is_seen_by_the_next(device: &dyn Device) {
    let sides = Sides::new(device);
    sides.fill(&pattern(0));
    for round in 1..20 {
        sides.write(&pattern(round));
        sides.copy(Direction::ToDevice, &[DeviceCopy { device: 4096, host: 64, len: 1000 }]);
        sides.copy(Direction::ToHost, &[DeviceCopy { device: 4096, host: 100_000, len: 1000 }]);
        assert!(sides.read()[100_000..101_000] == pattern(round)[64..1064], "round {round} came too late");
    }
}

fn a_ticket_that_drops_has_waited(device: &dyn Device) {
    let sides = Sides::new(device);
    sides.write(&pattern(3));
    drop(sides.submit(Direction::ToDevice, &[WHOLE]));
    sides.write(&pattern(4));
    drop(sides.submit(Direction::ToHost, &[WHOLE]));
    assert!(sides.read() == pattern(3), "a ticket dropped before its copies were done");
}

fn a_ticket_keeps_what_it_uses(device: &dyn Device) {
    let Sides { memory, host, .. } = Sides::new(device);
    // SAFETY: nothing is under way, and nothing else uses them.
    let ticket = unsafe { device.copy(Direction::ToDevice, &memory, &host, &scattered(512)) };
    drop((memory, host));
    ticket.and_then(Ticket::wait).unwrap_or_else(|error| panic!("{error}"));
}

fn nothing_to_copy_is_done(device: &dyn Device) {
    let sides = Sides::new(device);
    let nothing = DeviceCopy { device: LEN, host: LEN, len: 0 };
    for batch in [&[][..], &[nothing]] {
        let mut ticket = sides.submit(Direction::ToHost, batch).unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(ticket.is_done(), Ok(true)), "nothing takes no time");
    }
}

fn what_reaches_outside_is_refused(device: &dyn Device) {
    let sides = Sides::new(device);
    let inside = DeviceCopy { device: 0, host: 0, len: 10 };
    for (outside, said) in [
        (DeviceCopy { device: LEN - 9, ..inside }, format!("10 bytes at offset {} of {LEN} bytes of", LEN - 9)),
        (DeviceCopy { host: LEN, ..inside }, format!("10 bytes at offset {LEN} of {LEN} bytes of the host")),
        (DeviceCopy { device: u64::MAX, ..inside }, format!("10 bytes at offset {} of {LEN}", u64::MAX)),
        (DeviceCopy { len: LEN + 1, ..inside }, format!("{} bytes at offset 0 of {LEN}", LEN + 1)),
    ] {
        for direction in Direction::ALL {
            let error = sides.submit(direction, &[inside, outside]).map(drop).expect_err("it reaches outside");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&said), "`{error}` does not say `{said}`");
        }
    }
    let rows = Rows { first: inside, count: LEN, device_stride: 10, host_stride: 10 };
    for count in [LEN, u64::MAX, 0] {
        let refused = sides.rows(Direction::ToHost, &Rows { count, ..rows }).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::Invalid), "{count} rows");
    }
}

fn memory_of_another_device_is_refused(device: &dyn Device) {
    let sides = Sides::new(device);
    let other = DeviceId { vendor: Vendor::Host, ordinal: 77 };
    // SAFETY: nothing reads or writes it, since it is refused.
    let memory = unsafe { DeviceMemory::new(other, sides.memory.address(), LEN, Arc::new(())) };
    let memory = memory.unwrap_or_else(|error| panic!("{error}"));
    let host = Pinned::new(other, sides.host.memory().clone(), Arc::new(()));
    let said = format!("memory of {other}, expected that of {}", device.id());
    for (memory, host) in [(&memory, &sides.host), (&sides.memory, &host)] {
        // SAFETY: nothing is under way.
        let refused = unsafe { device.copy(Direction::ToHost, memory, host, &[WHOLE]) };
        let error = refused.map(drop).expect_err("it is another's");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, said.clone()));
    }
}

fn rows_that_overlap_are_refused(device: &dyn Device) {
    let sides = Sides::new(device);
    let rows = Rows { first: DeviceCopy { device: 0, host: 0, len: 10 }, count: 3, device_stride: 9, host_stride: 10 };
    let error = sides.rows(Direction::ToDevice, &rows).expect_err("they overlap");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().starts_with("rows of 10 bytes every 9"), "`{error}` does not say which");
}

/// Says when it drops.
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn adopted_memory_is_kept_and_let_go(device: &dyn Device) {
    let sides = Sides::new(device);
    sides.fill(&pattern(5));
    let is_gone = Arc::new(AtomicBool::new(false));
    let keep = Arc::new((Told(Arc::clone(&is_gone)), sides.memory.clone()));
    // SAFETY: the keep holds the memory.
    let adopted = unsafe { device.adopt(sides.memory.address() + 1000, 5000, keep) };
    let adopted = adopted.unwrap_or_else(|error| panic!("{error}"));
    let batch = [DeviceCopy { device: 0, host: 10, len: 5000 }];
    // SAFETY: nothing is under way.
    let ticket = unsafe { device.copy(Direction::ToHost, &adopted, &sides.host, &batch) };
    ticket.and_then(Ticket::wait).unwrap_or_else(|error| panic!("{error}"));
    assert!(sides.read()[10..5010] == pattern(5)[1000..6000], "adopted memory is somewhere else");
    let clone = adopted.clone();
    drop(adopted);
    assert!(!is_gone.load(Ordering::SeqCst), "it is gone while a clone is there");
    drop(clone);
    assert!(is_gone.load(Ordering::SeqCst), "it is kept for nobody");
}

fn pinned_memory_is_let_go(device: &dyn Device) {
    let is_gone = Arc::new(AtomicBool::new(false));
    let owned = HostMemory::allocate(8192).unwrap_or_else(|error| panic!("{error}"));
    let keep = Arc::new((Told(Arc::clone(&is_gone)), owned.clone()));
    // SAFETY: the keep holds the memory.
    let memory = unsafe { HostMemory::new(owned.start(), owned.len(), keep) };
    let memory = memory.unwrap_or_else(|error| panic!("{error}"));
    let pinned = device.pin(&memory).unwrap_or_else(|error| panic!("{error}"));
    drop(memory);
    assert!(!is_gone.load(Ordering::SeqCst), "it is gone while it is pinned");
    drop(pinned);
    assert!(is_gone.load(Ordering::SeqCst), "it is kept for nobody");
    // And it can be pinned anew.
    drop(device.pin(&owned).unwrap_or_else(|error| panic!("{error}")));
}

fn nothing_cannot_be_allocated(device: &dyn Device) {
    let refused = device.allocate(0).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::Invalid));
}

fn what_is_copied_is_counted(device: &dyn Device) {
    let sides = Sides::new(device);
    let before = device.counts();
    sides.copy(Direction::ToHost, &scattered(64));
    let after = device.counts();
    let bytes: u64 = scattered(64).iter().map(|copy| copy.len).sum();
    assert_eq!(after.bytes - before.bytes, bytes);
    let copies = [after.batched_copies - before.batched_copies, after.single_copies - before.single_copies];
    let expected = if device.abilities().batch { [64, 0] } else { [0, 64] };
    assert_eq!(copies, expected, "copies in batches, and one by one");
}

fn copies_within_arrive_or_are_refused(device: &dyn Device) {
    let (from, to) = (Sides::new(device), Sides::new(device));
    from.fill(&pattern(1));
    to.fill(&pattern(2));
    let batch: Vec<_> =
        scattered(512).iter().map(|&DeviceCopy { device, host, len }| Copy { from: device, to: host, len }).collect();
    // SAFETY: both sides are ours, and nothing else is under way.
    let submit = |batch: &[Copy]| unsafe { device.copy_within(&from.memory, &to.memory, batch) }.and_then(Ticket::wait);
    if !device.abilities().within {
        assert_eq!(submit(&batch).map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
        return;
    }
    for batch in [&batch[..], &batch[..1]] {
        submit(batch).unwrap_or_else(|error| panic!("{error}"));
    }
    let mut expected = pattern(2);
    for &Copy { from, to, len } in &batch {
        expected[to as usize..(to + len) as usize].copy_from_slice(&pattern(1)[from as usize..(from + len) as usize]);
    }
    assert!(to.fetch() == expected, "the bytes that were copied within are others");
    assert!(from.fetch() == pattern(1), "what was read is another");
    for outside in [Copy { from: LEN, to: 0, len: 1 }, Copy { from: 0, to: LEN - 1, len: 2 }] {
        assert_eq!(submit(&[outside]).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    }
    let nothing = Copy { from: LEN, to: LEN, len: 0 };
    submit(&[nothing]).unwrap_or_else(|error| panic!("{error}"));
}

fn small_copies_within_arrive_or_are_refused(device: &dyn Device) {
    let (from, to) = (Sides::new(device), Sides::new(device));
    let slab = Slab::new(device, 1024, 1).unwrap_or_else(|error| panic!("{error}"));
    let submit = |batch: &[Copy]| {
        // SAFETY: both sides and the slab are ours, and nothing else is under way.
        unsafe { device.copy_within_packed(&from.memory, &to.memory, batch, &slab) }.and_then(Ticket::wait)
    };
    let copies = |count: u64| -> Vec<_> {
        scattered(count).iter().map(|&DeviceCopy { device, host, len }| Copy { from: device, to: host, len }).collect()
    };
    if !device.abilities().pack {
        assert_eq!(submit(&copies(512)).map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
        return;
    }
    // Few for the threads that there are, and many; of any length, and of one that threads take whole.
    let whole = |copy: &Copy| Copy { from: copy.from & !15, to: copy.to & !15, len: copy.len & !15 };
    let batches =
        [copies(7), copies(1024), copies(64).iter().map(whole).collect(), copies(1024).iter().map(whole).collect()];
    for batch in batches {
        from.fill(&pattern(1));
        to.fill(&pattern(2));
        submit(&batch).unwrap_or_else(|error| panic!("{error}"));
        let (read, mut expected) = (pattern(1), pattern(2));
        for &Copy { from, to, len } in &batch {
            expected[to as usize..(to + len) as usize].copy_from_slice(&read[from as usize..(from + len) as usize]);
        }
        assert!(to.fetch() == expected, "the bytes that a kernel copied within are others");
    }
    let too_many = vec![Copy { from: 0, to: 0, len: 1 }; slab.copies() + 1];
    let outside = [Copy { from: LEN, to: 0, len: 1 }];
    for refused in [&too_many[..], &outside] {
        assert_eq!(submit(refused).map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    }
    submit(&[Copy { from: LEN, to: LEN, len: 0 }]).unwrap_or_else(|error| panic!("{error}"));
}
