//! The program in Go, by cgo.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::toolchain::{is_installed, libraries, root, rpath, said};

/// What cgo asks for flags in the place of pkg-config, which a machine need not have.
fn flags(script: &Path, libraries: &Path) {
    let include = root().join("llmd-c/include");
    let (include, folder, rpath) = (include.display(), libraries.display(), rpath(libraries));
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--cflags*) echo '-I{include}' ;; *--libs*) echo '-L{folder} -lllmd {rpath}' ;; esac\n"
    );
    fs::write(script, text).expect("the folder is there");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("the script is there");
}

#[test]
fn goroutines_feed_ask_and_decide() {
    if !is_installed("go") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (script, program) = (folder.path().join("flags"), folder.path().join("program"));
    // Where it was the last time: what go keeps of a package leads there, and go does not ask for flags again.
    let linked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("linked-by-go");
    let _ = fs::remove_dir_all(&linked);
    fs::create_dir(&linked).expect("there is room for a folder");
    flags(&script, &libraries(&linked));
    let mut go = Command::new("go");
    go.current_dir(root().join("examples/go")).args(["build", "-o"]).arg(&program).arg(".");
    go.env("CGO_ENABLED", "1").env("PKG_CONFIG", &script).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    // A cache of its own, beside what cargo builds, so that the second run is quick and nothing is left at home.
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"));
    said(&mut go);
    let said = said(Command::new(&program).current_dir(root()));

    assert!(said.contains("pod-7 holds 6 leading blocks\n"), "{said}");
    assert!(said.contains("of the first half pod-8 and pod-7 hold [0 3], of all [0 6]\n"), "{said}");
    assert!(said.ends_with("64 requests went to 4 endpoints, and none is in flight\n"), "{said}");
}
