// Arguments that the library refuses, each with its status and a word of why.

#pragma once

#include "corners.h"

namespace {


void refuse(ebs_status status, const char* what) {
    expect(status == EBS_BAD_ARGUMENT, std::string(what) + " was not refused");
    const std::string text = ebs_last_error();
    expect(!text.empty() && text.find('\n') == std::string::npos, std::string(what) + " was refused without one line");
}

void refuse_frames() {
    const Picture image(9, 9, 3), other(9, 8, 3);
    ebs_frame* frame = nullptr;
    refuse(ebs_frame_create(nullptr, 1, &frame), "no guides");
    refuse(ebs_frame_create(&image.view, 0, &frame), "zero guides");
    refuse(ebs_frame_create(&image.view, -1, &frame), "less than zero guides");
    refuse(ebs_frame_create(&image.view, 1, nullptr), "no place for the frame");
    const ebs_image both[] = {image.view, other.view};
    refuse(ebs_frame_create(both, 2, &frame), "guides of two sizes");
    for (int height : {0, -1, 32768, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()})
        for (int channels : {3, 0, -1, 25, std::numeric_limits<int>::max()}) {
            ebs_image wrong = image.view;
            wrong.height = height;
            wrong.channels = channels;
            refuse(ebs_frame_create(&wrong, 1, &frame), "a guide of no possible size");
            std::swap(wrong.height, wrong.width);
            refuse(ebs_frame_create(&wrong, 1, &frame), "a guide of no possible size");
        }
    ebs_image missing = image.view;
    missing.data = nullptr;
    refuse(ebs_frame_create(&missing, 1, &frame), "a guide without pixels");
    expect(frame == nullptr, "a refused frame was handed out");
    ebs_options options;
    refuse(ebs_options_init(nullptr, EBS_VIDEO), "no options");
    refuse(ebs_options_init(&options, 2), "an unknown preset");
    refuse(ebs_options_init(&options, -1), "an unknown preset");
}

template <class Change>
void refuse_search(const char* what, const Change& change) {
    static const Picture image(12, 13, 3), style(12, 13, 3);
    static const FrameOwner frame = frame_of({image.view});
    ebs_pair pair{};
    pair.source = pair.target = frame.get();
    pair.style = style.view;
    ebs_options options = options_of(EBS_VIDEO, 5);
    Answer answer(12, 13, 3);
    ebs_result result = answer.view();
    change(pair, result, options);
    refuse(ebs_estimate(&pair, &result, 1, &options), what);
}

void refuse_searches() {
    const float nan = std::nanf(""), infinite = std::numeric_limits<float>::infinity();
    const int least = std::numeric_limits<int>::min(), most = std::numeric_limits<int>::max();
    for (int value : {least, -1, 0, 1, 2, 4, 34, 35, most})
        refuse_search("a patch size", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.patch_size = value; });
    for (int value : {least, -1, 4097, most})
        refuse_search("a number of threads", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.threads = value; });
    for (int value : {least, -1})
        refuse_search("a number of levels", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.pyramid_levels = value; });
    for (int value : {least, -1, 1001, most}) {
        refuse_search("rounds", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.search_vote_iters = value; });
        refuse_search("sweeps", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.patch_match_iters = value; });
    }
    for (float value : {nan, infinite, -infinite, -1.0f}) {
        refuse_search("a uniformity", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.uniformity = value; });
        refuse_search("a style weight", [&](ebs_pair&, ebs_result&, ebs_options& o) { o.style_weight = value; });
        refuse_search("a weight", [&](ebs_pair&, ebs_result&, ebs_options& o) {
            o.guide_weights = &value;
            o.guide_weight_count = 1;
        });
    }
    refuse_search("a preset", [](ebs_pair&, ebs_result&, ebs_options& o) { o.preset = 7; });
    refuse_search("another header", [](ebs_pair&, ebs_result&, ebs_options& o) { o.struct_size -= 4; });
    refuse_search("weights without a count", [](ebs_pair&, ebs_result&, ebs_options& o) { o.guide_weight_count = 1; });
    refuse_search("no source", [](ebs_pair& p, ebs_result&, ebs_options&) { p.source = nullptr; });
    refuse_search("no target", [](ebs_pair& p, ebs_result&, ebs_options&) { p.target = nullptr; });
    refuse_search("no style to vote", [](ebs_pair& p, ebs_result&, ebs_options&) { p.style = {}; });
    refuse_search("a style's size", [](ebs_pair& p, ebs_result&, ebs_options&) { p.style.height = 11; });
    refuse_search("a style's channels", [](ebs_pair& p, ebs_result&, ebs_options&) { p.style.channels = 9; });
    refuse_search("a mask in colour", [](ebs_pair& p, ebs_result&, ebs_options&) { p.source_mask = p.style; });
    refuse_search("a mask's size", [](ebs_pair& p, ebs_result&, ebs_options&) {
        p.target_mask = p.style;
        p.target_mask.channels = 1;
        p.target_mask.width = 4;
    });
    refuse_search("a source smaller than the patch", [](ebs_pair&, ebs_result&, ebs_options& o) {
        o.preset = EBS_GENERIC;
        o.patch_size = 13;
    });
    const Picture closed(12, 13, 1, 0, 0, 0);
    refuse_search("a mask that leaves nothing", [&](ebs_pair& p, ebs_result&, ebs_options&) { p.source_mask = closed.view; });
    for (int16_t value : {int16_t(-1), int16_t(12), int16_t(32767), int16_t(-32768)})
        for (size_t place : {size_t(0), size_t(12 * 13 * 2 - 2)}) {
            std::vector<int16_t> start(12 * 13 * 2);
            start[place] = value;
            refuse_search("a start", [&](ebs_pair& p, ebs_result&, ebs_options&) { p.init_nnf_yx = start.data(); });
        }
    ebs_options options = options_of(EBS_VIDEO, 5);
    refuse(ebs_estimate(nullptr, nullptr, 1, &options), "missing pairs");
    refuse(ebs_estimate(nullptr, nullptr, -1, &options), "less than no pairs");
    refuse(ebs_estimate(nullptr, nullptr, 0, nullptr), "missing options");
}

void refuse_votes() {
    const Picture image(5, 6, 3);
    std::vector<int16_t> nnf(5 * 6 * 2);
    std::vector<uint8_t> voted(5 * 6 * 3);
    const auto vote = [&](int height, int width, const ebs_image* from, int patch) {
        return ebs_vote(nnf.data(), height, width, from, patch, nullptr, 1, voted.data());
    };
    for (int patch : {-3, 0, 2, 34, 35, std::numeric_limits<int>::min()}) refuse(vote(5, 6, &image.view, patch), "a patch");
    for (int side : {0, -1, 32768, std::numeric_limits<int>::max()}) {
        refuse(vote(side, 6, &image.view, 5), "a height");
        refuse(vote(5, side, &image.view, 5), "a width");
    }
    refuse(vote(5, 6, nullptr, 5), "no image");
    refuse(ebs_vote(nullptr, 5, 6, &image.view, 5, nullptr, 1, voted.data()), "no NNF");
    refuse(ebs_vote(nnf.data(), 5, 6, &image.view, 5, nullptr, 1, nullptr), "no place for the vote");
    for (int16_t value : {int16_t(-1), int16_t(5), int16_t(32767)}) {
        nnf.front() = value;
        refuse(vote(5, 6, &image.view, 5), "an NNF that leaves the image");
    }
}

}  // namespace
