//! What the command line says about vLLM.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use llmd_core::{Error, ErrorKind, Result};

/// Adapters that the demo needs, so that their caches can be told apart.
const MIN_ADAPTERS: usize = 2;

/// Where vLLM and what it serves are.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct VllmArgs {
    /// With `--engines vllm`: the Python that has vLLM.
    #[arg(long = "vllm-python", value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// With `--engines vllm`: the folder of the model that the engines serve.
    #[arg(long = "vllm-model", value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// With `--engines vllm`: a LoRA adapter of that model, at least twice.
    #[arg(long = "vllm-lora", value_name = "NAME=DIR")]
    pub lora: Vec<Adapter>,
}

/// A LoRA adapter: the name that requests give, and where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Adapter {
    /// What requests call it.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// What an engine is started with.
#[derive(Clone, Debug)]
pub(super) struct Vllm {
    pub(super) python: PathBuf,
    pub(super) model: PathBuf,
    pub(super) adapters: Vec<Adapter>,
}

impl VllmArgs {
    /// Whether any of it is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.python.is_some() || self.model.is_some() || !self.lora.is_empty()
    }

    /// What an engine is started with, by absolute paths.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when something is missing on the command line or on this machine.
    pub(super) fn vllm(&self) -> Result<Vllm> {
        let needed = |path: &Option<PathBuf>, what: &str| {
            let path = path.as_ref().ok_or_else(|| invalid(format!("--engines vllm: expected {what} too")))?;
            present(path)
        };
        let python = needed(&self.python, "--vllm-python PATH")?;
        let model = needed(&self.model, "--vllm-model DIR")?;
        if self.lora.len() < MIN_ADAPTERS {
            let message = format!("{} times --vllm-lora NAME=DIR: expected {MIN_ADAPTERS} or more", self.lora.len());
            return Err(invalid(message));
        }
        let adapter = |adapter: &Adapter| Ok(Adapter { folder: present(&adapter.folder)?, ..adapter.clone() });
        Ok(Vllm { python, model, adapters: self.lora.iter().map(adapter).collect::<Result<_>>()? })
    }
}

impl FromStr for Adapter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.to_owned(), folder: folder.into() })
            }
            _ => Err(invalid("expected NAME=DIR".to_owned())),
        }
    }
}

/// The path from the root. Links are kept: a virtual environment's Python is one, and finds its packages by its own path.
fn present(path: &Path) -> Result<PathBuf> {
    let missing = |why: String| invalid(format!("{} is not there: {why}", path.display()));
    path.metadata().map_err(|error| missing(error.to_string()))?;
    std::path::absolute(path).map_err(|error| missing(error.to_string()))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_a_name_and_a_folder() {
        let adapter: Adapter = "lora-a=/models/a=1".parse().unwrap();
        assert_eq!((adapter.name.as_str(), adapter.folder), ("lora-a", PathBuf::from("/models/a=1")));
        for text in ["lora-a", "=dir", "name="] {
            assert_eq!(text.parse::<Adapter>().unwrap_err().to_string(), "expected NAME=DIR");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let here = Some(folder.path().to_owned());
        let complaint = |args: VllmArgs| args.vllm().unwrap_err().to_string();

        assert_eq!(complaint(VllmArgs::default()), "--engines vllm: expected --vllm-python PATH too");
        let python = VllmArgs { python: here.clone(), ..VllmArgs::default() };
        assert_eq!(complaint(python.clone()), "--engines vllm: expected --vllm-model DIR too");
        let model = VllmArgs { model: here, ..python };
        assert_eq!(complaint(model.clone()), "0 times --vllm-lora NAME=DIR: expected 2 or more");
        let adapter = |name: &str| Adapter { name: name.to_owned(), folder: folder.path().join(name) };
        let gone = VllmArgs { lora: vec![adapter("a"), adapter("b")], ..model };
        assert!(complaint(gone).contains("is not there: "));
    }
}
