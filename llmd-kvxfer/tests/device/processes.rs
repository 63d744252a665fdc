//! Two processes reach the same device memory.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use llmd_core::ErrorKind;
use llmd_kvxfer::device::IpcHandle;

use crate::fake::{Fake, Kind, Left, open};
use crate::sides::{Sides, import, pattern};

const LEN: u64 = 1 << 16;

fn kind(name: &str) -> Kind {
    if name == "hip" { Kind::Hip } else { Kind::Cuda }
}

/// Runs the test of this name in a process of its own, which is told what to import.
fn run_apart(test: &str, kind: &str, fake: &Fake, handle: &IpcHandle) {
    let hex: String = handle.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut child = Command::new(env::current_exe().expect("a test is a program"));
    child.args(["--exact", test, "--nocapture"]);
    child.env("LLMD_TEST_DRIVER", fake.path()).env("LLMD_TEST_KIND", kind).env("LLMD_TEST_HANDLE", hex);
    let output = child.output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// What the other process does: it looks at the second half, and writes it anew. By itself it does nothing.
#[test]
fn the_other_process() {
    let Some(path) = env::var_os("LLMD_TEST_DRIVER").map(PathBuf::from) else { return };
    let hex = env::var("LLMD_TEST_HANDLE").unwrap();
    let bytes: Vec<_> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let handle = IpcHandle::from_bytes(&bytes).unwrap();
    let device = open(kind(&env::var("LLMD_TEST_KIND").unwrap()), &path);
    let memory = import(device.as_ref(), &handle).unwrap();
    assert_eq!(memory.len(), LEN / 2);
    let sides = Sides { memory, ..Sides::new(device, LEN / 2) };
    assert_eq!(sides.fetch(), pattern(1, LEN)[LEN as usize / 2..]);
    sides.fill(&pattern(9, LEN / 2));
}

#[test]
fn what_one_exports_the_other_reads_and_writes() {
    for name in ["cuda", "hip"] {
        let fake = Fake::new(kind(name));
        let sides = Sides::new(fake.device(), LEN);
        sides.fill(&pattern(1, LEN));
        // Half of an allocation, as an engine's allocator hands them out.
        let half = crate::sides::adopt(&sides, LEN / 2);
        run_apart("processes::the_other_process", name, &fake, &sides.device.export(&half).unwrap());
        let now = sides.fetch();
        assert_eq!(now[..LEN as usize / 2], pattern(1, LEN)[..LEN as usize / 2]);
        assert_eq!(now[LEN as usize / 2..], pattern(9, LEN / 2));
        drop((half, sides));
        assert_eq!(fake.left(), Left::default());
    }
}

#[test]
fn a_handle_of_this_process_or_of_another_vendor_is_refused() {
    let (cuda, hip) = (Fake::new(Kind::Cuda), Fake::new(Kind::Hip));
    let sides = Sides::new(cuda.device(), LEN);
    let handle = sides.device.export(&sides.memory).unwrap();
    assert_eq!(IpcHandle::from_bytes(&handle.to_bytes()).unwrap(), handle);
    let error = import(sides.device.as_ref(), &handle).unwrap_err();
    assert!(error.to_string().ends_with("importing 65536 bytes: ERROR_INVALID_CONTEXT (201)"), "{error}");
    let error = import(hip.device().as_ref(), &handle).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Invalid, "a handle of nvidia, expected one of amd")
    );
}
