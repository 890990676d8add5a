// What kernel bodies are written in: functions that nvcc compiles for the device and any C++17 compiler for the host.
//
// A kernel is a struct: its members are its arguments, `grid()` says how many blocks of 32 x 8 threads it wants, and
// `run(place, shared)` is what one thread does. A kernel with kTiled fills its block's shared memory in `load(place,
// shared)` first. Between load and run lies the only barrier, so that a host can run all loads of a block and then all
// runs, and find the device's bytes: everything that decides is integer arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/host_device.h"
#include "../core/random.h"

#ifdef __CUDACC__
#define EBS_UNROLL _Pragma("unroll")
#define EBS_UNROLL_SOME _Pragma("unroll 4")
#else
#define EBS_UNROLL
#define EBS_UNROLL_SOME
#endif

namespace ebs {
namespace kernels {

constexpr int kBlockWidth = 32, kBlockHeight = 8, kBlockThreads = kBlockWidth * kBlockHeight;

struct Grid {
    int x, y, z;
};

struct Place {
    int block_x, block_y, block_z;
    int thread;  // in the block, rows of kBlockWidth
    EBS_HD int x() const { return block_x * kBlockWidth + thread % kBlockWidth; }
    EBS_HD int y() const { return block_y * kBlockHeight + thread / kBlockWidth; }
};

inline Grid grid_over(int height, int width, int pairs) {
    return {(width + kBlockWidth - 1) / kBlockWidth, (height + kBlockHeight - 1) / kBlockHeight, pairs};
}

// A correspondence: (row, column) in the source, as the NNF is handed out.
struct alignas(4) Point {
    int16_t y, x;
    EBS_HD bool operator==(Point other) const { return y == other.y && x == other.x; }
};

EBS_HD Point point(int y, int x) { return {int16_t(y), int16_t(x)}; }

struct Extent {
    int height, width;
    EBS_HD size_t pixels() const { return size_t(height) * size_t(width); }
    EBS_HD size_t at(int y, int x) const { return size_t(y) * size_t(width) + size_t(x); }
    EBS_HD bool holds(int y, int x) const { return unsigned(y) < unsigned(height) && unsigned(x) < unsigned(width); }
    Extent half() const { return {height / 2, width / 2}; }
};

EBS_HD int min_of(int a, int b) { return a < b ? a : b; }
EBS_HD int max_of(int a, int b) { return a > b ? a : b; }
EBS_HD int clamp(int value, int low, int high) { return min_of(max_of(value, low), high); }

// Equal arrays of all pairs of a batch, one after the other. A null base: there is none.
template <class T>
struct Batch {
    T* base = nullptr;
    size_t stride = 0;
    EBS_HD T* of(int pair) const { return base + size_t(pair) * stride; }
    EBS_HD explicit operator bool() const { return base != nullptr; }
};

// Sum of the squared differences of four bytes, added to `sum`.
EBS_HD uint32_t add_squares(uint32_t a, uint32_t b, uint32_t sum) {
#ifdef __CUDA_ARCH__
    const uint32_t difference = __vabsdiffu4(a, b);
    return __dp4a(difference, difference, sum);
#else
    for (int shift = 0; shift < 32; shift += 8) {
        const int difference = int(a >> shift & 255) - int(b >> shift & 255);
        sum += uint32_t(difference * difference);
    }
    return sum;
#endif
}

// Sums of integers are the same in any order, so that atomics leave nothing to chance.
EBS_HD void add_to(unsigned long long* sum, unsigned long long value) {
#ifdef __CUDA_ARCH__
    atomicAdd(sum, value);
#else
    *sum += value;
#endif
}

EBS_HD void add_to(uint32_t* sum, uint32_t value) {
#ifdef __CUDA_ARCH__
    atomicAdd(sum, value);
#else
    *sum += value;
#endif
}

}  // namespace kernels
}  // namespace ebs
