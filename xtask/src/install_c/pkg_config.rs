//! What pkg-config reads. The prefix is found from where the file lies, so that the installation can be moved.

use super::{NATIVE, Release};

/// `llmd`: the shared library; with `--static`, also what the static one needs.
pub(super) fn shared(release: &Release<'_>) -> String {
    let native = native();
    format!("{}Libs: -L${{libdir}} -lllmd\nLibs.private: {native}\n", head("llmd", release))
}

/// `llmd-static`: the static library, also where the shared one lies beside it.
pub(super) fn static_only(release: &Release<'_>) -> String {
    let native = native();
    format!("{}Libs: ${{libdir}}/libllmd.a {native}\n", head("llmd-static", release))
}

fn head(name: &str, release: &Release<'_>) -> String {
    let version = release.version;
    format!(
        "prefix=${{pcfiledir}}/../..\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\nName: {name}\n\
         Description: where the KV cache of a prompt lies, and which engine should take a request\n\
         Version: {version}\nCflags: -I${{includedir}}\n"
    )
}

fn native() -> String {
    NATIVE.map(|library| format!("-l{library}")).join(" ")
}
