// Packs scattered fragments of device memory into one slab, and unpacks them, so that one large copy crosses the bus.
//
// `pack.ptx` beside this file is made from it, without a CUDA toolkit, by NVRTC 11.8:
//
//     python3 -m venv nvrtc && nvrtc/bin/pip install nvidia-cuda-nvrtc-cu11==11.8.89
//     nvrtc/bin/python compile.py pack.cu > pack.ptx
//
// Each block of threads takes whole fragments, one after the other, 16 bytes per thread where address, place and length allow.

struct Fragment {
    unsigned long long address; // in device memory
    unsigned long long at;      // in the slab
    unsigned long long len;
};

__device__ void copy(char *to, const char *from, unsigned long long len) {
    unsigned long long aligned = (unsigned long long)to | (unsigned long long)from | len;
    if ((aligned & 15) == 0) {
        for (unsigned long long i = threadIdx.x; i < len / 16; i += blockDim.x) {
            ((uint4 *)to)[i] = ((const uint4 *)from)[i];
        }
    } else {
        for (unsigned long long i = threadIdx.x; i < len; i += blockDim.x) {
            to[i] = from[i];
        }
    }
}

extern "C" __global__ void llmd_gather(const Fragment *fragments, unsigned long long count, char *slab) {
    for (unsigned long long i = blockIdx.x; i < count; i += gridDim.x) {
        copy(slab + fragments[i].at, (const char *)fragments[i].address, fragments[i].len);
    }
}

extern "C" __global__ void llmd_scatter(const Fragment *fragments, unsigned long long count, char *slab) {
    for (unsigned long long i = blockIdx.x; i < count; i += gridDim.x) {
        copy((char *)fragments[i].address, slab + fragments[i].at, fragments[i].len);
    }
}
