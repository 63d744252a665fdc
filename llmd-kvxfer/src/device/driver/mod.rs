//! Accelerators by their drivers, which are loaded at run time: one table of calls, filled by CUDA's names or by HIP's.

mod calls;
mod context;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod event;
mod failure;
#[cfg(feature = "rocm")]
mod hip;
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only CUDA has kernels"))]
mod kernel;
mod library;
mod owned;
mod rows;

#[cfg(feature = "cuda")]
pub use self::cuda::Cuda;
#[cfg(feature = "rocm")]
pub use self::hip::Hip;
