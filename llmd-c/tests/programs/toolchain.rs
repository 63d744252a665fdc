//! Compilers, and running what they make.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a program is written in, and how strictly it is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Language {
    C99,
    Cpp17,
}

/// How a program is given the library.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    Shared,
    Static,
}

/// A program that was compiled, in a folder that goes away with it.
#[derive(Debug)]
pub(crate) struct Program {
    folder: TempDir,
}

/// The name that programs are bound to.
const SONAME: &str = concat!("libllmd.so.", env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// What `libllmd.a` needs besides itself.
const NATIVE: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// This checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Where cargo put the library that this test was built with.
pub(crate) fn built() -> PathBuf {
    let here = env::current_exe().expect("the test knows where it is");
    let here = here.parent().expect("a program lies in a folder").to_owned();
    for library in ["libllmd.so", "libllmd.a"] {
        assert!(here.join(library).exists(), "{library} is not beside the test, in {}", here.display());
    }
    here
}

/// Lays the library out in `folder` as a linker and a loader look for it.
pub(crate) fn libraries(folder: &Path) -> PathBuf {
    let folder = folder.join("lib");
    fs::create_dir(&folder).expect("there is room for a folder");
    let names = [("libllmd.so", "libllmd.so"), (SONAME, "libllmd.so"), ("libllmd.a", "libllmd.a")];
    for (name, file) in names {
        symlink(built().join(file), folder.join(name)).expect("the folder is empty");
    }
    folder
}

/// Whether `program` can be started; says so when it cannot.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output learns what was left out")]
pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

impl Program {
    /// Compiles the source at `path`, below the checkout.
    pub(crate) fn compile(language: Language, link: Link, path: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (variable, usual, standard) = match language {
            Language::C99 => ("CC", "cc", "-std=c99"),
            Language::Cpp17 => ("CXX", "c++", "-std=c++17"),
        };
        let mut compiler = Command::new(env::var_os(variable).unwrap_or_else(|| usual.into()));
        compiler.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-D_POSIX_C_SOURCE=200809L"]);
        compiler.arg("-I").arg(root().join("llmd-c/include")).arg(root().join(path));
        compiler.arg("-o").arg(folder.path().join("program"));
        let libraries = libraries(folder.path());
        match link {
            Link::Shared => compiler.arg("-L").arg(&libraries).args(["-lllmd", "-lpthread"]).arg(rpath(&libraries)),
            Link::Static => compiler.arg(libraries.join("libllmd.a")).args(NATIVE),
        };
        said(&mut compiler);
        Self { folder }
    }

    /// Runs it in the checkout; gives what it wrote.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        said(Command::new(self.path()).args(args).current_dir(root()))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }
}

/// Builds the fake driver of CUDA's into `folder`.
pub(crate) fn fake_driver(folder: &Path) -> PathBuf {
    let path = folder.join("fake.so");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-std=gnu11", "-O1", "-fPIC", "-shared", "-DFAKE_CUDA"]);
    compiler.arg(root().join("llmd-kvxfer/tests/fake_driver/fake.c")).arg("-o").arg(&path).args(["-lpthread", "-lrt"]);
    said(&mut compiler);
    path
}

/// Tells a program where its library lies.
pub(crate) fn rpath(libraries: &Path) -> String {
    format!("-Wl,-rpath,{}", libraries.display())
}

/// Runs a command that must succeed; gives what it wrote.
pub(crate) fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let shown: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let program = command.get_program().display();
    assert!(status.success(), "{program} {} ({status})\n{stdout}{stderr}", shown.join(" "));
    stdout.into_owned()
}
