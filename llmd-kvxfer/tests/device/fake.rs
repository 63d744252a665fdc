//! The fake driver: built by the system's C compiler, loaded as a driver is, and told what is to go wrong.

#![expect(unsafe_code, reason = "a C library is told what to do")]

use std::ffi::{CString, c_char, c_int, c_uint};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::{env, fs, process};

use libloading::Library;
use llmd_kvxfer::device::{Cuda, Device, Hip};
use tempfile::TempDir;

/// Which driver it pretends to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Of CUDA 13: it takes batches.
    Cuda,
    /// Of CUDA 12.8: it takes batches, and says at which copy they failed.
    Cuda12,
    /// Before: it takes no batches.
    OldCuda,
    /// Of ROCm 7.
    Hip,
    /// Of ROCm 6: it takes no batches.
    OldHip,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Cuda, Self::Cuda12, Self::OldCuda, Self::Hip, Self::OldHip];

    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Cuda => &["-DFAKE_CUDA"],
            Self::Cuda12 => &["-DFAKE_CUDA", "-DFAKE_POINTING"],
            Self::OldCuda => &["-DFAKE_CUDA", "-DFAKE_OLD"],
            Self::Hip => &["-DFAKE_HIP"],
            Self::OldHip => &["-DFAKE_HIP", "-DFAKE_OLD"],
        }
    }

    pub(crate) const fn is_hip(self) -> bool {
        matches!(self, Self::Hip | Self::OldHip)
    }
}

/// A fake driver of its own: two of them know nothing of each other.
pub(crate) struct Fake {
    kind: Kind,
    path: PathBuf,
    control: Library,
    // Last: the library is a file in it.
    _folder: TempDir,
}

/// What was not given back.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) allocations: usize,
    pub(crate) imports: usize,
    pub(crate) registrations: usize,
    pub(crate) events: usize,
    pub(crate) streams: usize,
    pub(crate) modules: usize,
    pub(crate) contexts: usize,
    /// What a driver may take badly: memory that went while it was in use, or a thread that entered nothing.
    pub(crate) misuses: usize,
}

impl Fake {
    pub(crate) fn new(kind: Kind) -> Self {
        // Each has a name of its own, or the loader would take two for one.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let path = folder.path().join(format!("fake{}.so", MADE.fetch_add(1, Ordering::Relaxed)));
        fs::copy(built(kind), &path).expect("there is room for it");
        // SAFETY: it is our own, and does nothing when it is loaded.
        let control = unsafe { Library::new(&path) }.expect("it was just built");
        Self { kind, path, control, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its first device.
    pub(crate) fn device(&self) -> Arc<dyn Device> {
        open(self.kind, &self.path)
    }

    fn call<T: Copy>(&self, name: &str) -> T {
        // SAFETY: each caller below gives the type that the call has in `fake.c`.
        *unsafe { self.control.get::<T>(name) }.expect("the fake driver has it")
    }

    /// The nth call of this name from now on gives this code.
    pub(crate) fn fail(&self, call: &str, nth: u32, code: i32) {
        let name = CString::new(call).expect("a name has no zero");
        let fail: unsafe extern "C" fn(*const c_char, c_uint, c_int) = self.call("llmd_fake_fail");
        // SAFETY: the name ends with a zero.
        unsafe { fail(name.as_ptr(), nth, code) };
    }

    /// The nth copy that is done from now on gives this code.
    pub(crate) fn fail_later(&self, nth: u32, code: i32) {
        let fail: unsafe extern "C" fn(c_uint, c_int) = self.call("llmd_fake_fail_later");
        // SAFETY: numbers are all that it takes.
        unsafe { fail(nth, code) };
    }

    pub(crate) fn lose(&self, lost: bool) {
        self.switch("llmd_fake_lose", lost);
    }

    pub(crate) fn hold(&self, held: bool) {
        self.switch("llmd_fake_hold", held);
    }

    fn switch(&self, name: &str, on: bool) {
        let switch: unsafe extern "C" fn(c_int) = self.call(name);
        // SAFETY: a number is all that it takes.
        unsafe { switch(on.into()) };
    }

    pub(crate) fn delay(&self, us: u32) {
        let delay: unsafe extern "C" fn(c_uint) = self.call("llmd_fake_delay");
        // SAFETY: a number is all that it takes.
        unsafe { delay(us) };
    }

    pub(crate) fn left(&self) -> Left {
        let mut left = [0usize; 8];
        let count: unsafe extern "C" fn(*mut usize) = self.call("llmd_fake_left");
        // SAFETY: it writes eight numbers.
        unsafe { count(left.as_mut_ptr()) };
        let [allocations, imports, registrations, events, streams, modules, contexts, misuses] = left;
        Left { allocations, imports, registrations, events, streams, modules, contexts, misuses }
    }
}

/// The first device of the driver in a file.
pub(crate) fn open(kind: Kind, path: &Path) -> Arc<dyn Device> {
    if kind.is_hip() {
        Hip::load_from(path).and_then(|hip| hip.device(0)).expect("the fake driver has a device")
    } else {
        Cuda::load_from(path).and_then(|cuda| cuda.device(0)).expect("the fake driver has a device")
    }
}

/// The library of this kind, which is built once in a process.
fn built(kind: Kind) -> PathBuf {
    static BUILT: [OnceLock<PathBuf>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_driver/fake.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let to = folder.join(format!("fake-{kind:?}-{}.so", process::id()));
        let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared"]).args(kind.flags());
        let built = cc.arg(&source).arg("-o").arg(&to).args(["-lpthread", "-lrt"]).output();
        let built = built.expect("there is a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        // Whole or not at all, since other processes may build it at the same time.
        let whole = folder.join(format!("fake-{kind:?}.so"));
        fs::rename(to, &whole).expect("it was just built");
        whole
    };
    BUILT[kind as usize].get_or_init(build).clone()
}
