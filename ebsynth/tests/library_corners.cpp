// The library's corners, for a run under the sanitizers: sizes from one pixel up, every patch and channel count at its
// limits, views with strides of all kinds, refused arguments, cancelled and concurrent searches.
//
// Every buffer is a heap block of exactly its size, so that one byte too far is seen. Prints the number of searches and
// votes that ran; the first surprise ends it with status 1.

#include "corners.h"
#include "corners_refusals.h"

namespace {

// --- Sizes, patches and channels

void search(int preset, int patch, int height, int width, int source_height, int source_width, int guides, int style) {
    const std::string name = "patch " + std::to_string(patch) + ", " + std::to_string(width) + "x" +
                             std::to_string(height) + " from " + std::to_string(source_width) + "x" +
                             std::to_string(source_height) + ", channels " + std::to_string(guides) + " and " +
                             std::to_string(style);
    const Picture source(source_height, source_width, guides), target(height, width, guides, 1, 3);
    const Picture styles(source_height, source_width, style ? style : 1, 2, 1);
    const FrameOwner from = frame_of({source.mirrored()}), to = frame_of({target.view});
    ebs_pair pair{};
    pair.source = from.get();
    pair.target = to.get();
    if (style) pair.style = styles.mirrored();
    ebs_options options = options_of(preset, patch);
    options.search_vote_iters = 2;
    options.patch_match_iters = 1;
    options.pyramid_levels = 2;
    options.extra_pass_3x3 = patch % 4 == 1;
    options.vote_mode = guides % 2 ? EBS_VOTE_ERROR : EBS_VOTE_MEAN;
    Answer answer(height, width, style);
    const ebs_result result = answer.view();
    expect(ebs_estimate(&pair, &result, 1, &options) == EBS_OK, name + " was refused");
    check_answer(answer, source_height, source_width, name);
    ++runs;

    const Picture image(source_height, source_width, style ? style : 1);
    std::vector<uint8_t> voted(size_t(height) * width * image.view.channels);
    for (const float* error : {static_cast<const float*>(nullptr), static_cast<const float*>(answer.error.data())}) {
        expect(ebs_vote(answer.nnf.data(), height, width, &image.view, patch, error, 1, voted.data()) == EBS_OK,
               name + ": its vote was refused");
        ++runs;
    }
}

void search_all_sizes() {
    const int sides[][2] = {{1, 1}, {1, 7}, {9, 1}, {2, 3}, {13, 11}, {23, 16}};
    const int channels[][2] = {{1, 0}, {3, 3}, {4, 1}, {5, 0}, {9, 4}, {24, 8}, {24, 0}, {16, 5}};
    int turn = 0;
    for (int patch : {3, 5, 7, 9, 11, 21, 33})
        for (const auto& target : sides) {
            const auto& source = sides[turn * 5 % 6];
            const auto& both = channels[turn++ % 8];
            search(EBS_VIDEO, patch, target[0], target[1], source[0], source[1], both[0], both[1]);
        }
    for (int patch : {3, 5, 11, 33})
        for (const auto& both : channels) {
            search(EBS_GENERIC, patch, 3, 21, patch, patch, both[0], both[1]);
            search(EBS_GENERIC, patch, 22, 2, patch + 1, patch + 9, both[0], both[1]);
        }
}

// --- Maps, starts and the largest sums

void search_with_everything() {
    for (int patch : {3, 11})
        for (int value : {-1, 0, 255})
            for (int preset : {EBS_VIDEO, EBS_GENERIC}) {
                const int height = patch + 12, width = 2 * patch + 2;
                std::vector<Picture> sources, targets, maps;
                std::vector<ebs_image> from_images, to_images, map_images;
                for (int i = 0; i < 24; ++i) {
                    sources.emplace_back(height, width, 1, 0, 0, value);
                    targets.emplace_back(height, width, 1, 0, 0, value < 0 ? -1 : 255 - value);
                    maps.emplace_back(height, width, 1, 0, 0, value < 0 ? -1 : 255);
                    from_images.push_back(sources.back().view);
                    to_images.push_back(targets.back().view);
                    map_images.push_back(i % 5 == 4 ? ebs_image{} : maps.back().view);
                }
                const Picture style(height, width, 8), source_mask(height, width, 1), target_mask(height, width, 1);
                const FrameOwner from = frame_of(from_images), to = frame_of(to_images);
                std::vector<int16_t> start(size_t(height) * width * 2);
                for (size_t i = 0; i < start.size(); ++i) start[i] = int16_t(next_random() % uint32_t(i % 2 ? width : height));
                ebs_pair pair{};
                pair.source = from.get();
                pair.target = to.get();
                pair.style = style.view;
                ebs_options options = options_of(preset, patch);
                options.uniformity = preset == EBS_GENERIC ? std::numeric_limits<float>::max() : 0;
                options.search_vote_iters = 2;
                options.patch_match_iters = 1;
                options.trace = 1;
                options.extra_pass_3x3 = 1;
                for (int masked = 0; masked < 3; ++masked) {
                    if (masked == 1) pair.source_mask = source_mask.view, pair.target_mask = target_mask.view;
                    if (masked == 2) pair.modulation = map_images.data(), pair.init_nnf_yx = start.data();
                    Answer answer(height, width, 8);
                    const ebs_result result = answer.view();
                    expect(ebs_estimate(&pair, &result, 1, &options) == EBS_OK, "a search with maps was refused");
                    check_answer(answer, height, width, "a search with maps");
                    ++runs;
                }
            }
}

void fill_only_what_is_asked_for() {
    const Picture image(20, 21, 3);
    const FrameOwner frame = frame_of({image.view});
    ebs_pair pair{};
    pair.source = pair.target = frame.get();
    pair.style = image.view;
    ebs_options options = options_of(EBS_VIDEO, 5);
    Answer whole(20, 21, 3);
    for (int mode : {EBS_VOTE_MEAN, EBS_VOTE_ERROR})
        for (int wanted = 0; wanted < 8; ++wanted) {
            options.vote_mode = mode;
            const ebs_result result{wanted & 1 ? whole.nnf.data() : nullptr, wanted & 2 ? whole.error.data() : nullptr,
                                    wanted & 4 ? whole.voted.data() : nullptr};
            expect(ebs_estimate(&pair, &result, 1, &options) == EBS_OK, "a partial result was refused");
            ++runs;
        }
    expect(std::memcmp(whole.voted.data(), image.bytes.get(), whole.voted.size()) == 0, "a frame is not its own copy");
    expect(ebs_estimate(nullptr, nullptr, 0, &options) == EBS_OK, "no pairs at all were refused");
    ebs_frame_size(frame.get(), nullptr, nullptr, nullptr, nullptr);
    ebs_frame_free(nullptr);
}

// Errors are the caller's: whatever they hold, the weights made of them must be numbers.
void vote_with_odd_errors() {
    const Picture image(6, 7, 4);
    std::vector<int16_t> nnf(6 * 7 * 2);
    std::vector<uint8_t> voted(6 * 7 * 4);
    const float limit = std::numeric_limits<float>::max(), infinite = std::numeric_limits<float>::infinity();
    for (float odd : {0.0f, -0.0f, limit, std::numeric_limits<float>::denorm_min(), infinite, -infinite, -limit, -1.0f,
                      std::nanf("")})
        for (float others : {0.0f, 1.0f, limit, odd}) {
            std::vector<float> error(6 * 7, others);
            error[9] = odd;
            const ebs_status status = ebs_vote(nnf.data(), 6, 7, &image.view, 3, error.data(), 1, voted.data());
            expect(status == EBS_OK || status == EBS_BAD_ARGUMENT, "an odd error is no argument to complain about");
            ++runs;
        }
    // A mean that is barely more than minus one of the errors makes a quotient of millions.
    std::vector<float> error(6 * 7);
    error[9] = -1.0f;
    error[10] = 43.001f;
    ebs_vote(nnf.data(), 6, 7, &image.view, 3, error.data(), 1, voted.data());
}

// --- Threads

void cancel() {
    const Picture first(40, 23, 3), second(40, 23, 3);
    const FrameOwner from = frame_of({first.view}), to = frame_of({second.view});
    for (int threads : {1, 3})
        for (int after : {0, 1, 5, 9}) {
            std::vector<ebs_pair> pairs(4);
            std::vector<Answer> answers(4, Answer(40, 23, 0));
            std::vector<ebs_result> results;
            for (int i = 0; i < 4; ++i) {
                pairs[i].source = from.get();
                pairs[i].target = to.get();
                results.push_back(answers[i].view());
            }
            ebs_options options = options_of(EBS_VIDEO, 5);
            options.threads = threads;
            int left = after;
            options.progress_user = &left;
            options.progress = [](void* user, const ebs_progress* state) -> int {
                expect(state->fraction > 0 && state->fraction <= 1, "progress outside of 0 to 1");
                expect(std::isnan(state->energy), "an energy that nobody asked for");
                return --*static_cast<int*>(user) < 0;
            };
            expect(ebs_estimate(pairs.data(), results.data(), 4, &options) == EBS_CANCELLED, "a search went on");
            ++runs;
        }
}

// Many callers, each with threads of its own, share two frames.
void search_at_once() {
    const Picture first(70, 20, 3), second(70, 20, 3), style(70, 20, 3);
    const FrameOwner from = frame_of({first.view}), to = frame_of({second.view});
    std::vector<Answer> answers(6, Answer(70, 20, 3));
    const auto caller = [&](int number) {
        ebs_pair pair{};
        pair.source = from.get();
        pair.target = to.get();
        pair.style = style.view;
        ebs_options options = options_of(number % 2 ? EBS_GENERIC : EBS_VIDEO, 5);
        options.threads = 1 + number / 2;
        const ebs_result result = answers[number].view();
        expect(ebs_estimate(&pair, &result, 1, &options) == EBS_OK, "a concurrent search was refused");
        options.patch_size = 2;
        expect(ebs_estimate(&pair, &result, 1, &options) == EBS_BAD_ARGUMENT, "an even patch was taken");
        expect(std::strstr(ebs_last_error(), "patch size is 2"), "another thread's error");
    };
    std::vector<std::thread> callers;
    for (int i = 0; i < 6; ++i) callers.emplace_back(caller, i);
    for (auto& thread : callers) thread.join();
    runs += 6;
    for (int i = 2; i < 6; ++i) expect(answers[i] == answers[i % 2], "the number of threads changed a result");
}

}  // namespace

int main() {
    expect(ebs_api_version() == EBS_API_VERSION, "the library is of another version than its header");
    expect(ebs_isa() != nullptr, "no instruction set");
    search_all_sizes();
    search_with_everything();
    fill_only_what_is_asked_for();
    vote_with_odd_errors();
    refuse_frames();
    refuse_searches();
    refuse_votes();
    cancel();
    search_at_once();
    std::printf("%d runs\n", runs);
}
