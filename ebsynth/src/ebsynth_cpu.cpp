// The C interface: checks, dispatch to a backend, and the CPU's search.

#include <dlfcn.h>

#include <cstdio>
#include <new>

#include "core/estimate.h"

extern "C" const ebs_backend* ebs_cuda_backend(void) __attribute__((weak));

namespace ebs {
namespace {

thread_local std::string last_error;

template <class Body>
ebs_status guarded(const Body& body) {
    try {
        body();
        return EBS_OK;
    } catch (const Failure& failure) {
        last_error = failure.what();
        return failure.status;
    } catch (const std::bad_alloc&) {
        last_error = "out of memory.";
        return EBS_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        last_error = error.what();
        return EBS_INTERNAL;
    }
}

struct Cuda {
    const ebs_backend* backend = nullptr;  // null: of no use, and why
    std::string obstacle;
};

// Linked into the program, or in a shared object beside the one that holds this function.
const ebs_backend* load_cuda(std::string& obstacle) {
    if (ebs_cuda_backend) return ebs_cuda_backend();
    Dl_info here;
    if (!dladdr(reinterpret_cast<const void*>(&ebs_api_version), &here) || !here.dli_fname) return nullptr;
    std::string path = here.dli_fname;
    const size_t slash = path.rfind('/');
    path = (slash == std::string::npos ? std::string("./") : path.substr(0, slash + 1)) + "libebsynth_cuda.so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        obstacle = "the engine was built without CUDA; rebuild it with nvcc on the PATH, or use the CPU.";
        return nullptr;
    }
    using Entry = const ebs_backend* (*)(void);
    Entry entry = reinterpret_cast<Entry>(dlsym(library, "ebs_cuda_backend"));
    return entry ? entry() : nullptr;
}

const Cuda& cuda() {
    static const Cuda found = [] {
        Cuda it;
        it.obstacle = "the CUDA backend belongs to another version of the engine; rebuild it, or use the CPU.";
        const ebs_backend* backend = load_cuda(it.obstacle);
        if (!backend || backend->version != EBS_BACKEND_VERSION) return it;
        char message[512] = "it sees no device.";
        if (backend->device_count(message, sizeof message) > 0)
            it.backend = backend;
        else
            it.obstacle = message;
        return it;
    }();
    return found;
}

void check_image(const ebs_image& image, const std::string& name, int max_channels) {
    require(image.data != nullptr, name + " has no pixels.");
    require(image.height >= 1 && image.width >= 1 && image.height <= EBS_MAX_SIDE && image.width <= EBS_MAX_SIDE,
            name + " is " + text_of({image.height, image.width}) + "; sides may be 1 to 32767.");
    require(image.channels >= 1 && image.channels <= max_channels,
            name + " has " + std::to_string(image.channels) + " channels; allowed are 1 to " +
                std::to_string(max_channels) + ".");
}

// Counts sweeps, weighted by pixels, over all pairs, and calls the caller's function for one thread at a time.
class Progress {
public:
    Progress(const ebs_options& options, double total) : options_(options), total_(total) {}

    bool operator()(int pair, int level, int round, int sweep, size_t pixels, double energy) {
        if (!options_.progress) return true;
        std::lock_guard<std::mutex> lock(mutex_);
        done_ += double(pixels);
        const ebs_progress state{std::min(1.0, done_ / total_), pair, level, round, sweep, energy};
        if (options_.progress(options_.progress_user, &state) != 0) cancelled_ = true;
        return !cancelled_;
    }

private:
    const ebs_options& options_;
    const double total_;
    std::mutex mutex_;
    double done_ = 0;
    bool cancelled_ = false;
};

double work_of(const ebs_plan& plan, const ebs_pair& pair) {
    double work = 0;
    for (int l = 0; l < plan.levels; ++l) {
        const double sweeps = double(plan.level[l].rounds) * plan.level[l].sweeps;
        work += sweeps * double(pair.target->levels[size_t(l)].size.pixels());
        if (l == 0 && plan.extra_pass_3x3) work *= 2;
    }
    return work;
}

void estimate_on_cpu(const ebs_pair* pairs, const ebs_result* results, const std::vector<ebs_plan>& plans,
                     const ebs_options& options) {
    const Isa isa = choose_isa();
    const int count = int(plans.size()), threads = options.threads ? options.threads : usable_cores();
    double total = 0;
    for (int i = 0; i < count; ++i) total += work_of(plans[size_t(i)], pairs[i]);
    Progress progress(options, total);
    const auto run = [&](int i, Pool& pool) {
        const auto report = [&, i](int level, int round, int sweep, size_t pixels, double energy) {
            return progress(i, level, round, sweep, pixels, energy);
        };
        PairSearch(pairs[i], plans[size_t(i)], !options.disable_bound, options.trace != 0, isa, pool, report)
            .run(results[i]);
    };
    // Whole pairs side by side share nothing; the rest of them share the threads band by band.
    Pool pool(threads);
    const int side_by_side = threads > 1 ? count - count % threads : 0;
    pool.run(side_by_side, [&](int i, int) {
        Pool alone(1);
        run(i, alone);
    });
    for (int i = side_by_side; i < count; ++i) run(i, pool);
}

// One pair as a backend sees it, with the copies that this takes.
struct TaskOf {
    Lanes style, modulation;
    std::vector<Mask> source_mask, target_mask;
    ebs_task task;

    TaskOf(const ebs_pair& pair, const ebs_result& result, const ebs_plan& plan) {
        const Lanes &source = pair.source->levels[0], &target = pair.target->levels[0];
        if (pair.style.data) {
            style = Lanes(source.size, plan.style_lanes);
            pack(pair.style, 0, style);
        }
        if (pair.modulation) modulation = modulation_lanes(pair, plan.guide_lanes);
        source_mask = mask_pyramid(pair.source_mask, source.size, 1);
        target_mask = mask_pyramid(pair.target_mask, target.size, 1);
        const auto bytes_of = [](const std::vector<uint8_t>& bytes) { return bytes.empty() ? nullptr : bytes.data(); };
        task = {target.size.height,      target.size.width,        source.size.height,    source.size.width,
                source.bytes.data(),     target.bytes.data(),      bytes_of(style.bytes), pair.init_nnf_yx,
                bytes_of(source_mask[0]), bytes_of(target_mask[0]), bytes_of(modulation.bytes), result};
    }
    TaskOf(const TaskOf&) = delete;  // the task points into this
    TaskOf& operator=(const TaskOf&) = delete;
};

// Fits what a backend reports of some of the pairs into the whole call.
struct PartProgress {
    const ebs_options& options;
    size_t first, count, all;

    static int tell(void* self, const ebs_progress* state) {
        const auto& part = *static_cast<const PartProgress*>(self);
        ebs_progress whole = *state;
        whole.pair += int32_t(part.first);
        whole.fraction = (double(part.first) + state->fraction * double(part.count)) / double(part.all);
        return part.options.progress(part.options.progress_user, &whole);
    }
};

void estimate_on_cuda(const ebs_backend& backend, const ebs_pair* pairs, const ebs_result* results,
                      const std::vector<ebs_plan>& plans, const ebs_options& options) {
    // Tasks of one plan go together; plans differ where sizes or channels do.
    Pool pool(options.threads ? options.threads : usable_cores());
    const auto same = [](const ebs_plan& a, const ebs_plan& b) { return std::memcmp(&a, &b, sizeof a) == 0; };
    for (size_t first = 0, last; first < plans.size(); first = last) {
        for (last = first + 1; last < plans.size() && same(plans[first], plans[last]);) ++last;
        std::vector<std::unique_ptr<TaskOf>> owners(last - first);
        std::vector<ebs_task> tasks(last - first);
        pool.run(int(last - first), [&](int k, int) {
            const size_t i = first + size_t(k);
            owners[size_t(k)] = std::make_unique<TaskOf>(pairs[i], results[i], plans[i]);
            tasks[size_t(k)] = owners[size_t(k)]->task;
        });
        PartProgress part{options, first, last - first, plans.size()};
        char message[512] = "the CUDA backend failed.";
        const ebs_status status = backend.estimate(tasks.data(), int32_t(tasks.size()), &plans[first],
                                                   options.progress ? PartProgress::tell : nullptr, &part, message,
                                                   sizeof message);
        if (status != EBS_OK) throw Failure(status, message);
    }
}

}  // namespace
}  // namespace ebs

using namespace ebs;

extern "C" {

int32_t ebs_api_version(void) { return EBS_API_VERSION; }

const char* ebs_last_error(void) { return last_error.c_str(); }

const char* ebs_isa(void) {
    const char* name = nullptr;
    guarded([&] { name = isa_name(choose_isa()); });
    return name;
}

int32_t ebs_cuda_available(void) { return cuda().backend != nullptr; }

ebs_status ebs_frame_create(const ebs_image* guides, int32_t count, ebs_frame** frame) {
    return guarded([&] {
        require(guides && frame && count >= 1, "a frame needs at least one guide image.");
        auto made = std::make_unique<ebs_frame>();
        int channels = 0, lanes = 0;
        for (int i = 0; i < count; ++i) {
            const ebs_image& guide = guides[i];
            check_image(guide, "guide " + std::to_string(i + 1), EBS_MAX_GUIDE_CHANNELS);
            const Size first{guides[0].height, guides[0].width}, size{guide.height, guide.width};
            require(size == first, "guide " + std::to_string(i + 1) + " is " + text_of(size) +
                                       ", but the first guide is " + text_of(first) + ".");
            made->channels.push_back(guide.channels);
            channels += guide.channels;
            lanes += lanes_of(guide.channels);
        }
        require(channels <= EBS_MAX_GUIDE_CHANNELS,
                "the guides have " + std::to_string(channels) + " channels in all; allowed are 24.");
        Lanes finest({guides[0].height, guides[0].width}, lanes);
        for (int i = 0, lane = 0; i < count; lane += lanes_of(guides[i].channels), ++i) pack(guides[i], lane, finest);
        made->levels = build_pyramid(std::move(finest), kSmallestSide);
        *frame = made.release();
    });
}

void ebs_frame_free(ebs_frame* frame) { delete frame; }

void ebs_frame_size(const ebs_frame* frame, int32_t* height, int32_t* width, int32_t* guides, int32_t* channels) {
    if (height) *height = frame->levels[0].size.height;
    if (width) *width = frame->levels[0].size.width;
    if (guides) *guides = int32_t(frame->channels.size());
    if (channels) {
        *channels = 0;
        for (int c : frame->channels) *channels += c;
    }
}

ebs_status ebs_options_init(ebs_options* options, int32_t preset) {
    return guarded([&] {
        require(options, "no options to initialise.");
        require(preset == EBS_GENERIC || preset == EBS_VIDEO, "the preset is neither generic nor video.");
        *options = ebs_options{};
        options->struct_size = sizeof(ebs_options);
        options->preset = preset;
        options->patch_size = 5;
        options->stop_threshold = 5;
        options->uniformity = preset == EBS_GENERIC ? 3500.0f : 0.0f;
        options->style_weight = 1.0f;
    });
}

ebs_status ebs_estimate(const ebs_pair* pairs, const ebs_result* results, int32_t count, const ebs_options* options) {
    return guarded([&] {
        require(options && count >= 0 && (count == 0 || (pairs && results)), "pairs, results or options are missing.");
        check_options(*options);
        std::vector<ebs_plan> plans;
        const bool cpu_only = options->disable_bound || options->trace;
        for (int i = 0; i < count; ++i) {
            check_pair(*options, pairs[i], results[i]);
            plans.push_back(make_plan(*options, pairs[i]));
        }
        if (options->backend == EBS_BACKEND_CUDA) {
            if (!cuda().backend) throw Failure(EBS_UNAVAILABLE, cuda().obstacle);
            if (cpu_only) throw Failure(EBS_UNAVAILABLE, "traces and searches without a bound are the CPU's; choose it.");
        }
        if (options->backend != EBS_BACKEND_CPU && !cpu_only && cuda().backend) try {
                return estimate_on_cuda(*cuda().backend, pairs, results, plans, *options);
            } catch (const Failure& failure) {
                // A device that is full, often of somebody else's networks, is no reason to do without the result.
                if (options->backend != EBS_BACKEND_AUTO || failure.status != EBS_OUT_OF_MEMORY) throw;
            }
        estimate_on_cpu(pairs, results, plans, *options);
    });
}

ebs_status ebs_vote(const int16_t* nnf_yx, int32_t height, int32_t width, const ebs_image* image, int32_t patch_size,
                    const float* error, int32_t threads, uint8_t* voted) {
    return guarded([&] {
        require(nnf_yx && image && voted, "the NNF, the image or the result is missing.");
        check_image(*image, "the image", EBS_MAX_STYLE_CHANNELS);
        require(height >= 1 && width >= 1 && height <= EBS_MAX_SIDE && width <= EBS_MAX_SIDE,
                "the NNF is " + text_of({height, width}) + "; sides may be 1 to 32767.");
        require(patch_size % 2 == 1 && patch_size >= 1 && patch_size <= EBS_MAX_PATCH,
                "the patch size is " + std::to_string(patch_size) + "; allowed are odd numbers from 1 to 33.");
        const Size size{height, width}, source{image->height, image->width};
        check_nnf(nnf_yx, size, source);
        std::vector<Point> nnf(size.pixels());
        std::memcpy(nnf.data(), nnf_yx, nnf.size() * sizeof(Point));
        std::vector<uint16_t> weights;
        if (error) {
            for (size_t i = 0; i < nnf.size(); ++i)
                require(error[i] >= 0 && std::isfinite(error[i]), "the error map holds a value that is not a finite number >= 0.");
            weights = vote_weights(error, nnf.size());
        }
        Pool pool(threads > 0 ? threads : usable_cores());
        const ptrdiff_t step = image->pixel_stride ? image->pixel_stride : image->channels;
        const ptrdiff_t pitch = image->row_stride ? image->row_stride : step * image->width;
        vote_image(source, image->channels, [&](int y, int x) { return image->data + y * pitch + x * step; }, nnf.data(),
                   size, patch_size, error ? weights.data() : nullptr, choose_isa(), pool, voted);
    });
}

}  // extern "C"
