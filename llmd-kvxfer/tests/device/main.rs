//! Devices: the host, and CUDA and HIP by drivers that are made here from C, over host memory.

mod conformance;
mod exporting;
mod failures;
mod fake;
mod named;
mod pools;
mod processes;
mod sides;
mod staging;
