//! Devices: the host, CUDA and HIP by drivers that are made here from C over host memory, and by the machine's where it has one.

mod conformance;
mod exporting;
mod failures;
mod fake;
mod named;
mod pools;
mod processes;
mod real;
mod sides;
mod staging;
