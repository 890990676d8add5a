// Time and energy of the CUDA backend on pairs of a moving scene, copies and packing included.
//
//   nvcc -std=c++17 -O3 -arch=native -Iinclude -Itests tests/cuda_bench.cpp src/ebsynth_cpu.cpp src/ebsynth_cuda.cu
//        -Xcompiler -pthread -ldl -o cuda_bench && ./cuda_bench [HEIGHT WIDTH]
//
// A line for each patch size and batch: median milliseconds a pair, pairs a second, and the energy of the batch's first
// pair divided by the CPU's. For the share of each kernel: ncu --clock-control none ./cuda_bench, or nsys profile.
#include <algorithm>
#include <chrono>

#include "search_call.h"

using namespace ebs_test;

namespace {

constexpr int kRuns = 7;

double milliseconds(Call& call) {
    const auto begin = std::chrono::steady_clock::now();
    call.run(EBS_BACKEND_CUDA);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double cpu_energy(int height, int width, int patch, float weight) {
    Call call(height, width, 1, EBS_VIDEO, patch, 1);
    call.options.guide_weights = &weight, call.options.guide_weight_count = 1;
    call.run(EBS_BACKEND_CPU);
    return call.energy();
}

void measure(int height, int width, int patch, float weight, int batch, double cpu) {
    Call call(height, width, batch, EBS_VIDEO, patch, 1);
    call.options.guide_weights = &weight, call.options.guide_weight_count = 1;
    call.run(EBS_BACKEND_CUDA);  // loads the kernels and allocates
    double times[kRuns];
    for (double& t : times) t = milliseconds(call) / batch;
    std::sort(times, times + kRuns);
    double energy = 0;
    for (float e : call.errors[0]) energy += double(e);
    energy /= double(height) * width;
    const double median = times[kRuns / 2];
    std::printf(
        "%dx%d  patch %2d  weight %3.0f  batch %2d  %8.3f ms a pair (best %.3f)  %7.1f pairs/s  energy %.4f of the "
        "CPU's\n",
        width, height, patch, double(weight), batch, median, times[0], 1000 / median, energy / cpu);
    std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
    if (!ebs_cuda_available()) {
        std::printf("skipped: no device\n");
        return 77;
    }
    const int height = count > 2 ? std::atoi(arguments[1]) : 512, width = count > 2 ? std::atoi(arguments[2]) : 512;
    for (int patch : {5, 11, 21})
        for (float weight : {1.0f, 100.0f}) {
            const double cpu = cpu_energy(height, width, patch, weight);
            for (int batch : {1, 4, 16, 48}) measure(height, width, patch, weight, batch, cpu);
        }
}
