//! What a prompt is computed under, besides its tokens.
#![expect(unsafe_code, reason = "what C hands over is read through its pointers")]

use std::ffi::c_char;
#[cfg(test)]
use std::ptr;

use llmd_core::Result;
use llmd_core::hash::{Lora, MultimodalItem, Namespace};

use crate::boundary::invalid;
use crate::given::{items, text, text_or_null};
use crate::sized::{Settings, Sizes, settings};

/// What a prompt is computed under, besides its tokens: two prompts with the same tokens share blocks only when all of this
/// is equal. Where a function takes one, NULL stands for a prompt that is computed under nothing else.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_namespace {
    /// sizeof(llmd_namespace).
    pub struct_size: usize,
    /// The name of the adapter; NULL for none.
    pub lora_name: *const c_char,
    /// Where the engine loaded the adapter from; NULL where that is not known. Only the names of vLLM 0.31 and later
    /// depend on it.
    pub lora_path: *const c_char,
    /// The tenant's salt; NULL or empty for none.
    pub cache_salt: *const c_char,
    /// The images and other items in the prompt, in any order.
    pub multimodal: *const llmd_multimodal,
    /// How many there are.
    pub multimodal_len: usize,
}

impl Sizes for llmd_namespace {
    const NAME: &'static str = "llmd_namespace";
    const SIZES: &'static [usize] = &[size_of::<Self>()];
}

// SAFETY: numbers and raw pointers, in C's layout, with the size first.
unsafe impl Settings for llmd_namespace {}

/// An image, a clip or another item whose placeholder tokens stand in the prompt.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct llmd_multimodal {
    /// The engine's name for the content.
    pub identifier: *const c_char,
    /// The first placeholder token, counted from 0.
    pub offset: usize,
    /// How many placeholder tokens there are.
    pub len: usize,
}

/// The namespace at `given`, which may be NULL.
///
/// # Safety
///
/// `given` is NULL, or is as `llmd.h` says.
pub(crate) unsafe fn namespace(given: *const llmd_namespace) -> Result<Namespace> {
    if given.is_null() {
        return Ok(Namespace::default());
    }
    // SAFETY: by the caller's promise, for the struct and for all that it points to.
    let (lora_name, lora_path, cache_salt, multimodal) = unsafe {
        let given = settings(given)?;
        (
            text_or_null(given.lora_name, "lora_name")?,
            text_or_null(given.lora_path, "lora_path")?,
            text_or_null(given.cache_salt, "cache_salt")?,
            items(given.multimodal, given.multimodal_len, "multimodal")?,
        )
    };
    let mut namespace = Namespace::default();
    namespace.lora = match (lora_name, lora_path) {
        (None, Some(path)) => return Err(invalid(format!("lora_path is {path:?} and lora_name is NULL"))),
        (None, None) => None,
        (Some(name), None) => Some(Lora::new(name)),
        (Some(name), Some(path)) => Some(Lora::new(name).with_path(path)),
    };
    namespace.cache_salt = cache_salt.map(str::to_owned);
    if multimodal.is_empty() {
        return Ok(namespace);
    }
    let item = |item: &llmd_multimodal| {
        // SAFETY: by the caller's promise.
        let identifier = unsafe { text(item.identifier, "identifier") }?.to_owned();
        Ok(MultimodalItem { identifier, offset: item.offset, len: item.len })
    };
    Ok(namespace.with_multimodal(multimodal.iter().map(item).collect::<Result<Vec<_>>>()?))
}

impl llmd_namespace {
    /// One that says nothing.
    #[cfg(test)]
    pub(crate) const fn empty() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            lora_name: ptr::null(),
            lora_path: ptr::null(),
            cache_salt: ptr::null(),
            multimodal: ptr::null(),
            multimodal_len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_said_is_heard() {
        let item = llmd_multimodal { identifier: c"cafe".as_ptr(), offset: 3, len: 4 };
        let said = llmd_namespace {
            lora_name: c"poet".as_ptr(),
            lora_path: c"/adapters/poet".as_ptr(),
            cache_salt: c"tenant-7".as_ptr(),
            multimodal: &raw const item,
            multimodal_len: 1,
            ..llmd_namespace::empty()
        };
        let expected = Namespace::default()
            .with_lora(Lora::new("poet").with_path("/adapters/poet"))
            .with_cache_salt("tenant-7")
            .with_multimodal([MultimodalItem { identifier: "cafe".into(), offset: 3, len: 4 }]);

        // SAFETY: made above.
        assert_eq!(unsafe { namespace(&raw const said) }.unwrap(), expected);
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { namespace(ptr::null()) }.unwrap(), Namespace::default());
    }

    #[test]
    fn a_path_without_an_adapter_is_a_mistake() {
        let said = llmd_namespace { lora_path: c"/adapters/poet".as_ptr(), ..llmd_namespace::empty() };

        // SAFETY: made above.
        let refused = unsafe { namespace(&raw const said) }.unwrap_err().to_string();
        assert_eq!(refused, "lora_path is \"/adapters/poet\" and lora_name is NULL");
    }
}
