// A call of the library on pairs of a moving scene.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "ebsynth.h"
#include "moving_scene.h"

namespace ebs_test {

inline void require(ebs_status status) {
    if (status == EBS_OK) return;
    std::printf("FAILED %s\n", ebs_last_error());
    std::exit(1);
}

inline ebs_image view(const Picture& p) { return {p.rgb.data(), p.height, p.width, 3, 0, 0}; }

struct Call {
    int height, width;
    std::vector<Picture> sources, targets, styles;
    std::vector<ebs_frame*> frames;
    std::vector<ebs_pair> pairs;
    std::vector<std::vector<int16_t>> nnfs;
    std::vector<std::vector<float>> errors;
    std::vector<std::vector<uint8_t>> voted;
    std::vector<ebs_result> results;
    ebs_options options;

    Call(int height, int width, int count, int preset, int patch, uint32_t seed) : height(height), width(width) {
        require(ebs_options_init(&options, preset));
        options.patch_size = patch;
        options.seed = seed;
        const size_t pixels = size_t(height) * width;
        for (int i = 0; i < count; ++i) {
            const MovingScene scene(height, width, seed + 31u * unsigned(i));
            sources.push_back(scene.frame(0)), targets.push_back(scene.frame(2));
            styles.push_back(MovingScene::painted(sources.back()));
            nnfs.emplace_back(2 * pixels), errors.emplace_back(pixels), voted.emplace_back(3 * pixels);
        }
        for (int i = 0; i < count; ++i) {
            ebs_pair pair{};
            pair.source = frame(sources[size_t(i)]), pair.target = frame(targets[size_t(i)]);
            pair.style = view(styles[size_t(i)]);
            pairs.push_back(pair);
            results.push_back({nnfs[size_t(i)].data(), errors[size_t(i)].data(), voted[size_t(i)].data()});
        }
    }
    ~Call() {
        for (ebs_frame* f : frames) ebs_frame_free(f);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    void run(ebs_backend_choice backend) {
        options.backend = backend;
        require(ebs_estimate(pairs.data(), results.data(), int32_t(pairs.size()), &options));
    }

    // Mean over all pixels and pairs, of guides and style.
    double energy() const {
        double sum = 0;
        for (const auto& error : errors) sum = std::accumulate(error.begin(), error.end(), sum);
        return sum / (double(errors.size()) * height * width);
    }

private:
    ebs_frame* frame(const Picture& picture) {
        const ebs_image image = view(picture);
        ebs_frame* made = nullptr;
        require(ebs_frame_create(&image, 1, &made));
        frames.push_back(made);
        return made;
    }
};

}  // namespace ebs_test
