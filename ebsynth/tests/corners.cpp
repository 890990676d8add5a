// Walks the library's corners for the sanitizers: odd sizes, every patch size, masks, many channels, cancelling, bad input.
// `cmake -S ebsynth -B build/sanitize -DEBSYNTH_SANITIZE=ON && cmake --build build/sanitize --target ebsynth_corners`
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "ebsynth.h"

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
    if (condition) return;
    ++failures;
    std::printf("failed: %s (%s)\n", what, ebs_last_error());
}

struct Picture {
    Picture(int height, int width, int channels, unsigned seed) : pixels(size_t(height) * width * channels) {
        for (auto& v : pixels) v = uint8_t((seed = seed * 1664525u + 1013904223u) >> 24);
        view = {pixels.data(), height, width, channels, 0, 0};
    }
    std::vector<uint8_t> pixels;
    ebs_image view;
};

void search(int height, int width, int rows, int columns, int patch, int preset, int channels, bool style, bool extras) {
    const Picture source(rows, columns, channels, 1), target(height, width, channels, 2);
    const Picture paint(rows, columns, 1 + patch % 8, 3), allowed(rows, columns, 1, 4), map(height, width, 1, 5);
    ebs_frame *from = nullptr, *to = nullptr;
    expect(ebs_frame_create(&source.view, 1, &from) == EBS_OK, "source frame");
    expect(ebs_frame_create(&target.view, 1, &to) == EBS_OK, "target frame");
    std::vector<int16_t> nnf(size_t(height) * width * 2);
    std::vector<float> error(size_t(height) * width);
    std::vector<uint8_t> voted(size_t(height) * width * paint.view.channels);
    ebs_options options;
    ebs_options_init(&options, preset);
    options.patch_size = patch;
    options.threads = 1 + patch % 3;
    options.search_vote_iters = options.patch_match_iters = 2;
    options.extra_pass_3x3 = extras;
    options.vote_mode = extras ? EBS_VOTE_ERROR : EBS_VOTE_MEAN;
    options.uniformity = extras ? 3500.0f : -1.0f;
    ebs_pair pair{};
    pair.source = from;
    pair.target = to;
    if (style) pair.style = paint.view;
    if (extras) {
        pair.target_mask = map.view;
        pair.modulation = &map.view;
    }
    const ebs_result result{nnf.data(), error.data(), style ? voted.data() : nullptr};
    const bool fits = preset == EBS_VIDEO || (rows >= patch && columns >= patch);
    const ebs_status status = ebs_estimate(&pair, &result, 1, &options);
    expect(status == (fits ? EBS_OK : EBS_BAD_ARGUMENT), "search");
    if (status == EBS_OK) {
        const std::vector<int16_t> start = nnf;
        pair.init_nnf_yx = start.data();
        expect(ebs_estimate(&pair, &result, 1, &options) == EBS_OK, "search from a start");
        std::vector<uint8_t> painted(size_t(height) * width * paint.view.channels);
        expect(ebs_vote(nnf.data(), height, width, &paint.view, patch, error.data(), 2, painted.data()) == EBS_OK, "vote");
    }
    ebs_frame_free(from);
    ebs_frame_free(to);
}

}  // namespace

int main() {
    const int sizes[][4] = {{1, 1, 1, 1}, {1, 20, 1, 17}, {20, 1, 3, 25}, {19, 23, 29, 21}, {36, 41, 35, 34}};
    for (const auto& s : sizes)
        for (int patch : {3, 5, 7, 11, 21, 33})
            for (int preset : {EBS_GENERIC, EBS_VIDEO})
                search(s[0], s[1], s[2], s[3], patch, preset, 1 + (patch * 7) % 24, patch % 4 == 1, patch == 3 || patch == 7);
    ebs_options options;
    expect(ebs_options_init(&options, 7) == EBS_BAD_ARGUMENT, "unknown preset");
    ebs_options_init(&options, EBS_VIDEO);
    expect(ebs_estimate(nullptr, nullptr, 1, &options) == EBS_BAD_ARGUMENT, "no pairs");
    expect(ebs_estimate(nullptr, nullptr, 0, &options) == EBS_OK, "nothing to do");
    options.struct_size = 4;
    expect(ebs_estimate(nullptr, nullptr, 0, &options) == EBS_BAD_ARGUMENT, "another version");
    const Picture image(20, 20, 3, 1);
    ebs_frame* frame = nullptr;
    expect(ebs_frame_create(&image.view, 1, &frame) == EBS_OK, "frame");
    ebs_options_init(&options, EBS_VIDEO);
    options.progress = [](void*, const ebs_progress*) { return 1; };
    std::vector<int16_t> nnf(800);
    ebs_pair pair{};
    pair.source = pair.target = frame;
    const ebs_result result{nnf.data(), nullptr, nullptr};
    expect(ebs_estimate(&pair, &result, 1, &options) == EBS_CANCELLED, "cancel");
    nnf[5] = 20;
    std::vector<uint8_t> out(1200);
    expect(ebs_vote(nnf.data(), 20, 20, &image.view, 5, nullptr, 1, out.data()) == EBS_BAD_ARGUMENT, "outside");
    ebs_frame_free(frame);
    std::printf("%s\n", failures ? "corners: failed" : "corners: fine");
    return failures != 0;
}
