//! What CMake's `find_package(llmd)` reads.

use super::{NATIVE, Release};

/// The targets `llmd::llmd` (shared) and `llmd::static`. The prefix is found from where the file lies.
pub(super) fn config(release: &Release<'_>) -> String {
    let (file, soname, native) = (release.file(), release.soname(), NATIVE.join(";"));
    format!(
        r#"# llmd {version}: the targets llmd::llmd (shared) and llmd::static.
get_filename_component(_llmd_prefix "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
if(NOT TARGET llmd::llmd)
  add_library(llmd::llmd SHARED IMPORTED)
  set_target_properties(llmd::llmd PROPERTIES
    IMPORTED_LOCATION "${{_llmd_prefix}}/lib/{file}"
    IMPORTED_SONAME "{soname}"
    INTERFACE_INCLUDE_DIRECTORIES "${{_llmd_prefix}}/include")
endif()
if(NOT TARGET llmd::static)
  add_library(llmd::static STATIC IMPORTED)
  set_target_properties(llmd::static PROPERTIES
    IMPORTED_LOCATION "${{_llmd_prefix}}/lib/libllmd.a"
    INTERFACE_LINK_LIBRARIES "{native}"
    INTERFACE_INCLUDE_DIRECTORIES "${{_llmd_prefix}}/include")
endif()
unset(_llmd_prefix)
"#,
        version = release.version
    )
}

/// Which versions a program may ask for: those that it would be bound to in the same way, up to this one.
pub(super) fn version(release: &Release<'_>) -> String {
    let Release { version, abi } = release;
    format!(
        r#"set(PACKAGE_VERSION "{version}")
if("${{PACKAGE_FIND_VERSION}}" MATCHES "^{abi}($|\\.)" AND NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
"#,
        abi = abi.replace('.', "\\\\.")
    )
}
