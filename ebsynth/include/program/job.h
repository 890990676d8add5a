// From the command line to a search: pictures loaded and checked, weights and levels resolved.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../ebsynth.h"
#include "../picture/image_io.h"
#include "arguments.h"
#include "channels.h"

namespace ebsynth {

inline std::string size_text(const Image& image) {
    return std::to_string(image.width) + "x" + std::to_string(image.height);
}

inline void require_ok(ebs_status status) {
    if (status != EBS_OK) throw ProgramError(ebs_last_error());
}

using Frame = std::unique_ptr<ebs_frame, void (*)(ebs_frame*)>;

// Everything a search needs, loaded; the frames keep their own copies of the guides.
struct Job {
    Image style;  // without pixels if none was given
    Frame source{nullptr, ebs_frame_free};
    Frame target{nullptr, ebs_frame_free};
    int target_width = 0;
    int target_height = 0;
    std::vector<float> guide_weights;
    ebs_options options{};

    std::size_t target_pixels() const {
        return static_cast<std::size_t>(target_width) * static_cast<std::size_t>(target_height);
    }
};

namespace detail {

inline ebs_image view(const Image& image) {
    return {image.pixels.empty() ? nullptr : image.pixels.data(), image.height, image.width, image.channels, 0, 0};
}

inline Frame make_frame(const std::vector<Image>& guides) {
    std::vector<ebs_image> views;
    for (const Image& guide : guides) views.push_back(view(guide));
    ebs_frame* frame = nullptr;
    require_ok(ebs_frame_create(views.data(), static_cast<std::int32_t>(views.size()), &frame));
    return {frame, ebs_frame_free};
}

inline void require_same_size(const Image& image, const std::string& name, const Image& first,
                              const std::string& first_name) {
    if (image.width == first.width && image.height == first.height) return;
    throw ProgramError(name + " is " + size_text(image) + ", but " + first_name + " is " + size_text(first) +
                       "; they must have the same size");
}

inline void require_patch_fits(const Image& image, const std::string& name, int patch_size) {
    if (std::min(image.width, image.height) >= patch_size) return;
    throw ProgramError(name + " is " + size_text(image) + ", smaller than the patch of " + std::to_string(patch_size) +
                       "x" + std::to_string(patch_size) + "; use larger pictures or a smaller -patchsize");
}

// As many as halve the smaller side of source and target down to twice the patch and one more pixel.
inline int usable_levels(int smallest_side, int patch_size) {
    int levels = 1;
    while ((smallest_side >> levels) >= 2 * patch_size + 1) ++levels;
    return levels;
}

inline ebs_options make_options(const Arguments& arguments, int smallest_side) {
    ebs_options options;
    require_ok(ebs_options_init(&options, arguments.preset));
    options.backend = arguments.backend;
    options.patch_size = arguments.patch_size;
    const int levels = usable_levels(smallest_side, arguments.patch_size);
    options.pyramid_levels = std::min(arguments.pyramid_levels.value_or(levels), levels);
    options.search_vote_iters = arguments.search_vote_iters.value_or(options.search_vote_iters);
    options.patch_match_iters = arguments.patch_match_iters.value_or(options.patch_match_iters);
    options.stop_threshold = arguments.stop_threshold.value_or(options.stop_threshold);
    options.extra_pass_3x3 = arguments.extra_pass_3x3 ? 1 : 0;
    options.threads = arguments.threads;
    options.seed = arguments.seed;
    options.uniformity = arguments.uniformity.value_or(options.uniformity);
    options.style_weight = arguments.style_weight.value_or(options.style_weight);
    return options;
}

}  // namespace detail

inline Job load_job(const Arguments& arguments) {
    Job job;
    std::vector<Image> sources;
    std::vector<Image> targets;
    int channels = 0;
    if (!arguments.style.empty()) {
        const Image style = read_image(arguments.style);
        job.style = with_channels(style, used_channels(style));
    }
    for (const GuideFiles& guide : arguments.guides) {
        const Image source = read_image(guide.source);
        const Image target = read_image(guide.target);
        const Image& first = job.style.pixels.empty() ? (sources.empty() ? source : sources[0]) : job.style;
        const std::string& first_name = arguments.style.empty() ? arguments.guides[0].source : arguments.style;
        detail::require_same_size(source, guide.source, first, first_name);
        detail::require_same_size(target, guide.target, targets.empty() ? target : targets[0],
                                  arguments.guides[0].target);
        if (arguments.preset == EBS_GENERIC) {
            detail::require_patch_fits(source, guide.source, arguments.patch_size);
            detail::require_patch_fits(target, guide.target, arguments.patch_size);
        }
        const Channels used = used_channels(source) | used_channels(target);
        channels += used.count();
        if (channels > EBS_MAX_GUIDE_CHANNELS) {
            throw ProgramError("the guides have more than " + std::to_string(EBS_MAX_GUIDE_CHANNELS) +
                               " channels in all (" + guide.source + " brings them to " + std::to_string(channels) +
                               ")");
        }
        sources.push_back(with_channels(source, used));
        targets.push_back(with_channels(target, used));
        job.guide_weights.push_back(guide.weight.value_or(1.0f / static_cast<float>(arguments.guides.size())));
    }
    const auto shorter = [](const Image& image) { return std::min(image.width, image.height); };
    job.options = detail::make_options(arguments, std::min(shorter(sources[0]), shorter(targets[0])));
    job.target_width = targets[0].width;
    job.target_height = targets[0].height;
    job.source = detail::make_frame(sources);
    job.target = detail::make_frame(targets);
    return job;
}

inline void search(const Job& job, const ebs_result& result) {
    ebs_pair pair{};
    pair.source = job.source.get();
    pair.target = job.target.get();
    pair.style = detail::view(job.style);
    ebs_options options = job.options;
    options.guide_weights = job.guide_weights.data();
    options.guide_weight_count = static_cast<std::int32_t>(job.guide_weights.size());
    require_ok(ebs_estimate(&pair, &result, 1, &options));
}

}  // namespace ebsynth
