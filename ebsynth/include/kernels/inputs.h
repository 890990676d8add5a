// From the caller's buffers to the pyramids on the device.
#pragma once

#include "layout.h"

namespace ebs {
namespace kernels {

template <class T>
Batch<const T> constant(Batch<T> batch) {
    return {batch.base, batch.stride};
}

inline int border_of(const ebs_plan& plan, int patch) { return plan.source_border ? patch / 2 : 0; }

template <class Device>
struct Inputs {
    Device& device;
    const Layout& at;
    const BatchShape& shape;
    const ebs_task* tasks;
    int pairs;
    const ebs_plan& plan;

    void make() {
        upload();
        build_pyramids();
    }

private:
    void upload() {
        const size_t pixels = shape.target.pixels(), source_pixels = shape.source.pixels();
        for (int i = 0; i < pairs; ++i) {
            const ebs_task& t = tasks[i];
            const size_t guide_bytes = 4 * size_t(plan.guide_lanes);
            device.upload(at.source_guides.of(i), t.source_guides, source_pixels * guide_bytes);
            device.upload(at.target_guides.of(i), t.target_guides, pixels * guide_bytes);
            if (plan.style_lanes) device.upload(at.style.of(i), t.style, source_pixels * 4 * size_t(plan.style_lanes));
            if (shape.init) device.upload(at.given.of(i), t.init_nnf_yx, pixels * sizeof(Point));
            if (shape.modulation)
                device.upload(at.levels[0].modulation.scales.of(i), t.modulation,
                              pixels * 4 * size_t(modulation_words(plan)));
            if (shape.source_mask) upload_source_masks(i);
            if (shape.target_mask) upload_target_masks(i);
        }
    }

    void upload_source_masks(int pair) {
        Extent size = shape.source;
        Mask mask(tasks[pair].source_mask, tasks[pair].source_mask + size.pixels());
        for (int l = 0; l < plan.levels; ++l) {
            const int border = border_of(plan, plan.patch_size);
            std::vector<Point> places;
            for (int y = border; y < size.height - border; ++y)
                for (int x = border; x < size.width - border; ++x)
                    if (mask[size.at(y, x)]) places.push_back(point(y, x));
            if (places.empty()) throw Failure(EBS_BAD_ARGUMENT, "the source mask leaves no place for a patch.");
            const uint32_t count = uint32_t(places.size());
            device.upload(at.levels[size_t(l)].source_mask.of(pair), mask.data(), mask.size());
            device.upload(at.levels[size_t(l)].places.of(pair), places.data(), places.size() * sizeof(Point));
            device.upload(at.levels[size_t(l)].place_count.of(pair), &count, sizeof count);
            mask = halve(mask, {size.height, size.width});
            size = size.half();
        }
    }

    void upload_target_masks(int pair) {
        Extent size = shape.target;
        Mask mask(tasks[pair].target_mask, tasks[pair].target_mask + size.pixels());
        for (int l = 0; l < plan.levels; ++l) {
            device.upload(at.levels[size_t(l)].target_mask.of(pair), mask.data(), mask.size());
            mask = halve(mask, {size.height, size.width});
            size = size.half();
        }
    }

    void build_pyramids() {
        const LevelArrays& finest = at.levels[0];
        device.launch(
            Pack{finest.source, constant(at.source_guides), constant(at.style), plan.guide_lanes, plan.style_lanes},
            pairs);
        device.launch(Pack{finest.target, constant(at.target_guides), {}, plan.guide_lanes, plan.style_lanes}, pairs);
        for (size_t l = 1; l < at.levels.size(); ++l) {
            const LevelArrays &fine = at.levels[l - 1], &coarse = at.levels[l];
            device.launch(Halve{fine.source, coarse.source}, pairs);
            device.launch(Halve{fine.target, coarse.target}, pairs);
            if (shape.modulation) device.launch(HalveModulation{fine.modulation, coarse.modulation}, pairs);
        }
    }
};

}  // namespace kernels
}  // namespace ebs
