// Runs the kernels on the CPU, a thread after the other: for tests, to the device's very bytes.
#pragma once

#include <memory>
#include <cstring>
#include <vector>

#include "search.h"

namespace ebs {
namespace kernels {

class HostDevice {
public:
    void upload(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
    void download(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
    void copy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
    void fill(void* at, int byte, size_t bytes) { std::memset(at, byte, bytes); }
    void finish() {}

    template <class Kernel>
    void launch(const Kernel& kernel, int pairs) {
        const Grid grid = kernel.grid(pairs);
        size_t bytes = 0;
        if constexpr (Kernel::kTiled) bytes = kernel.shared_bytes();
        std::vector<LanePair> shared(bytes / sizeof(LanePair) + 1);
        for (int z = 0; z < grid.z; ++z)
            for (int y = 0; y < grid.y; ++y)
                for (int x = 0; x < grid.x; ++x) {
                    if constexpr (Kernel::kTiled)
                        for (int t = 0; t < kBlockThreads; ++t) kernel.load({x, y, z, t}, shared.data());
                    for (int t = 0; t < kBlockThreads; ++t) kernel.run({x, y, z, t}, shared.data());
                }
    }
};

// Memory of a batch.
class HostMemory {
public:
    explicit HostMemory(size_t bytes) : bytes_(bytes + kAlignment) {
        size_t space = bytes_.size();
        base_ = bytes_.data();
        std::align(kAlignment, bytes, base_, space);
    }
    void* base() const { return base_; }

private:
    static constexpr size_t kAlignment = 256;
    std::vector<uint8_t> bytes_;
    void* base_;
};

// All tasks, in batches of at most `at_once` pairs.
inline void search_on_host(const ebs_task* tasks, int count, const ebs_plan& plan, int at_once) {
    HostDevice device;
    for (const Piece piece : pieces_of(tasks, count, [&](const BatchShape&) { return at_once; })) {
        HostMemory memory(Layout::bytes(BatchShape(tasks[piece.first]), plan, piece.count));
        Search<HostDevice> search(device, memory.base(), tasks + piece.first, piece.count, plan);
        search.run(nullptr);
        search.deliver();
    }
}

}  // namespace kernels
}  // namespace ebs
