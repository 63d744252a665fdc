//! The program does all it does with a driver over host memory, and says so where there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use serde_json::Value;
use tempfile::TempDir;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llmd-device")).args(arguments).output().expect("it was just built")
}

fn driver(folder: &Path, flag: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../llmd-kvxfer/tests/fake_driver/fake.c");
    let library = folder.join("driver.so");
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-std=gnu11", "-O2", "-fPIC", "-shared", flag]).arg(source).arg("-o").arg(&library);
    let built = cc.args(["-lpthread", "-lrt"]).output().expect("there is a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

#[test]
fn without_a_gpu_one_line_says_what_was_looked_for() {
    let output = program(&["--vendor", "nvidia", "--driver", "nowhere/libcuda.so.1"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "llmd-device: there is no GPU to measure: no driver's library was found: looked for nowhere/libcuda.so.1\n"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn every_cell_is_measured_and_every_byte_arrives() {
    for (vendor, flag) in [("nvidia", "-DFAKE_CUDA"), ("amd", "-DFAKE_HIP")] {
        let folder = TempDir::new().unwrap();
        let (library, json) = (driver(folder.path(), flag), folder.path().join("figures.json"));
        let (library, json) = (library.to_str().unwrap(), json.to_str().unwrap());
        let output = program(&["--quick", "--vendor", vendor, "--driver", library, "--json", json]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("copies that brought other bytes: 0"), "{text}");
        let whole: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
        assert!(whole["command"].as_str().unwrap().contains("--quick"));
        let figures = whole["figures"].as_object().unwrap();
        assert_eq!(figures["device.wrong_copies"], 0);
        assert!(figures["device.ipc.to_host_gb_per_s"].as_f64().unwrap() > 0.0);
        let measured = figures.keys().filter(|name| name.ends_with(".llmd_gb_per_s")).count();
        assert_eq!(measured, 2 * 6, "{figures:?}");
        let has_pack = figures.contains_key("device.costs.to_host.pack_gb_per_s");
        assert_eq!(has_pack, vendor == "nvidia");
    }
}
