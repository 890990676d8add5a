// The CUDA backend: memory, streams and errors. What runs on the device is in include/kernels.
//
// Expected cost, by count, to be held against a measurement: at patch 21 and two lanes (RGB guide, RGB style) one step
// of a score is an 8-byte shared load, an 8-byte global load and four integer instructions. The two loads of a warp take
// 4 to 5 cycles of the 128 B/cycle that a multiprocessor reads from shared memory and L1, which binds before the
// arithmetic (2 cycles at 64 a cycle) and the device's memory (the source's 2 MB stay in L2). A candidate of every pixel
// of 512 x 512 is then 441 steps x 4.5 cycles x 8192 warps / 132 multiprocessors at 1.7 GHz = 72 us. Counted on the CPU
// over whole video searches (guide weights 1 and 100), with each warp as slow as its slowest thread, the passes take 3.8
// to 6.0 ms a pair at patch 21 and 0.6 ms at patch 5; votes add some 0.8 ms, copies of 6 MB a pair hide behind the other
// half of the batch. What the count leaves out: loads of random candidates where the correspondences of neighbours
// disagree.

#include <cuda_runtime.h>

#include <cstdio>
#include <memory>
#include <mutex>
#include <new>

#include "kernels/search.h"

namespace ebs {
namespace kernels {
namespace {

[[noreturn]] void fail(cudaError_t error, const char* what) {
    const std::string text =
        std::string("CUDA: ") + what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ").";
    switch (error) {
        case cudaErrorNoDevice:
        case cudaErrorInsufficientDriver:
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorUnsupportedPtxVersion:
        case cudaErrorSystemDriverMismatch: throw Failure(EBS_UNAVAILABLE, text);
        case cudaErrorMemoryAllocation: throw Failure(EBS_OUT_OF_MEMORY, text);
        default: throw Failure(EBS_DEVICE_ERROR, text);
    }
}

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    // An error that does not break the context must not surface again in somebody else's call.
    cudaGetLastError();
    fail(error, what);
}

template <class Kernel>
__global__ void __launch_bounds__(kBlockThreads) enter(const __grid_constant__ Kernel kernel) {
    extern __shared__ LanePair shared[];
    const Place place{int(blockIdx.x), int(blockIdx.y), int(blockIdx.z), int(threadIdx.x)};
    if constexpr (Kernel::kTiled) {
        kernel.load(place, shared);
        __syncthreads();
    }
    kernel.run(place, shared);
}

// A stream with its memory. Kept from call to call: allocating costs more than a small batch.
class Workspace {
public:
    Workspace() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream"); }
    ~Workspace() {
        cudaStreamSynchronize(stream_);
        release();
        cudaStreamDestroy(stream_);
    }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    size_t bytes() const { return bytes_; }

    void* reserve(size_t bytes) {
        if (bytes <= bytes_) return memory_;
        release();
        const cudaError_t error = cudaMalloc(&memory_, bytes);
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError();
            memory_ = nullptr;
            throw Failure(EBS_OUT_OF_MEMORY,
                          "the device has no " + std::to_string(bytes >> 20) +
                              " MiB free for the search; use smaller batches or frames, or the CPU.");
        }
        check(error, "allocating memory");
        bytes_ = bytes;
        return memory_;
    }

    void release() {
        cudaFree(memory_);
        memory_ = nullptr;
        bytes_ = 0;
    }

    // ---- what Search asks of a device

    void upload(void* to, const void* from, size_t bytes) {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying to the device");
    }
    void download(void* to, const void* from, size_t bytes) {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying from the device");
    }
    void copy(void* to, const void* from, size_t bytes) {
        check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copying on the device");
    }
    void fill(void* at, int byte, size_t bytes) { check(cudaMemsetAsync(at, byte, bytes, stream_), "filling memory"); }
    void finish() { check(cudaStreamSynchronize(stream_), "waiting for the device"); }

    template <class Kernel>
    void launch(const Kernel& kernel, int pairs) {
        const Grid grid = kernel.grid(pairs);
        size_t bytes = 0;
        if constexpr (Kernel::kTiled) bytes = kernel.shared_bytes();
        enter<<<dim3(unsigned(grid.x), unsigned(grid.y), unsigned(grid.z)), kBlockThreads, bytes, stream_>>>(kernel);
        check(cudaGetLastError(), "starting a kernel");
    }

private:
    cudaStream_t stream_ = nullptr;
    void* memory_ = nullptr;
    size_t bytes_ = 0;
};

// Workspaces between calls. What they hold beyond this is given back, for the card is shared with networks.
constexpr size_t kKeptBytes = size_t(1) << 30;

class Shelf {
public:
    std::unique_ptr<Workspace> take() {
        std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.empty()) return std::make_unique<Workspace>();
        std::unique_ptr<Workspace> taken = std::move(idle_.back());
        idle_.pop_back();
        return taken;
    }

    void put_back(std::unique_ptr<Workspace> workspace) {
        std::lock_guard<std::mutex> lock(mutex_);
        size_t kept = workspace->bytes();
        for (const auto& other : idle_) kept += other->bytes();
        if (kept > kKeptBytes) workspace->release();
        idle_.push_back(std::move(workspace));
    }

    // Never destroyed: at exit the driver may be gone before static objects are.
    static Shelf& instance() {
        static Shelf* const shelf = new Shelf;
        return *shelf;
    }

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Workspace>> idle_;
};

// A workspace for the length of a scope; what runs in it has ended when it goes back.
class Loan {
public:
    Loan() : workspace_(Shelf::instance().take()) {}
    ~Loan() {
        // After an error of the device the stream is of no use to anyone.
        try {
            workspace_->finish();
            Shelf::instance().put_back(std::move(workspace_));
        } catch (const Failure&) {
            workspace_.reset();
        }
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    Workspace& operator*() const { return *workspace_; }
    Workspace* operator->() const { return workspace_.get(); }

private:
    std::unique_ptr<Workspace> workspace_;
};

// More pairs at once fill no device better, and the copies of one batch hide behind the kernels of another.
constexpr int kPairsAtOnce = 16;

// How many pairs of a shape fit into one of two workspaces.
int pairs_that_fit(const BatchShape& shape, const ebs_plan& plan, size_t held) {
    size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "asking for free memory");
    // A tenth stays for the driver and for fragments.
    const size_t budget = (free + held) / 20 * 9;
    int pairs = kPairsAtOnce;
    while (pairs > 1 && Layout::bytes(shape, plan, pairs) > budget) pairs /= 2;
    return pairs;
}

double work_of(const ebs_task& task, const ebs_plan& plan, int level) {
    const double pixels = double(task.height >> level) * double(task.width >> level);
    return pixels * plan.level[level].rounds * plan.level[level].sweeps;
}

class Run {
public:
    Run(const ebs_task* tasks, int count, const ebs_plan& plan, int (*progress)(void*, const ebs_progress*), void* user)
        : tasks_(tasks), plan_(plan), progress_(progress), user_(user) {
        const size_t held = halves_[0]->bytes() + halves_[1]->bytes();
        pieces_ = pieces_of(tasks, count, [&](const BatchShape& shape) { return pairs_that_fit(shape, plan, held); });
        for (int i = 0; i < count; ++i)
            for (int l = 0; l < plan.levels; ++l) total_ += work_of(tasks[i], plan, l);
    }

    // Two batches are under way: while one is searched, the other is copied.
    ebs_status operator()() {
        using Under = Search<Workspace>;
        std::unique_ptr<Under> under_way[2];
        for (size_t i = 0; i < pieces_.size(); ++i) {
            auto& slot = under_way[i % 2];
            if (slot) slot->deliver();
            slot.reset();
            const Piece piece = pieces_[i];
            Workspace& workspace = *halves_[i % 2];
            const ebs_task* first = tasks_ + piece.first;
            void* memory = workspace.reserve(Layout::bytes(BatchShape(*first), plan_, piece.count));
            slot = std::make_unique<Under>(workspace, memory, first, piece.count, plan_);
            LevelReport report;
            if (progress_) report = [&, piece](int level) { return tell(workspace, piece, level); };
            if (!slot->run(report)) return EBS_CANCELLED;
        }
        for (size_t i = pieces_.size(); i < pieces_.size() + 2; ++i)
            if (under_way[i % 2]) under_way[i % 2]->deliver();
        return EBS_OK;
    }

private:
    bool tell(Workspace& workspace, Piece piece, int level) {
        workspace.finish();
        for (int i = piece.first; i < piece.first + piece.count; ++i) {
            done_ += work_of(tasks_[i], plan_, level);
            const ebs_level_plan& steps = plan_.level[level];
            const ebs_progress state{
                std::min(1.0, done_ / total_),           i, level, steps.rounds - 1, steps.sweeps - 1,
                std::numeric_limits<double>::quiet_NaN()};
            if (progress_(user_, &state) != 0) return false;
        }
        return true;
    }

    const ebs_task* const tasks_;
    const ebs_plan& plan_;
    int (*const progress_)(void*, const ebs_progress*);
    void* const user_;
    Loan halves_[2];
    std::vector<Piece> pieces_;
    double total_ = 0, done_ = 0;
};

template <class Body>
ebs_status guarded(char* message, size_t message_size, const Body& body) {
    try {
        return body();
    } catch (const Failure& failure) {
        std::snprintf(message, message_size, "%s", failure.what());
        return failure.status;
    } catch (const std::bad_alloc&) {
        std::snprintf(message, message_size, "out of memory.");
        return EBS_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        std::snprintf(message, message_size, "%s", error.what());
        return EBS_INTERNAL;
    }
}

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int32_t device_count(char* message, size_t message_size) {
    int count = 0;
    const ebs_status status = guarded(message, message_size, [&] {
        int driver = 0;
        check(cudaDriverGetVersion(&driver), "asking for the driver's version");
        if (driver == 0) throw Failure(EBS_UNAVAILABLE, "CUDA: this machine has no NVIDIA driver; use the CPU.");
        const cudaError_t found = cudaGetDeviceCount(&count);
        if (found == cudaErrorInsufficientDriver)
            throw Failure(EBS_UNAVAILABLE, "CUDA: the driver is too old: it knows CUDA " + version_text(driver) +
                                               ", this build is for " + version_text(CUDART_VERSION) +
                                               ". Update the driver, or use the CPU.");
        check(found, "looking for a device");
        if (count == 0) fail(cudaErrorNoDevice, "looking for a device");
        // Code for this device's architecture may be missing from the build.
        cudaFuncAttributes attributes;
        check(cudaFuncGetAttributes(&attributes, enter<SumEnergies>), "loading a kernel");
        return EBS_OK;
    });
    return status == EBS_OK ? count : 0;
}

ebs_status estimate(const ebs_task* tasks, int32_t count, const ebs_plan* plan,
                    int (*progress)(void* user, const ebs_progress* state), void* progress_user, char* message,
                    size_t message_size) {
    return guarded(message, message_size, [&] {
        const ebs_status status = Run(tasks, count, *plan, progress, progress_user)();
        if (status == EBS_CANCELLED) std::snprintf(message, message_size, "cancelled by the caller.");
        return status;
    });
}

}  // namespace
}  // namespace kernels
}  // namespace ebs

extern "C" const ebs_backend* ebs_cuda_backend(void) {
    static const ebs_backend backend = {EBS_BACKEND_VERSION, ebs::kernels::device_count, ebs::kernels::estimate};
    return &backend;
}
