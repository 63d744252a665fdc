//! Memory as tensors of other libraries, by [DLPack](https://dmlc.github.io/dlpack/latest/).

#![expect(unsafe_code, reason = "tensors are handed over by address")]

use std::any::Any;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use llmd_core::{Error, ErrorKind, Result};

use super::Region;
use crate::device::{self, DeviceId, Vendor};

/// In which of its two forms a tensor is handed over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DlpackForm {
    /// `DLManagedTensor`, of all versions before 1.0, which cannot say that it is only for reading.
    Plain,
    /// `DLManagedTensorVersioned`, of version 1.
    Versioned,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Device {
    kind: i32,
    number: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    dimensions: i32,
    element: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Managed {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Self)>,
}

#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Self)>,
    flags: u64,
    tensor: Tensor,
}

const CPU: i32 = 1;
const CUDA: i32 = 2;
const CUDA_HOST: i32 = 3;
const ROCM: i32 = 10;
/// The version that is written, and the one whose tensors are read.
const MAJOR: u32 = 1;
const READ_ONLY: u64 = 1;
const UNSIGNED: u8 = 1;
/// How many dimensions a tensor may have: as many as anybody's.
const MAX_DIMENSIONS: i32 = 64;

/// What keeps an exported tensor there.
struct Exported {
    _region: Region,
    shape: [i64; 1],
    strides: [i64; 1],
}

impl Region {
    /// The memory of a tensor of another library, which `owner` keeps there: all of it, as it lies. The tensor's own deleter is not
    /// called; whoever owns the tensor calls it when `owner` is dropped. Peers on this machine cannot map such memory.
    ///
    /// A tensor on a device of CUDA or ROCm makes a region [on that device](Self::on_device), which is [opened](device::open) by its
    /// number. Nothing waits for an engine's streams, then or later: whoever lends blocks, or fetches into them, has synchronised.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for memory of other devices and for a version of DLPack other than 1; [`ErrorKind::Invalid`] for a
    /// tensor of no bytes, one that does not lie in one piece, and one that is only for reading; for a device what
    /// [`open`](device::open) and [`on_device`](Self::on_device) say.
    ///
    /// # Safety
    ///
    /// `tensor` must be of this form, and it and its memory must stay there, readable and writable, as long as `owner` lives. What
    /// [`adopt_pointer`](Self::adopt_pointer) says of blocks that are read and written at once holds here too.
    pub unsafe fn adopt_dlpack(
        tensor: NonNull<c_void>,
        form: DlpackForm,
        owner: impl Any + Send + Sync,
    ) -> Result<Self> {
        let (tensor, flags) = match form {
            // SAFETY: the caller says that it is of this form.
            DlpackForm::Plain => unsafe { (&tensor.cast::<Managed>().as_ref().tensor, 0) },
            DlpackForm::Versioned => {
                // SAFETY: the caller says that it is of this form, whose beginning is the same in every version.
                let major = unsafe { tensor.cast::<u32>().read() };
                if major != MAJOR {
                    let message = format!("a tensor of DLPack {major}, expected {MAJOR}");
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                // SAFETY: as above, and the version is the one that is known.
                let versioned = unsafe { tensor.cast::<Versioned>().as_ref() };
                (&versioned.tensor, versioned.flags)
            }
        };
        let id = device_of(tensor.device)?;
        // SAFETY: the caller says that it is a tensor.
        let (start, len) = unsafe { memory(tensor) }?;
        if flags & READ_ONLY != 0 {
            return Err(invalid("a tensor that is only for reading, expected one that can be written to"));
        }
        let Some(id) = id else {
            // SAFETY: the caller says that the tensor's memory stays as long as `owner`, and these bytes are it.
            return Ok(unsafe { Self::adopt_pointer(start, len, owner) });
        };
        let device = device::open(id)?;
        // SAFETY: as above, and the tensor says that its memory is of this device.
        let memory = unsafe { device.adopt(start.addr().get() as u64, len as u64, Arc::new(owner)) }?;
        Self::on_device(device, memory)
    }

    /// The region as a tensor of bytes, for libraries that take DLPack. It keeps the memory there until its deleter is called, by
    /// whoever took it or by [`delete_dlpack`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a region that is only for reading in the form that cannot say so.
    pub fn to_dlpack(&self, form: DlpackForm) -> Result<NonNull<c_void>> {
        if form == DlpackForm::Plain && !self.is_writable() {
            let message = "a region that is only for reading, which DLPack says from version 1 on";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (kind, number) = self.dlpack_device();
        let data = match self.device() {
            Some(there) => ptr::with_exposed_provenance_mut(there.memory().address() as usize),
            None => self.address().map_or(ptr::null_mut(), |address| address.as_ptr().cast()),
        };
        let len = i64::try_from(self.len()).expect("no memory has more bytes");
        let exported = Box::new(Exported { _region: self.clone(), shape: [len], strides: [1] });
        let context = Box::into_raw(exported);
        // SAFETY: it was just made, and stays there until the deleter frees it.
        let (shape, strides) = unsafe { (&raw mut (*context).shape, &raw mut (*context).strides) };
        let tensor = Tensor {
            data,
            device: Device { kind, number },
            dimensions: 1,
            element: DataType { code: UNSIGNED, bits: 8, lanes: 1 },
            shape: shape.cast(),
            strides: strides.cast(),
            byte_offset: 0,
        };
        let context = context.cast();
        let made = match form {
            DlpackForm::Plain => {
                Box::into_raw(Box::new(Managed { tensor, context, deleter: Some(delete_managed) })).cast()
            }
            DlpackForm::Versioned => {
                let flags = if self.is_writable() { 0 } else { READ_ONLY };
                let deleter = Some(delete_versioned as unsafe extern "C" fn(*mut Versioned));
                Box::into_raw(Box::new(Versioned { major: MAJOR, minor: 0, context, deleter, flags, tensor })).cast()
            }
        };
        Ok(NonNull::new(made).expect("a box is somewhere"))
    }
}

impl Region {
    /// The device that its bytes are on, in DLPack's numbers: which kind, and which of them.
    pub fn dlpack_device(&self) -> (i32, i32) {
        let Some(DeviceId { vendor, ordinal }) = self.device_id() else { return (CPU, 0) };
        let kind = match vendor {
            Vendor::Amd => ROCM,
            Vendor::Host => CPU,
            Vendor::Nvidia => CUDA,
        };
        (kind, ordinal as i32)
    }
}

/// Calls a tensor's deleter, if it has one: nobody needs it any more.
///
/// # Safety
///
/// `tensor` must be of this form, of version 1 where it says one, and is gone afterwards.
pub unsafe fn delete_dlpack(tensor: NonNull<c_void>, form: DlpackForm) {
    match form {
        DlpackForm::Plain => {
            let tensor = tensor.cast::<Managed>();
            // SAFETY: the caller says that it is of this form and that nobody needs it.
            unsafe {
                if let Some(deleter) = tensor.as_ref().deleter {
                    deleter(tensor.as_ptr());
                }
            }
        }
        DlpackForm::Versioned => {
            let tensor = tensor.cast::<Versioned>();
            // SAFETY: as above.
            unsafe {
                if let Some(deleter) = tensor.as_ref().deleter {
                    deleter(tensor.as_ptr());
                }
            }
        }
    }
}

/// Where a tensor's bytes begin, and how many there are.
///
/// # Safety
///
/// It must be a tensor.
unsafe fn memory(tensor: &Tensor) -> Result<(NonNull<u8>, usize)> {
    let Tensor { dimensions, element, shape, strides, data, byte_offset, .. } = *tensor;
    if !(0..=MAX_DIMENSIONS).contains(&dimensions) || (dimensions > 0 && shape.is_null()) {
        return Err(invalid(format!("a tensor of {dimensions} dimensions, expected 0 to {MAX_DIMENSIONS}")));
    }
    let mut axes = Vec::new();
    for axis in 0..dimensions as usize {
        // SAFETY: a tensor has as many lengths as dimensions, and as many strides or none.
        let (len, stride) = unsafe { (shape.add(axis).read(), (!strides.is_null()).then(|| strides.add(axis).read())) };
        axes.push((len, stride));
    }
    let elements = axes.iter().try_fold(1_i64, |elements, &(len, _)| elements.checked_mul(len));
    let bits = i64::from(element.bits) * i64::from(element.lanes);
    let bytes = elements.and_then(|elements| elements.checked_mul(bits)).map(|bits| bits.div_euclid(8));
    let len = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|&len| len > 0);
    let len = len.ok_or_else(|| invalid("a tensor of 0 bytes, expected at least 1"))?;
    if !is_dense(axes) {
        return Err(invalid("a tensor that does not lie in one piece, expected a contiguous one"));
    }
    // A device's addresses are none of this process's: they are only counted with.
    let start = NonNull::new(data.cast::<u8>());
    let start = start.and_then(|start| NonNull::new(start.as_ptr().wrapping_add(byte_offset as usize)));
    Ok((start.ok_or_else(|| invalid("a tensor at NULL, expected one with memory"))?, len))
}

/// The device that a tensor is on; `None` for this machine's memory.
fn device_of(Device { kind, number }: Device) -> Result<Option<DeviceId>> {
    let vendor = match kind {
        CPU | CUDA_HOST => return Ok(None),
        CUDA => Vendor::Nvidia,
        ROCM => Vendor::Amd,
        _ => {
            let message =
                format!("a tensor in the memory of a {}, expected this machine's, CUDA's or ROCm's", device_name(kind));
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let ordinal =
        u32::try_from(number).map_err(|_| invalid(format!("a tensor on device {number}, expected 0 or more")))?;
    Ok(Some(DeviceId { vendor, ordinal }))
}

/// Whether elements lie one after the other, in whichever order of axes.
fn is_dense(mut axes: Vec<(i64, Option<i64>)>) -> bool {
    axes.retain(|&(len, _)| len != 1);
    axes.sort_by_key(|&(_, stride)| stride);
    let mut expected = 1;
    axes.into_iter().all(|(len, stride)| {
        let is_next = stride.is_none_or(|stride| stride == expected);
        expected *= len;
        is_next
    })
}

fn device_name(kind: i32) -> String {
    match kind {
        4 => "OpenCL device".into(),
        7 => "Vulkan device".into(),
        8 => "Metal device".into(),
        11 => "ROCm host".into(),
        13 => "CUDA managed allocation".into(),
        14 => "oneAPI device".into(),
        _ => format!("device of kind {kind}"),
    }
}

unsafe extern "C" fn delete_managed(tensor: *mut Managed) {
    // SAFETY: `to_dlpack` made both by boxes, and whoever calls the deleter does so once.
    unsafe {
        let tensor = Box::from_raw(tensor);
        drop(Box::from_raw(tensor.context.cast::<Exported>()));
    }
}

unsafe extern "C" fn delete_versioned(tensor: *mut Versioned) {
    // SAFETY: as above.
    unsafe {
        let tensor = Box::from_raw(tensor);
        drop(Box::from_raw(tensor.context.cast::<Exported>()));
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message.into())
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    /// What [`Region::adopt_dlpack`] says of a tensor that is like that of `region`, but changed.
    fn adopted(region: &Region, change: impl FnOnce(&mut Versioned)) -> Result<Region> {
        let tensor = region.to_dlpack(DlpackForm::Versioned).unwrap();
        // SAFETY: it was just made, and nobody else has it.
        change(unsafe { tensor.cast::<Versioned>().as_mut() });
        // SAFETY: the region is kept by itself, whatever becomes of the tensor.
        unsafe { Region::adopt_dlpack(tensor, DlpackForm::Versioned, (region.clone(), Deleted(tensor))) }
    }

    /// Deletes its tensor when it is dropped.
    struct Deleted(NonNull<c_void>);

    // SAFETY: a tensor of ours belongs to no thread.
    unsafe impl Send for Deleted {}
    // SAFETY: as above.
    unsafe impl Sync for Deleted {}

    impl Drop for Deleted {
        fn drop(&mut self) {
            // SAFETY: it is dropped once.
            unsafe { delete_dlpack(self.0, DlpackForm::Versioned) };
        }
    }

    #[test]
    fn a_region_that_went_out_and_came_back_is_the_same_memory() {
        let region = Region::memfd(4096).unwrap();
        let back = adopted(&region, |_| {}).unwrap();
        back.write(100, b"a block").unwrap();
        drop(back);
        let mut read = [0; 7];
        region.read(100, &mut read).unwrap();
        assert_eq!(&read, b"a block");

        let plain = region.to_dlpack(DlpackForm::Plain).unwrap();
        // SAFETY: the owner is the region whose memory it is.
        let back = unsafe { Region::adopt_dlpack(plain, DlpackForm::Plain, region) }.unwrap();
        assert_eq!(back.len(), 4096);
        // SAFETY: it was made above and is deleted once; `back` has the region itself.
        unsafe { delete_dlpack(plain, DlpackForm::Plain) };
        back.read(100, &mut read).unwrap();
        assert_eq!(&read, b"a block");
    }

    #[test]
    fn axes_may_stand_in_any_order_but_not_apart() {
        let region = Region::memfd(4096).unwrap();
        let mut shape = [4_i64, 1, 8];
        let mut with = |strides: Option<[i64; 3]>, bits: u8| {
            let mut strides = strides;
            adopted(&region, |versioned| {
                let tensor = &mut versioned.tensor;
                tensor.dimensions = 3;
                tensor.element.bits = bits;
                tensor.byte_offset = 64;
                tensor.shape = shape.as_mut_ptr();
                tensor.strides = strides.as_mut().map_or(null_mut(), |strides| strides.as_mut_ptr());
            })
        };
        assert_eq!(with(None, 16).unwrap().len(), 64);
        assert_eq!(with(Some([8, 77, 1]), 16).unwrap().len(), 64);
        assert_eq!(with(Some([1, 0, 4]), 32).unwrap().len(), 128);
        for apart in [[16, 1, 1], [8, 1, 2], [-8, 1, 1], [0, 0, 1]] {
            let said = with(Some(apart), 8).unwrap_err();
            assert_eq!(said.to_string(), "a tensor that does not lie in one piece, expected a contiguous one");
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused_by_name() {
        let region = Region::memfd(4096).unwrap();
        let said = |change: &dyn Fn(&mut Versioned)| {
            let error = adopted(&region, |versioned| change(versioned)).unwrap_err();
            (error.kind(), error.to_string())
        };
        let unsupported = |message: &str| (ErrorKind::Unsupported, message.to_owned());
        assert_eq!(
            said(&|versioned| versioned.tensor.device.kind = 8),
            unsupported("a tensor in the memory of a Metal device, expected this machine's, CUDA's or ROCm's")
        );
        let below = |versioned: &mut Versioned| versioned.tensor.device = Device { kind: CUDA, number: -1 };
        assert_eq!(said(&below).1, "a tensor on device -1, expected 0 or more");
        assert_eq!(said(&|versioned| versioned.major = 2), unsupported("a tensor of DLPack 2, expected 1"));
        assert_eq!(said(&|versioned| versioned.flags = READ_ONLY).0, ErrorKind::Invalid);
        assert_eq!(said(&|versioned| versioned.tensor.data = null_mut()).0, ErrorKind::Invalid);
        assert_eq!(said(&|versioned| versioned.tensor.dimensions = -1).0, ErrorKind::Invalid);
        assert_eq!(said(&|versioned| versioned.tensor.element.bits = 0).1, "a tensor of 0 bytes, expected at least 1");
    }
}
