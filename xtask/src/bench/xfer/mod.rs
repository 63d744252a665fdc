//! `cargo xtask bench xfer`: the transfer beside NIXL's, Mooncake's and the machine's limits.

mod environment;
mod goals;
mod picture;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::{Failure, OrFail as _, Result};
use crate::machine;
use crate::run::{cargo, not_started, run as run_command, shown};
use crate::workspace::Workspace;

/// The transfer beside NIXL 1.5.1, Mooncake 0.3.13 and the machine's limits.
///
/// On the same random blocks, in passes in which each has its turn, two processes each. Their environment is made once,
/// which takes a minute; then about seven minutes, or half a minute with `--quick`, which leaves both out. The machine should
/// be idle, and have 6 GiB of memory to spare. docs/xfer-bench.md says what is measured and how.
#[derive(Debug, clap::Args)]
#[command(after_help = FIGURES)]
pub(crate) struct Args {
    /// Only llmd and the limits, smaller and shorter: to see that it runs, not to compare
    #[arg(long)]
    quick: bool,
    /// Only whose names begin like this: llmd, limit, nixl, mooncake, or longer
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Draw gigabytes a second by size of block to this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

const FIGURES: &str = "\
Figures in --json, of the best of the passes. <kib> is the size of a block, 4, 64 or 1024; a transfer moves 1,024 of them,
read by the side that wants them. Ours begin with xfer, in the forms shm, shm_otherns (the other side is like another pod)
and tcp; others with their names: limit.shm, limit.tcp, nixl.best (no progress threads, memfd pools), nixl.thp (the same on
huge pages), nixl.default, nixl.tcp, nixl.otherns, mooncake.tcp.
  xfer.<form>.gbps.<kib>, <other>.gbps.<kib>
                                      10^9 bytes a second, of the median transfer
  xfer.<form>.p99_us.<kib>, <other>.p99_us.<kib>
                                      99th percentile of a transfer, microseconds
  xfer.cpu_s_per_gb.<form>.<kib>, <other>.cpu_s_per_gb.<kib>
                                      what both sides work for 10^9 bytes, seconds
  limit.shm.<way>.gbps.<kib>          memcpy1, memcpy2, nt1, nt2: how and with how many threads; the best is the limit
  xfer.shm.ratio_to_nixl_best.<kib>, xfer.shm.ratio_to_nixl_thp.<kib>, xfer.shm_otherns.ratio_to_nixl.<kib>,
  xfer.tcp.ratio_to_nixl_read.<kib>, xfer.tcp.ratio_to_mooncake.<kib>
                                      llmd / the other, by gbps: above 1 llmd is faster
  xfer.ratio_to_limit.shm.<kib>, xfer.ratio_to_limit.tcp.<kib>
  xfer.checksum_cost                  a transfer of 64 KiB blocks with every block checked / with none
  xfer.seal_gbps                      10^9 bytes a second that are made ready to be pulled
  xfer.latency_us.4kib, nixl.best.latency_us.4kib
                                      one block of 4 KiB, from post to completion
  xfer.notify_us.spinning, xfer.notify_us.sleeping, <other>.notify_us.spinning
                                      a notification there and back; limit.shm's is a flag in shared memory
  xfer.submit_us.256mib, nixl.best.submit_us.256mib
                                      until the call that posts 256 MiB returns
  xfer.idle_cpu_percent, <other>.idle_cpu_percent
                                      of a core, while nothing happens: llmd with eight peers, others with one
  xfer.others_cores                   cores that other programs kept busy meanwhile, on average: more than a tenth, and
                                      the figures say little";

/// What is said beneath every table.
const HOST_ONLY: &str = "Pools are host memory. What a GPU's memory takes needs a GPU, and is not measured here.";

pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load()?;
    let mut build = cargo(&workspace.root, ["build", "--release", "--package", "llmd-xfer"]);
    run_command(&mut build)?;
    let mut bench = Command::new(workspace.target.join("release/llmd-xfer"));
    if args.quick {
        bench.arg("--quick");
    } else {
        bench.arg("--python").arg(environment::python(&workspace)?);
        bench.arg("--scripts").arg(workspace.root.join("benches/xfer/peers"));
    }
    if !args.only.is_empty() {
        bench.arg("--only").arg(args.only.join(","));
    }
    let figures = measured(&mut bench)?;

    let machine = machine::machine();
    println!("\n{}\n\n{}\n{HOST_ONLY}", machine::line(&machine), table::Table(&figures));
    if let Some(path) = &args.svg {
        let picture = picture::picture(&figures, &machine::line(&machine));
        let picture =
            picture.ok_or_else(|| Failure::new("--svg draws transfers of all sizes, and none was measured"))?;
        fs::write(path, picture).or_fail(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        super::report(path, &command(args), &machine, figures)?;
    }
    Ok(())
}

fn measured(bench: &mut Command) -> Result<Map<String, Value>> {
    eprintln!("$ {}", shown(bench));
    let output = bench.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(bench, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the bench of transfers failed ({})", output.status)));
    }
    serde_json::from_slice(&output.stdout).or_fail(|| "the bench of transfers told no figures".into())
}

/// What was measured, as one would type it: without files.
fn command(args: &Args) -> String {
    let only = if args.only.is_empty() { String::new() } else { format!(" --only {}", args.only.join(",")) };
    format!("cargo xtask bench xfer{only}{}", if args.quick { " --quick" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_figure_with_a_goal() {
        for (figure, _) in goals::goals() {
            let sizes = ["4", "64", "1024"].map(|kib| format!(".{kib}"));
            let name = sizes.iter().find_map(|size| figure.strip_suffix(size)).map(|name| format!("{name}.<kib>"));
            assert!(FIGURES.contains(&name.unwrap_or_else(|| figure.clone())), "{figure}");
        }
    }
}
