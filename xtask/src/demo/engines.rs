//! What the fleet is made of: simulated engines, so many, or real vLLM.

use std::ffi::OsString;
use std::str::FromStr;

use crate::vllm::Vllm;

/// What `--engines` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engines {
    /// So many simulated ones.
    Simulated(usize),
    /// Real vLLM, on this machine's CPU.
    Vllm,
}

impl FromStr for Engines {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "vllm" {
            return Ok(Self::Vllm);
        }
        word.parse().map(Self::Simulated).map_err(|_| format!("{word:?}: expected a number, or the word vllm"))
    }
}

impl Engines {
    /// The word for it, as it was said.
    pub(crate) fn word(self) -> String {
        match self {
            Self::Simulated(count) => count.to_string(),
            Self::Vllm => "vllm".to_owned(),
        }
    }
}

/// The options that tell the demo where real vLLM is.
pub(crate) fn options(vllm: Vllm) -> Vec<OsString> {
    let mut words = vec!["--vllm-python".into(), vllm.python.into(), "--vllm-model".into(), vllm.model.into()];
    for (name, folder) in vllm.loras {
        let mut pair = OsString::from(name + "=");
        pair.push(folder);
        words.extend(["--vllm-lora".into(), pair]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_a_number_or_a_word() {
        assert_eq!("6".parse(), Ok(Engines::Simulated(6)));
        assert_eq!("vllm".parse(), Ok(Engines::Vllm));
        assert_eq!("vlm".parse::<Engines>(), Err(r#""vlm": expected a number, or the word vllm"#.to_owned()));
        assert!("-1".parse::<Engines>().is_err());
    }

    #[test]
    fn each_adapter_has_an_option() {
        let adapter = |name: &str| (name.to_owned(), ["models", name].iter().collect());
        let vllm = Vllm { python: "bin/python".into(), model: "tiny".into(), loras: vec![adapter("a"), adapter("b")] };

        let said = ["--vllm-python", "bin/python", "--vllm-model", "tiny"];
        let loras = ["--vllm-lora", "a=models/a", "--vllm-lora", "b=models/b"];
        assert_eq!(options(vllm), [said, loras].concat());
    }
}
