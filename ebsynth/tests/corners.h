// What the library's corners are made of: pictures in blocks of exactly their size, answers, and a first surprise that ends
// the run.

#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#include "ebsynth.h"

namespace {

int runs = 0;

[[noreturn]] void fail(const std::string& text) {
    std::fprintf(stderr, "error: %s (%s)\n", text.c_str(), ebs_last_error());
    std::exit(1);
}

void expect(bool condition, const std::string& text) {
    if (!condition) fail(text);
}

uint32_t next_random() {
    static thread_local uint32_t state = 1;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

// Pixels in a block that ends with the last pixel's last channel.
struct Picture {
    std::unique_ptr<uint8_t[]> bytes;
    ebs_image view{};

    Picture(int height, int width, int channels, int gap = 0, int row_gap = 0, int value = -1) {
        const size_t step = size_t(channels + gap), pitch = step * width + row_gap;
        const size_t size = pitch * (height - 1) + step * (width - 1) + channels;
        bytes.reset(new uint8_t[size]);
        for (size_t i = 0; i < size; ++i) bytes[i] = uint8_t(value < 0 ? next_random() : uint32_t(value));
        view = {bytes.get(), height, width, channels, ptrdiff_t(pitch), ptrdiff_t(step)};
        if (!gap && !row_gap) view.row_stride = view.pixel_stride = 0;
    }

    // The same pixels from the last to the first.
    ebs_image mirrored() const {
        ebs_image image = view;
        const ptrdiff_t step = image.pixel_stride ? image.pixel_stride : image.channels;
        const ptrdiff_t pitch = image.row_stride ? image.row_stride : step * image.width;
        image.data += pitch * (image.height - 1) + step * (image.width - 1);
        image.row_stride = -pitch;
        image.pixel_stride = -step;
        return image;
    }
};

using FrameOwner = std::unique_ptr<ebs_frame, decltype(&ebs_frame_free)>;

FrameOwner frame_of(const std::vector<ebs_image>& guides) {
    ebs_frame* frame = nullptr;
    expect(ebs_frame_create(guides.data(), int32_t(guides.size()), &frame) == EBS_OK, "a frame was refused");
    return {frame, ebs_frame_free};
}

ebs_options options_of(int preset, int patch) {
    ebs_options options;
    expect(ebs_options_init(&options, preset) == EBS_OK, "the options were refused");
    options.patch_size = patch;
    options.threads = 1;
    return options;
}

struct Answer {
    std::vector<int16_t> nnf;
    std::vector<float> error;
    std::vector<uint8_t> voted;

    Answer(int height, int width, int style_channels)
        : nnf(size_t(height) * width * 2), error(size_t(height) * width), voted(size_t(height) * width * style_channels) {}

    ebs_result view() { return {nnf.data(), error.data(), voted.empty() ? nullptr : voted.data()}; }

    bool operator==(const Answer& other) const {
        return nnf == other.nnf && voted == other.voted && error == other.error;
    }
};

void check_answer(const Answer& answer, int source_height, int source_width, const std::string& name) {
    for (size_t i = 0; i < answer.error.size(); ++i) {
        const int y = answer.nnf[2 * i], x = answer.nnf[2 * i + 1];
        expect(y >= 0 && x >= 0 && y < source_height && x < source_width, name + ": a match outside of the source");
        expect(std::isfinite(answer.error[i]) && answer.error[i] >= 0, name + ": an error that is no energy");
    }
}

}  // namespace
