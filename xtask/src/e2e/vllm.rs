//! `cargo xtask e2e vllm`: real vLLM engines that hand requests over through llmd.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::extension;
use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;
use crate::{machine, vllm};

/// Real vLLM engines that hand requests over through llmd: token for token, beside NIXL, and whatever goes wrong.
///
/// Makes the environments itself (vLLM for CPUs, 2.2 GB; NIXL, 0.4 GB). About forty minutes once they are there, with `--short` six.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// About six minutes, for CI: by shared memory alone, without those faults that take an engine's start, and without NIXL
    #[arg(long)]
    short: bool,
    /// Only this part
    #[arg(long, value_parser = ["page", "identity", "faults", "nixl", "router"])]
    only: Option<String>,
    /// Of `identity`, only this configuration; may be said again. They are in tests/vllm/e2e/configurations.py
    #[arg(long, value_name = "NAME")]
    configuration: Vec<String>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json:
  pd.prompts, pd.identical                prompts that were handed over, and those to which the decoder said what one engine alone does
  pd.bytes_moved, pd.bytes_expected       bytes that decoders fetched, and those that the prompts' blocks have
  page.commands                           commands of docs/vllm.md that did what it says
  pd.<configuration>.identical            of each configuration; and by which way its bytes came
  pd.ttft_ratio_to_nixl                   median time to the first token at the decoder, over NixlConnector's; pd.ttft_ms.* themselves
  pd.idle_cpu_ratio_to_nixl               what engines cost that have nothing to do, over NixlConnector's; pd.idle_cpu_percent.*
  faults.tried, faults.survived           faults, and those of which the request was answered rightly and after which requests were
                                          handed over again
  faults.wrong_tokens, faults.hung        0
  router.hit_prediction_errors            requests of which the router knew otherwise what the engine had cached: 0
  seconds.<part>                          how long each part took";

/// What engines run, beside what is installed.
const PROGRAM: &str = "tests/vllm/e2e/main.py";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let vllm = vllm::environment(&workspace)?;
    run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-py"]))?;
    let package = extension::stage_released(&workspace)?;
    let folder = workspace.target.join("xtask");
    fs::create_dir_all(&folder).or_fail(|| format!("cannot make {}", folder.display()))?;
    let told = folder.join("e2e-vllm.json");
    let mut engines = Command::new(&vllm.python);
    engines.arg(workspace.root.join(PROGRAM)).arg("--model").arg(&vllm.model).arg("--json").arg(&told);
    engines.env("PYTHONPATH", &package).env("PYTHONUNBUFFERED", "1");
    if args.short {
        engines.arg("--short");
    }
    if let Some(part) = &args.only {
        engines.args(["--only", part]);
    }
    for name in &args.configuration {
        engines.args(["--configuration", name]);
    }
    if !args.short || args.only.as_deref() == Some("nixl") {
        engines.arg("--nixl").arg(vllm::nixl(&workspace)?);
    }
    let ran = run_command(&mut engines);
    let text = fs::read(&told).or_fail(|| format!("cannot read {}", told.display()))?;
    let figures: Map<String, Value> = serde_json::from_slice(&text).or_fail(|| "no figures were told".into())?;
    let machine = machine::machine();
    println!("{}\n\n{}", machine::line(&machine), Table(&figures));
    if let Some(path) = &args.json {
        let command = format!("cargo xtask e2e vllm{}", if args.short { " --short" } else { "" });
        let report = json!({ "command": command, "machine": machine, "figures": figures });
        fs::write(path, format!("{report:#}\n")).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    ran?;
    kept(&figures)
}

/// Whether all promises were, of those parts that were run.
fn kept(figures: &Map<String, Value>) -> Result {
    let figure = |name: &str| figures.get(name).and_then(Value::as_f64);
    let mut broken = Vec::new();
    for (one, other) in
        [("pd.identical", "pd.prompts"), ("pd.bytes_moved", "pd.bytes_expected"), ("faults.survived", "faults.tried")]
    {
        if let (Some(there), Some(due)) = (figure(one), figure(other))
            && (there != due || due == 0.0)
        {
            broken.push(format!("{one} is {there}, expected {due}, and not 0"));
        }
    }
    for name in ["faults.wrong_tokens", "faults.hung", "router.hit_prediction_errors", "pd.ttft_hung.llmd"] {
        if let Some(count) = figure(name).filter(|count| *count != 0.0) {
            broken.push(format!("{name} is {count}, expected 0"));
        }
    }
    if figures.is_empty() {
        broken.push("nothing was measured".into());
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure::new(format!("promises broken: {}", broken.join("; ")))) }
}

/// The figures, sorted.
#[derive(Debug)]
struct Table<'a>(&'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted: BTreeMap<_, _> = self.0.iter().collect();
        sorted.into_iter().try_for_each(|(name, value)| {
            let value = value.as_f64().unwrap_or(f64::NAN);
            writeln!(
                f,
                "{name:36} {:>14}",
                if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") }
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(figures: Value) -> Map<String, Value> {
        let Value::Object(figures) = figures else { panic!("an object was written") };
        figures
    }

    #[test]
    fn a_promise_that_is_broken_is_named() {
        let whole = json!({ "pd.prompts": 22.0, "pd.identical": 22.0, "faults.tried": 3, "faults.survived": 3, "faults.hung": 0 });
        kept(&figures(whole)).unwrap();
        let broken = json!({ "pd.prompts": 22, "pd.identical": 21, "pd.bytes_moved": 0, "pd.bytes_expected": 0, "faults.hung": 1 });
        let said = kept(&figures(broken)).unwrap_err().to_string();
        for part in ["pd.identical is 21, expected 22", "pd.bytes_moved is 0", "faults.hung is 1"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(kept(&Map::new()).is_err());
    }

    #[test]
    fn the_table_has_a_line_for_each_figure() {
        let table = Table(&figures(json!({ "pd.prompts": 22.0, "pd.ttft_ratio_to_nixl": 0.93456 }))).to_string();
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains("0.935") && table.contains(" 22\n"), "{table}");
    }
}
