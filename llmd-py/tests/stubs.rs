//! `_native.pyi` says what the extension holds: it is made from the built extension, and compared with what is committed.
//! `cargo xtask bless` accepts a change.

use std::env;
use std::path::PathBuf;

use expect_test::expect_file;
use pyo3_introspection::model::{Class, Expr, Module};
use pyo3_introspection::{introspect_cdylib, module_stub_files};

/// The module as pyo3 describes it.
fn module() -> Module {
    // Cargo builds the extension before this test, and puts both into one folder.
    let test = env::current_exe().expect("a program has a path");
    let extension = test.with_file_name(format!("{}_native{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX));
    introspect_cdylib(&extension, "_native").expect("the extension describes itself")
}

/// What a class gets from a base that pyo3 cannot name, because the class is registered there when the module is loaded.
struct Registered {
    class: &'static str,
    base: fn() -> Expr,
    /// Methods whose types the base gives better.
    inherited: &'static [&'static str],
}

const REGISTERED: [Registered; 1] = [Registered {
    class: "Overlap",
    base: || subscript(attribute("collections.abc", "Mapping"), &["str", "int"]),
    inherited: &["__contains__", "get", "items", "keys", "values"],
}];

impl Registered {
    fn enter(&self, class: &mut Class) {
        for name in self.inherited {
            assert!(class.methods.iter().any(|method| method.name == *name), "{} has no {name}", self.class);
        }
        class.bases.push((self.base)());
        class.methods.retain(|method| !self.inherited.contains(&method.name.as_str()));
    }
}

fn name(id: &str) -> Expr {
    Expr::Name { id: id.to_owned() }
}

fn attribute(module: &str, attr: &str) -> Expr {
    Expr::Attribute { value: Box::new(name(module)), attr: attr.to_owned() }
}

fn subscript(value: Expr, names: &[&str]) -> Expr {
    let elts = names.iter().map(|id| name(id)).collect();
    Expr::Subscript { value: Box::new(value), slice: Box::new(Expr::Tuple { elts }) }
}

#[test]
fn the_stubs_say_what_the_extension_holds() {
    let mut module = module();
    for registered in REGISTERED {
        let class = module.classes.iter_mut().find(|class| class.name == registered.class);
        registered.enter(class.unwrap_or_else(|| panic!("there is no class {}", registered.class)));
    }
    let mut files = module_stub_files(&module);
    let stub = files.remove(&PathBuf::from("__init__.pyi")).expect("a module has a stub");

    assert!(files.is_empty(), "submodules have stubs of their own: {:?}", files.keys());
    expect_file!["../python/llmd_py/_native.pyi"].assert_eq(&stub);
}

#[test]
fn the_stubs_are_complete() {
    // pyo3 cannot look into an initializer that is handed the module, and says so.
    assert!(!module().incomplete, "`#[pymodule_init]` takes the module: use `#[pymodule_export]` for what it adds");
}
