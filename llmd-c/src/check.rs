//! Everything that is wrong with a configuration, at once.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]
#![expect(clippy::missing_safety_doc, reason = "llmd.h says at its top what every pointer must be")]

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use llmd_routing::EndpointPickerConfig;
use llmd_routing::config::{Check, Problem};

use crate::boundary::{boundary, delivered, given, invalid};
use crate::error::llmd_error;
use crate::index::llmd_index;
use crate::quiet::quietly;
use crate::scheduler::{llmd_scheduler_settings, plan};
use crate::sized::{Sizes, answer};
use crate::status::llmd_status;
use crate::string::terminated;

/// What is wrong with a configuration. May be read by several threads at once.
#[derive(Debug)]
pub struct llmd_problems(Vec<Told>);

#[derive(Debug)]
struct Told {
    problem: Problem,
    path: CString,
    message: CString,
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Self {
        let (path, message) = (terminated(problem.path.as_str()), terminated(problem.message.as_str()));
        Self { problem, path, message }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_problem {
    /// sizeof(llmd_problem).
    pub struct_size: usize,
    /// The line, counted from 1; 0 when it has no place in the text.
    pub line: u64,
    /// The column, counted from 1; 0 when it has no place in the text.
    pub column: u64,
    /// The way there: `plugins[0].parameters.threshold`; empty for the document as a whole.
    pub path: *const c_char,
    /// What is wrong, and what was expected.
    pub message: *const c_char,
    /// LLMD_INVALID, or LLMD_UNSUPPORTED for what llm-d has and llmd has not.
    pub kind: llmd_status,
}

impl Sizes for llmd_problem {
    const NAME: &'static str = "llmd_problem";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

/// Looks for everything that is wrong with the configuration of a scheduler that would be made with the same arguments, and
/// puts it at `problems`, in the order of the text: nothing when the scheduler can be made. What is wrong only since something
/// else is, is left out. At most 256 problems are told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_check_config(
    settings: *const llmd_scheduler_settings,
    index: Option<&llmd_index>,
    problems: Option<&mut MaybeUninit<Option<Box<llmd_problems>>>>,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    delivered(problems, "problems", error, || {
        // SAFETY: as llmd.h says.
        let plan = unsafe { plan(settings) }?;
        let check = Check::default().with_index(index.is_some()).allow_experimental(plan.experimental);
        Ok(llmd_problems(EndpointPickerConfig::check(plan.yaml, check).into_iter().map(Told::from).collect()))
    })
}

/// How many problems there are. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_problems_len(problems: Option<&llmd_problems>) -> usize {
    problems.map_or(0, |problems| problems.0.len())
}

/// Tells about the problem at `place`, counted from 0. Its pointers live as long as `problems`. Set `problem->struct_size` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llmd_problems_get(
    problems: Option<&llmd_problems>,
    place: usize,
    problem: *mut llmd_problem,
    error: Option<&mut MaybeUninit<Option<Box<llmd_error>>>>,
) -> llmd_status {
    boundary(error, || {
        let problems = &given(problems, "problems")?.0;
        let told = problems
            .get(place)
            .ok_or_else(|| invalid(format!("problem {place} is not there, expected one below {}", problems.len())))?;
        let tell = |struct_size| {
            Ok(llmd_problem {
                struct_size,
                line: told.problem.line,
                column: told.problem.column,
                path: told.path.as_ptr(),
                message: told.message.as_ptr(),
                kind: told.problem.kind.into(),
            })
        };
        // SAFETY: as llmd.h says.
        unsafe { answer(problem, tell) }
    })
}

/// Frees problems. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn llmd_problems_free(problems: Option<Box<llmd_problems>>) {
    quietly((), || drop(problems));
}
