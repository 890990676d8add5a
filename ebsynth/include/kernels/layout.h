// Where the arrays of a batch lie in one block of device memory.
#pragma once

#include <vector>

#include "../core/mask.h"
#include "../ebsynth_backend.h"
#include "field.h"
#include "sweep.h"

namespace ebs {
namespace kernels {

// Hands out pieces of one block; without a block it only counts.
class Arena {
public:
    explicit Arena(void* base) : base_(static_cast<uint8_t*>(base)) {}

    template <class T>
    Batch<T> batch(size_t each, int pairs, bool wanted = true) {
        if (!wanted) return {};
        Batch<T> made{reinterpret_cast<T*>(base_ ? base_ + used_ : nullptr), each};
        used_ += (each * size_t(pairs) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
        return made;
    }

    size_t used() const { return used_; }

private:
    static constexpr size_t kAlignment = 256;
    uint8_t* base_;
    size_t used_ = 0;
};

// What pairs of one batch have in common besides the plan.
struct BatchShape {
    Extent target, source;
    bool source_mask, target_mask, modulation, init;

    explicit BatchShape(const ebs_task& t)
        : target{t.height, t.width},
          source{t.source_height, t.source_width},
          source_mask(t.source_mask != nullptr),
          target_mask(t.target_mask != nullptr),
          modulation(t.modulation != nullptr),
          init(t.init_nnf_yx != nullptr) {}

    bool operator==(const BatchShape& o) const {
        return target.height == o.target.height && target.width == o.target.width && source.height == o.source.height &&
               source.width == o.source.width && source_mask == o.source_mask && target_mask == o.target_mask &&
               modulation == o.modulation && init == o.init;
    }
};

// Tasks of one batch: neighbours of equal shape.
struct Piece {
    int first, count;
};

// `at_most(shape)`: how many pairs of that shape go together.
template <class AtMost>
std::vector<Piece> pieces_of(const ebs_task* tasks, int count, const AtMost& at_most) {
    std::vector<Piece> pieces;
    for (int first = 0, last; first < count; first = last) {
        const BatchShape shape(tasks[first]);
        const int limit = at_most(shape);
        for (last = first + 1; last < count && last - first < limit && BatchShape(tasks[last]) == shape;) ++last;
        pieces.push_back({first, last - first});
    }
    return pieces;
}

inline int modulation_words(const ebs_plan& plan) { return (plan.guide_lanes + 3) / 4; }

struct LevelArrays {
    Field source, target;
    Modulation modulation;
    Batch<uint8_t> source_mask, target_mask;
    Batch<Point> places;
    Batch<uint32_t> place_count;
};

struct Layout {
    Batch<uint32_t> source_guides, target_guides, style;  // as uploaded
    std::vector<LevelArrays> levels;
    Batch<Point> nnf[2], given;
    Batch<int64_t> energy;
    Batch<unsigned long long> total, round_total;
    Batch<uint8_t> changed, moved, dilated, awake;
    Batch<uint32_t> uses;
    Batch<unsigned long long> rows;
    Batch<float> overlap;
    Batch<float> error;
    Batch<uint16_t> vote_weights;
    Batch<uint8_t> voted;

    Layout(Arena& arena, const BatchShape& shape, const ebs_plan& plan, int pairs) {
        const bool style_given = plan.style_lanes > 0, occupied = plan.uniformity > 0;
        const size_t pixels = shape.target.pixels(), source_pixels = shape.source.pixels();
        source_guides = arena.batch<uint32_t>(source_pixels * size_t(plan.guide_lanes), pairs);
        target_guides = arena.batch<uint32_t>(pixels * size_t(plan.guide_lanes), pairs);
        style = arena.batch<uint32_t>(source_pixels * size_t(plan.style_lanes), pairs, style_given);

        Extent target = shape.target, source = shape.source;
        const int groups = (plan.guide_lanes + plan.style_lanes + 1) / 2;
        for (int l = 0; l < plan.levels; ++l, target = target.half(), source = source.half()) {
            LevelArrays level;
            level.source = field(arena, source, plan.patch_size / 2, groups, pairs);
            level.target = field(arena, target, 0, groups, pairs);
            level.modulation.size = target;
            level.modulation.words = modulation_words(plan);
            level.modulation.lanes = plan.guide_lanes;
            level.modulation.scales =
                arena.batch<uint32_t>(target.pixels() * size_t(level.modulation.words), pairs, shape.modulation);
            level.source_mask = arena.batch<uint8_t>(source.pixels(), pairs, shape.source_mask);
            level.target_mask = arena.batch<uint8_t>(target.pixels(), pairs, shape.target_mask);
            level.places = arena.batch<Point>(source.pixels(), pairs, shape.source_mask);
            level.place_count = arena.batch<uint32_t>(1, pairs, shape.source_mask);
            levels.push_back(level);
        }
        for (auto& n : nnf) n = arena.batch<Point>(pixels, pairs);
        given = arena.batch<Point>(pixels, pairs, shape.init);
        energy = arena.batch<int64_t>(pixels, pairs);
        total = arena.batch<unsigned long long>(1, pairs);
        round_total = arena.batch<unsigned long long>(1, pairs);
        const bool rests = style_given && plan.stop_threshold >= 0;
        changed = arena.batch<uint8_t>(pixels, pairs, rests);
        moved = arena.batch<uint8_t>(pixels, pairs, rests);
        dilated = arena.batch<uint8_t>(pixels, pairs, rests);
        awake = arena.batch<uint8_t>(pixels, pairs, rests);
        uses = arena.batch<uint32_t>(source_pixels, pairs, occupied);
        rows = arena.batch<unsigned long long>(source_pixels, pairs, occupied);
        overlap = arena.batch<float>(source_pixels, pairs, occupied);
        error = arena.batch<float>(pixels, pairs);
        vote_weights = arena.batch<uint16_t>(pixels, pairs, style_given && plan.vote_mode == EBS_VOTE_ERROR);
        voted = arena.batch<uint8_t>(pixels * size_t(plan.style_channels), pairs, style_given);
    }

    static size_t bytes(const BatchShape& shape, const ebs_plan& plan, int pairs) {
        Arena arena(nullptr);
        Layout(arena, shape, plan, pairs);
        return arena.used();
    }

private:
    static Field field(Arena& arena, Extent size, int pad, int groups, int pairs) {
        Field made;
        made.size = size;
        made.pad = pad;
        made.groups = groups;
        made.pixels = arena.batch<LanePair>(made.count(), pairs);
        return made;
    }
};

}  // namespace kernels
}  // namespace ebs
