//! What goes wrong is said once, in the driver's words, and leaves nothing behind.

use std::path::Path;

use llmd_core::ErrorKind;
use llmd_kvxfer::device::{Cuda, DeviceCopy, Direction, Hip, HostMemory, Ticket};

use crate::fake::{Fake, Kind, Left};
use crate::sides::{Sides, pattern};

const LEN: u64 = 1 << 16;

fn copies(count: u64) -> Vec<DeviceCopy> {
    (0..count).map(|at| DeviceCopy { device: at * 200, host: at * 300, len: 100 }).collect()
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let error = Cuda::load_from(Path::new("nowhere/libcuda.so.1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "no driver's library was found: looked for nowhere/libcuda.so.1");
    let error = Hip::load_from(Path::new("nowhere/libamdhip64.so")).unwrap_err();
    assert_eq!(error.to_string(), "no driver's library was found: looked for nowhere/libamdhip64.so");
}

#[test]
fn without_a_driver_all_names_that_were_tried_are_given() {
    // On a machine that has the driver this says nothing.
    if let Err(error) = Cuda::load() {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        for name in ["libcuda.so", "libcuda.so.1"] {
            assert!(error.to_string().contains(name), "`{error}` does not name {name}");
        }
    }
    if let Err(error) = Hip::load() {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        for name in ["libamdhip64.so", "libamdhip64.so.6"] {
            assert!(error.to_string().contains(name), "`{error}` does not name {name}");
        }
    }
}

#[test]
fn a_library_that_is_no_driver_lacks_its_calls() {
    let fake = Fake::new(Kind::Hip);
    let error = Cuda::load_from(fake.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("has no `cuInit`: expected a newer driver"), "{error}");
}

#[test]
fn a_device_that_there_is_not_is_refused() {
    let fake = Fake::new(Kind::Cuda);
    let cuda = Cuda::load_from(fake.path()).unwrap();
    assert_eq!(cuda.count().unwrap(), 2);
    let error = cuda.device(2).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, "nvidia:2, expected one of 2 devices"));
}

#[test]
fn a_driver_that_does_not_start_says_why() {
    let fake = Fake::new(Kind::Cuda);
    fake.fail("init", 1, 100);
    let error = Cuda::load_from(fake.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "starting the driver of nvidia: a code without a name (100)");
}

#[test]
fn no_room_is_exhausted() {
    for kind in Kind::ALL {
        let fake = Fake::new(kind);
        let device = fake.device();
        let error = device.allocate(2 << 30).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        let said = format!("{}: allocating 2147483648 bytes: ERROR_OUT_OF_MEMORY (2)", device.id());
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_pin_that_fails_is_an_error_and_takes_nothing() {
    for kind in Kind::ALL {
        let fake = Fake::new(kind);
        let device = fake.device();
        let memory = HostMemory::allocate(8192).unwrap();
        fake.fail("register", 1, 2);
        let error = device.pin(&memory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(error.to_string().ends_with("pinning 8192 bytes of the host: ERROR_OUT_OF_MEMORY (2)"), "{error}");
        let pinned = device.pin(&memory).unwrap();
        assert_eq!(device.pin(&memory).unwrap_err().kind(), ErrorKind::Invalid, "it is pinned already");
        drop((pinned, device));
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn a_device_that_cannot_be_opened_leaves_nothing() {
    for (call, nth) in [("stream_create", 1), ("stream_create", 3), ("retain", 1)] {
        let fake = Fake::new(Kind::Cuda);
        let cuda = Cuda::load_from(fake.path()).unwrap();
        fake.fail(call, nth, 2);
        assert_eq!(cuda.device(0).unwrap_err().kind(), ErrorKind::Exhausted, "{call} {nth}");
        assert_eq!(fake.left(), Left::default(), "{call} {nth}");
    }
}

#[test]
fn a_kernel_that_cannot_be_loaded_is_said_when_it_is_wanted() {
    let fake = Fake::new(Kind::Cuda);
    fake.fail("module_load", 1, 218);
    let device = fake.device();
    assert!(!device.abilities().pack);
    assert!(fake.device().abilities().pack, "and only then");
}

#[test]
fn a_batch_that_is_refused_half_way_leaves_nothing_under_way() {
    for kind in [Kind::Cuda, Kind::Cuda12, Kind::Hip] {
        let fake = Fake::new(kind);
        let sides = Sides::new(fake.device(), LEN);
        fake.fail("batched_copy", 4, 1);
        let error = sides.submit(Direction::ToHost, &copies(10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let said = if kind == Kind::Cuda { "submitting 10 copies:" } else { "submitting copy 3 of 10:" };
        assert!(error.to_string().contains(said), "`{error}` does not say `{said}`");
        assert_eq!(sides.device.counts().under_way, 0);
        drop(sides);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn a_copy_that_is_refused_among_single_ones_is_named() {
    for kind in [Kind::OldCuda, Kind::OldHip] {
        let fake = Fake::new(kind);
        let sides = Sides::new(fake.device(), LEN);
        fake.fail("copy", 7, 1);
        let error = sides.submit(Direction::ToDevice, &copies(10)).unwrap_err();
        assert!(error.to_string().contains("submitting copy 6 of 10: ERROR_INVALID_VALUE (1)"), "{error}");
        drop(sides);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn a_copy_that_fails_later_is_said_once_by_its_own_ticket() {
    for kind in Kind::ALL {
        let fake = Fake::new(kind);
        let sides = Sides::new(fake.device(), LEN);
        sides.fill(&pattern(1, LEN));
        fake.fail_later(3, 700);
        let mut ticket = sides.submit(Direction::ToHost, &copies(10)).unwrap();
        let error = loop {
            match ticket.is_done() {
                Ok(false) => std::thread::yield_now(),
                Ok(true) => panic!("{kind:?}: it did not fail"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().ends_with("copying: ERROR_ILLEGAL_ADDRESS (700)"), "{error}");
        assert!(ticket.is_done().unwrap(), "an error is said once");
        ticket.wait().unwrap();
        // The next one knows nothing of it.
        assert_eq!(sides.fetch(), pattern(1, LEN));
        drop(sides);
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn nothing_is_done_before_the_driver_does_it_and_any_stream_may_be_first() {
    let fake = Fake::new(Kind::Cuda);
    let sides = Sides::new(fake.device(), LEN);
    fake.hold(true);
    let mut tickets: Vec<_> =
        (0..8).map(|at| sides.submit(Direction::ALL[at % 2], &copies(5)[at / 2..=at / 2]).unwrap()).collect();
    assert!(tickets.iter_mut().all(|ticket| !ticket.is_done().unwrap()), "nothing was done");
    assert_eq!(sides.device.counts().under_way, 8);
    fake.hold(false);
    tickets.into_iter().try_for_each(Ticket::wait).unwrap();
    assert_eq!(sides.device.counts().under_way, 0);
}

#[test]
fn too_many_tickets_are_refused() {
    let fake = Fake::new(Kind::Hip);
    let sides = Sides::new(fake.device(), LEN);
    fake.hold(true);
    let submit = |_| sides.submit(Direction::ToHost, &copies(1));
    let tickets: Vec<_> = (0..1024).map(submit).collect::<Result<_, _>>().unwrap();
    let error = submit(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert_eq!(error.to_string(), "amd:0: 1024 tickets are under way, expected fewer");
    fake.hold(false);
    tickets.into_iter().try_for_each(Ticket::wait).unwrap();
    submit(0).unwrap().wait().unwrap();
}

#[test]
fn a_device_that_is_lost_is_unavailable_and_nothing_hangs() {
    for kind in Kind::ALL {
        let fake = Fake::new(kind);
        let sides = Sides::new(fake.device(), LEN);
        fake.hold(true);
        let ticket = sides.submit(Direction::ToHost, &copies(10)).unwrap();
        fake.lose(true);
        assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(sides.submit(Direction::ToHost, &copies(1)).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(sides.device.allocate(1).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(sides.device.counts().under_way, 0);
        fake.hold(false);
    }
}
