//! Rows at constant distances, as each driver wants them described.

#![expect(unsafe_code, reason = "a driver is given addresses")]

#[cfg(feature = "cuda")]
use std::ptr;

use super::calls::{Code, Handle, Strided};
use crate::device::batch::{Direction, Rows};

/// Asks for rows at constant distances, and gives the driver's answer.
///
/// # Safety
///
/// The rows are within memory that lives until the stream went on: `there` of the device, `here` of the host.
pub(super) unsafe fn strided(
    call: Strided,
    direction: Direction,
    rows: &Rows,
    there: u64,
    here: *mut u8,
    stream: Handle,
) -> Code {
    let (len, count) = (rows.first.len as usize, rows.count as usize);
    let (device_stride, host_stride) = (rows.device_stride as usize, rows.host_stride as usize);
    match call {
        #[cfg(feature = "cuda")]
        Strided::Described(call) => {
            use cudarc::driver::sys::CUmemorytype_enum::{CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST};
            let mut to_device = cudarc::driver::sys::CUDA_MEMCPY2D {
                srcXInBytes: 0,
                srcY: 0,
                srcMemoryType: CU_MEMORYTYPE_HOST,
                srcHost: here.cast(),
                srcDevice: 0,
                srcArray: ptr::null_mut(),
                srcPitch: host_stride,
                dstXInBytes: 0,
                dstY: 0,
                dstMemoryType: CU_MEMORYTYPE_DEVICE,
                dstHost: ptr::null_mut(),
                dstDevice: there,
                dstArray: ptr::null_mut(),
                dstPitch: device_stride,
                WidthInBytes: len,
                Height: count,
            };
            if direction == Direction::ToHost {
                (to_device.srcMemoryType, to_device.dstMemoryType) = (CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST);
                (to_device.srcHost, to_device.dstHost) = (ptr::null(), here.cast());
                (to_device.srcDevice, to_device.dstDevice) = (there, 0);
                (to_device.srcPitch, to_device.dstPitch) = (device_stride, host_stride);
            }
            // SAFETY: the driver reads the description before it returns; for the rows the caller vouches.
            unsafe { call(&raw const to_device, stream) }
        }
        #[cfg(feature = "rocm")]
        Strided::Named(call) => {
            let there = there as *mut std::ffi::c_void;
            // SAFETY: the caller vouches for the rows. 1 is for from the host to the device, 2 for back.
            unsafe {
                match direction {
                    Direction::ToDevice => call(there, device_stride, here.cast(), host_stride, len, count, 1, stream),
                    Direction::ToHost => call(here.cast(), host_stride, there, device_stride, len, count, 2, stream),
                }
            }
        }
    }
}
