// The CUDA backend's search against the CPU's through the library: no more than 1 % above its energy, and exact where
// there is an exact answer. Link with ebsynth_cuda.cu (a device is needed) or with cuda_on_host.cpp (slow, but
// anywhere).
#include <cmath>
#include <string>

#include "search_call.h"

using namespace ebs_test;

namespace {

int failures = 0;

void report(const std::string& name, bool good, const std::string& detail) {
    std::printf("%s %s: %s\n", good ? "ok" : "FAILED", name.c_str(), detail.c_str());
    failures += !good;
}

void check_energy(int preset, int patch, int side, bool flat = false) {
    double cpu = 0, cuda = 0;
    for (uint32_t seed = 0; seed < 2; ++seed) {
        Call call(side, side + 24, 1, preset, patch, seed);
        // Under a style without features no vote tells the search that it has not arrived.
        if (flat) std::fill(call.styles[0].rgb.begin(), call.styles[0].rgb.end(), uint8_t(200));
        // Uniformity trades energy for even use, and `energy()` leaves it out.
        call.options.uniformity = 0;
        call.run(EBS_BACKEND_CPU);
        cpu += call.energy();
        call.run(EBS_BACKEND_CUDA);
        cuda += call.energy();
    }
    char detail[200];
    std::snprintf(detail, sizeof detail, "%.1f on the CPU, %.1f on the device, ratio %.4f", cpu / 2, cuda / 2,
                  cuda / cpu);
    report(std::string(flat ? "energy, flat style, " : "energy, ") + (preset == EBS_VIDEO ? "video" : "generic") +
               ", patch " + std::to_string(patch),
           cuda <= 1.01 * cpu, detail);
}

void check_identity() {
    Call call(70, 91, 1, EBS_VIDEO, 11, 3);
    call.pairs[0].target = call.pairs[0].source;
    call.run(EBS_BACKEND_CUDA);
    bool identity = true;
    for (int i = 0; i < 70 * 91; ++i)
        identity &= call.nnfs[0][size_t(2 * i)] == i / 91 && call.nnfs[0][size_t(2 * i + 1)] == i % 91;
    report("identical frames", identity && call.voted[0] == call.styles[0].rgb && call.energy() == 0,
           "the identity, an exact copy");
}

// A shift that no neighbour knows: every pixel inside must find it.
void check_shift() {
    const int height = 90, width = 100, dy = 5, dx = -9, patch = 7;
    Call call(height, width, 1, EBS_VIDEO, patch, 4);
    Picture shifted = call.sources[0];
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c) {
                const int sy = std::clamp(y + dy, 0, height - 1), sx = std::clamp(x + dx, 0, width - 1);
                shifted.rgb[size_t((y * width + x) * 3 + c)] = call.sources[0].rgb[size_t((sy * width + sx) * 3 + c)];
            }
    const ebs_image image = view(shifted);
    ebs_frame* target = nullptr;
    require(ebs_frame_create(&image, 1, &target));
    call.frames.push_back(target);
    call.pairs[0].target = target;
    // A painter's style can be cheaper to repeat than to follow; guides alone leave no choice.
    call.pairs[0].style = {};
    call.results[0].voted = nullptr;
    call.run(EBS_BACKEND_CUDA);
    int found = 0, all = 0;
    for (int y = 20; y < height - 20; ++y)
        for (int x = 20; x < width - 20; ++x, ++all) {
            const size_t id = size_t(y * width + x);
            found += call.nnfs[0][2 * id] == y + dy && call.nnfs[0][2 * id + 1] == x + dx;
        }
    report("a shift", found == all, std::to_string(found) + " of " + std::to_string(all) + " pixels follow it");
}

// Masks and modulation reach the backend, and a mixed batch keeps its order.
void check_mixed_batch() {
    Call call(48, 60, 3, EBS_GENERIC, 5, 8);
    std::vector<uint8_t> source(48 * 60), target(48 * 60);
    for (int i = 0; i < 48 * 60; ++i) source[size_t(i)] = i % 60 < 30, target[size_t(i)] = i % 60 > 20;
    call.pairs[1].source_mask = {source.data(), 48, 60, 1, 0, 0};
    call.pairs[1].target_mask = {target.data(), 48, 60, 1, 0, 0};
    std::vector<int16_t> init(2 * 48 * 60, 7);
    call.pairs[1].init_nnf_yx = init.data();
    const ebs_image none = {target.data(), 48, 60, 1, 0, 0};
    call.pairs[2].modulation = &none;
    call.run(EBS_BACKEND_CUDA);
    bool good = true;
    for (size_t i = 0; i < 48 * 60; ++i) {
        good &= source[size_t(call.nnfs[1][2 * i]) * 60 + size_t(call.nnfs[1][2 * i + 1])] != 0;
        if (!target[i]) good &= call.nnfs[1][2 * i] == 7 && call.nnfs[1][2 * i + 1] == 7;
    }
    report("masks in a mixed batch", good, "respected");
    const std::vector<float> modulated = call.errors[2];
    call.pairs[2].modulation = nullptr;
    call.run(EBS_BACKEND_CUDA);
    report("modulation", modulated != call.errors[2], "changes the search");
}

}  // namespace

int main() {
    if (!ebs_cuda_available()) {
        std::printf("skipped: no device\n");
        return 77;
    }
    for (int patch : {5, 11, 21}) check_energy(EBS_VIDEO, patch, patch == 21 ? 120 : 150);
    check_energy(EBS_VIDEO, 5, 150, true);
    check_energy(EBS_GENERIC, 5, 90);
    check_identity();
    check_shift();
    check_mixed_batch();
    return failures;
}
