// Packs scattered fragments of device memory into one slab, and unpacks them, so that one large copy crosses the bus; and copies
// fragments from one memory to their places in another, which is then the slab.
//
// `pack.ptx` beside this file is made from it, without a CUDA toolkit, by NVRTC 11.8:
//
//     python3 -m venv nvrtc && nvrtc/bin/pip install nvidia-cuda-nvrtc-cu11==11.8.89
//     nvrtc/bin/python compile.py pack.cu > pack.ptx
//
// Warps take fragments, one after the other, where there are enough for all of them, and else blocks of threads do: 16 bytes per thread
// where address, place and length allow.

struct Fragment {
    unsigned long long address; // in device memory
    unsigned long long at;      // in the slab
    unsigned long long len;
};

// Who copies a fragment together: a warp, or a block of threads.
struct Crew {
    unsigned long long first, crews; // Which it is, and of how many.
    unsigned thread, threads;        // Which of its threads this is, and of how many.
};

__device__ Crew crew(unsigned long long count) {
    unsigned warps = blockDim.x / 32;
    Crew by = {blockIdx.x, gridDim.x, threadIdx.x, blockDim.x};
    if (count >= (unsigned long long)gridDim.x * warps) {
        by.first = (unsigned long long)blockIdx.x * warps + threadIdx.x / 32;
        by.crews = (unsigned long long)gridDim.x * warps;
        by.thread = threadIdx.x % 32;
        by.threads = 32;
    }
    return by;
}

__device__ void copy(char *__restrict__ to, const char *__restrict__ from, unsigned long long len, Crew by) {
    unsigned long long aligned = (unsigned long long)to | (unsigned long long)from | len;
    if ((aligned & 15) == 0) {
        unsigned long long i = by.thread, step = by.threads, end = len / 16;
        const uint4 *__restrict__ in = (const uint4 *)from;
        uint4 *__restrict__ out = (uint4 *)to;
        // Four at once: none waits for another.
        for (; i + 3 * step < end; i += 4 * step) {
            uint4 a = in[i], b = in[i + step], c = in[i + 2 * step], d = in[i + 3 * step];
            out[i] = a, out[i + step] = b, out[i + 2 * step] = c, out[i + 3 * step] = d;
        }
        for (; i < end; i += step) {
            out[i] = in[i];
        }
    } else {
        for (unsigned long long i = by.thread; i < len; i += by.threads) {
            to[i] = from[i];
        }
    }
}

extern "C" __global__ void llmd_gather(const Fragment *fragments, unsigned long long count, char *slab) {
    Crew by = crew(count);
    for (unsigned long long i = by.first; i < count; i += by.crews) {
        copy(slab + fragments[i].at, (const char *)fragments[i].address, fragments[i].len, by);
    }
}

extern "C" __global__ void llmd_scatter(const Fragment *fragments, unsigned long long count, char *slab) {
    Crew by = crew(count);
    for (unsigned long long i = by.first; i < count; i += by.crews) {
        copy((char *)fragments[i].address, slab + fragments[i].at, fragments[i].len, by);
    }
}
