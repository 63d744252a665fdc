//! `llmd-device`: how fast KV moves between a GPU and the host.
//!
//! Fragments lie in the device as an engine keeps them, a layer after the other, and in the host as a pool does, a block after the
//! other. For each size and number of them there are three figures: llmd's choice of the way, a plain batch of copies, and one
//! large copy of as many bytes, which is what the copy engine can do.

mod ipc;
mod rig;
mod sweep;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs};

use clap::{Parser, ValueEnum};
use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::device::{Costs, Cuda, Device, Hip, PerDirection};
use serde_json::{Map, Value, json};

use crate::rig::{BUDGET, Rig, now};

/// Measures a GPU. A table goes to standard output, figures to a file where one is named. Takes about five minutes, with
/// `--quick` some seconds. Without a GPU it says what it looked for, and exits with status 3.
#[derive(Debug, Parser)]
#[command(name = "llmd-device", version)]
struct Args {
    /// Whose device: that of whoever has a driver here, if not said.
    #[arg(long)]
    vendor: Option<Maker>,
    /// The driver's library, if not the machine's.
    #[arg(long, value_name = "FILE", requires = "vendor")]
    driver: Option<PathBuf>,
    /// Which of its devices.
    #[arg(long, default_value_t = 0)]
    ordinal: u32,
    /// MiB of the device, and twice as many of the host.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: u64,
    /// Few and small: to see that it runs, not to compare.
    #[arg(long)]
    quick: bool,
    /// Where figures go, as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Reads the memory of this handle, says how fast, and ends: the second of two processes.
    #[arg(long, value_name = "HEX", hide = true)]
    import: Option<String>,
}

/// Who made a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Maker {
    /// By HIP.
    Amd,
    /// By CUDA.
    Nvidia,
}

impl Maker {
    const fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Nvidia => "nvidia",
        }
    }
}

/// There is no GPU here.
const NO_DEVICE: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    let (maker, device) = match open(&args) {
        Ok(opened) => opened,
        Err(error) => {
            let why = error.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            say(std::io::stderr(), &format!("llmd-device: there is no GPU to measure: {why}"));
            return ExitCode::from(NO_DEVICE);
        }
    };
    match run(&args, maker, &device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(std::io::stderr(), &format!("llmd-device: {error}{cause}"));
            ExitCode::FAILURE
        }
    }
}

/// The device that was asked for, or why there is none of each vendor.
fn open(args: &Args) -> Result<(Maker, Arc<dyn Device>), Vec<Error>> {
    let makers = args.vendor.map_or_else(|| vec![Maker::Nvidia, Maker::Amd], |maker| vec![maker]);
    let mut errors = Vec::new();
    for maker in makers {
        let device = match (maker, &args.driver) {
            (Maker::Nvidia, None) => Cuda::load().and_then(|cuda| cuda.device(args.ordinal)),
            (Maker::Nvidia, Some(path)) => Cuda::load_from(path).and_then(|cuda| cuda.device(args.ordinal)),
            (Maker::Amd, None) => Hip::load().and_then(|hip| hip.device(args.ordinal)),
            (Maker::Amd, Some(path)) => Hip::load_from(path).and_then(|hip| hip.device(args.ordinal)),
        };
        match device {
            Ok(device) => return Ok((maker, device)),
            Err(error) => errors.push(error),
        }
    }
    Err(errors)
}

fn run(args: &Args, maker: Maker, device: &Arc<dyn Device>) -> Result<()> {
    if let Some(handle) = &args.import {
        say(std::io::stdout(), &format!("{}", ipc::read(device, handle)?));
        return Ok(());
    }
    let memory = if args.quick { 8 << 20 } else { args.memory << 20 };
    let costs = Costs::measure(device.as_ref(), BUDGET, &mut now())?;
    let mut figures = Map::new();
    put_costs(&mut figures, &costs);
    let mut rig = Rig::new(Arc::clone(device), costs, memory)?;
    let cells = sweep::run(&mut rig, args.quick)?;
    sweep::put(&mut figures, &cells);
    let again = [Some("--vendor".into()), Some(maker.name().into())].into_iter().flatten();
    let driver = args.driver.iter().flat_map(|path| ["--driver".into(), path.clone().into_os_string()]);
    let ordinal = ["--ordinal".into(), args.ordinal.to_string().into()];
    let again: Vec<OsString> = again.chain(driver).chain(ordinal).collect();
    ipc::put(&mut figures, &mut rig, &again)?;
    say(std::io::stdout(), &table::of(device.as_ref(), &cells, &figures));
    if let Some(path) = &args.json {
        let command = env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let whole = json!({ "command": command, "device": device.id().to_string(), "figures": figures });
        fs::write(path, format!("{whole:#}\n")).map_err(|cause| {
            Error::new(ErrorKind::Unavailable, format!("cannot write {}", path.display())).with_source(cause)
        })?;
    }
    Ok(())
}

/// A figure with three places behind the point.
fn rounded(value: f64) -> Value {
    json!((value * 1e3).round() / 1e3)
}

fn put_costs(figures: &mut Map<String, Value>, costs: &Costs) {
    let mut put = |name: String, value: f64| drop(figures.insert(name, rounded(value)));
    for (way, PerDirection { bytes_per_us, copy_us, row_us, pack, .. }) in
        [("to_device", &costs.to_device), ("to_host", &costs.to_host)]
    {
        put(format!("device.costs.{way}.gb_per_s"), bytes_per_us / 1e3);
        for (len, us) in copy_us {
            put(format!("device.costs.{way}.copy_us.{len}"), *us);
        }
        if let Some(us) = row_us {
            put(format!("device.costs.{way}.row_us"), *us);
        }
        if let Some(pack) = pack {
            put(format!("device.costs.{way}.pack_launch_us"), pack.launch_us);
            put(format!("device.costs.{way}.pack_gb_per_s"), pack.bytes_per_us / 1e3);
        }
    }
}

/// A closed terminal is nothing to fail for.
fn say(mut to: impl std::io::Write, line: &str) {
    _ = writeln!(to, "{line}");
}
