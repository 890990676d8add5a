// The Python module: views of arrays in, arrays out, and the interpreter's lock released in between.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

#include "ebsynth.h"

namespace nb = nanobind;

namespace {

// Any CPU array of bytes, H x W x C or H x W, whatever its strides, as long as a pixel's channels lie side by side.
using Bytes = nb::ndarray<const uint8_t, nb::ro, nb::device::cpu>;
using FieldIn = nb::ndarray<const int16_t, nb::ro, nb::shape<-1, -1, 2>, nb::device::cpu, nb::c_contig>;
using ErrorIn = nb::ndarray<const float, nb::ro, nb::shape<-1, -1>, nb::device::cpu, nb::c_contig>;
using FieldOut = nb::ndarray<nb::numpy, int16_t, nb::ndim<4>>;
using ErrorOut = nb::ndarray<nb::numpy, float, nb::ndim<3>>;
using ImageOut = nb::ndarray<nb::numpy, uint8_t, nb::ndim<3>>;
using ImagesOut = nb::ndarray<nb::numpy, uint8_t, nb::ndim<4>>;

[[noreturn]] void fail(ebs_status status, const char* text) {
    if (status == EBS_BAD_ARGUMENT) throw nb::value_error(text);
    if (status == EBS_OUT_OF_MEMORY) throw std::bad_alloc();
    throw std::runtime_error(text);
}

void check(ebs_status status) {
    if (status != EBS_OK) fail(status, ebs_last_error());
}

ebs_image view(const Bytes& array, const char* name) {
    const bool flat = array.ndim() == 2;
    if (!flat && array.ndim() != 3)
        throw nb::value_error((std::string(name) + " has " + std::to_string(array.ndim()) +
                               " dimensions; it needs 2 (height, width) or 3 (height, width, channels).")
                                  .c_str());
    if (array.shape(0) > EBS_MAX_SIDE || array.shape(1) > EBS_MAX_SIDE)
        throw nb::value_error((std::string(name) + " has a side above 32767.").c_str());
    if (!flat && array.size() > 0 && array.shape(2) > 1 && array.stride(2) != 1)
        throw nb::value_error((std::string(name) + " is not interleaved: a pixel's channels must lie side by side.").c_str());
    ebs_image image{};
    image.data = array.data();
    image.height = int32_t(array.shape(0));
    image.width = int32_t(array.shape(1));
    image.channels = flat ? 1 : int32_t(array.shape(2));
    image.row_stride = ptrdiff_t(array.stride(0));
    image.pixel_stride = ptrdiff_t(array.stride(1));
    return image;
}

template <class Array>
auto* allocate(size_t count, nb::capsule& owner) {
    using Value = typename Array::Scalar;
    auto* data = new Value[count];
    owner = nb::capsule(data, [](void* p) noexcept { delete[] static_cast<Value*>(p); });
    return data;
}

struct Frame {
    explicit Frame(const std::vector<Bytes>& guides) {
        std::vector<ebs_image> images;
        for (const Bytes& guide : guides) images.push_back(view(guide, "a guide"));
        ebs_status status;
        {
            nb::gil_scoped_release release;
            status = ebs_frame_create(images.data(), int32_t(images.size()), &handle);
        }
        check(status);
        ebs_frame_size(handle, &height, &width, &count, &channels);
    }
    ~Frame() { ebs_frame_free(handle); }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

    ebs_frame* handle = nullptr;
    int32_t height = 0, width = 0, count = 0, channels = 0;
};

// All pairs have targets of one size. Returns (nnf_yx, error, voted or None).
nb::tuple estimate(const std::vector<const Frame*>& sources, const std::vector<const Frame*>& targets,
                   const std::vector<std::optional<Bytes>>& styles, const std::vector<std::optional<FieldIn>>& inits,
                   const std::vector<std::optional<Bytes>>& source_masks,
                   const std::vector<std::optional<Bytes>>& target_masks,
                   const std::vector<std::vector<std::optional<Bytes>>>& modulations, const std::vector<float>& weights,
                   int preset, int backend, int start, int patch, int levels, int rounds, int sweeps, int stop_threshold,
                   bool extra_pass, bool error_weighted, int threads, uint32_t seed, std::optional<float> uniformity, float style_weight,
                   bool want_voted, bool bound, const std::optional<nb::object>& progress) {
    const size_t count = sources.size();
    if (count == 0 || targets.size() != count || styles.size() != count || inits.size() != count ||
        source_masks.size() != count || target_masks.size() != count || modulations.size() != count)
        throw nb::value_error("estimate: the lists differ in length, or are empty.");
    const size_t height = size_t(targets[0]->height), width = size_t(targets[0]->width), pixels = height * width;
    const size_t channels = want_voted && styles[0] ? size_t(view(*styles[0], "a style").channels) : 0;

    std::vector<ebs_pair> pairs(count);
    std::vector<std::vector<ebs_image>> maps(count);
    for (size_t i = 0; i < count; ++i) {
        ebs_pair& pair = pairs[i];
        pair.source = sources[i]->handle;
        pair.target = targets[i]->handle;
        if (size_t(targets[i]->height) != height || size_t(targets[i]->width) != width)
            throw nb::value_error("estimate: the targets of one batch differ in size.");
        if (styles[i]) pair.style = view(*styles[i], "a style");
        if (channels && (!styles[i] || size_t(pair.style.channels) != channels))
            throw nb::value_error("estimate: the styles of one batch differ in channels.");
        if (inits[i]) {
            if (inits[i]->shape(0) != height || inits[i]->shape(1) != width)
                throw nb::value_error("estimate: an initial NNF is not of the target's size.");
            pair.init_nnf_yx = inits[i]->data();
        }
        if (source_masks[i]) pair.source_mask = view(*source_masks[i], "a source mask");
        if (target_masks[i]) pair.target_mask = view(*target_masks[i], "a target mask");
        if (!modulations[i].empty()) {
            if (modulations[i].size() != size_t(targets[i]->count))
                throw nb::value_error("estimate: a pair needs one modulation (or None) for each guide.");
            for (const auto& map : modulations[i]) maps[i].push_back(map ? view(*map, "a modulation") : ebs_image{});
            pair.modulation = maps[i].data();
        }
    }

    nb::capsule nnf_owner, error_owner, voted_owner;
    int16_t* nnf = allocate<FieldOut>(count * pixels * 2, nnf_owner);
    float* error = allocate<ErrorOut>(count * pixels, error_owner);
    uint8_t* voted = channels ? allocate<ImagesOut>(count * pixels * channels, voted_owner) : nullptr;
    std::vector<ebs_result> results(count);
    for (size_t i = 0; i < count; ++i)
        results[i] = {nnf + i * pixels * 2, error + i * pixels, voted ? voted + i * pixels * channels : nullptr};

    ebs_options options;
    check(ebs_options_init(&options, preset));
    options.backend = backend;
    options.start = start;
    options.patch_size = patch;
    options.pyramid_levels = levels;
    options.search_vote_iters = rounds;
    options.patch_match_iters = sweeps;
    options.stop_threshold = stop_threshold;
    options.extra_pass_3x3 = extra_pass;
    options.vote_mode = error_weighted ? EBS_VOTE_ERROR : EBS_VOTE_MEAN;
    options.threads = threads;
    options.seed = seed;
    if (uniformity) options.uniformity = *uniformity;
    options.style_weight = style_weight;
    options.guide_weights = weights.empty() ? nullptr : weights.data();
    options.guide_weight_count = int32_t(weights.size());
    options.disable_bound = !bound;

    // The callback is called from the engine's threads; an exception in it cancels the search and is raised here.
    struct Caller {
        nb::object function;
        std::optional<nb::python_error> error;
    } caller;
    if (progress) {
        caller.function = *progress;
        options.trace = 1;
        options.progress_user = &caller;
        options.progress = [](void* user, const ebs_progress* state) -> int {
            nb::gil_scoped_acquire acquire;
            auto* to = static_cast<Caller*>(user);
            try {
                to->function(state->pair, state->level, state->round, state->sweep, state->energy);
                return 0;
            } catch (nb::python_error& raised) {
                if (!to->error) to->error.emplace(std::move(raised));
                return 1;
            }
        };
    }
    ebs_status status;
    {
        nb::gil_scoped_release release;
        status = ebs_estimate(pairs.data(), results.data(), int32_t(count), &options);
    }
    if (caller.error) throw std::move(*caller.error);
    check(status);
    nb::object image = voted ? nb::cast(ImagesOut(voted, {count, height, width, channels}, voted_owner)) : nb::none();
    return nb::make_tuple(FieldOut(nnf, {count, height, width, 2}, nnf_owner),
                          ErrorOut(error, {count, height, width}, error_owner), image);
}

ImageOut vote(const FieldIn& nnf, const Bytes& image, int patch, const std::optional<ErrorIn>& error, int threads) {
    const ebs_image source = view(image, "the image");
    const size_t height = nnf.shape(0), width = nnf.shape(1), channels = size_t(source.channels);
    if (error && (error->shape(0) != height || error->shape(1) != width))
        throw nb::value_error("the error map is not of the NNF's size.");
    nb::capsule owner;
    uint8_t* voted = allocate<ImageOut>(height * width * channels, owner);
    ebs_status status;
    {
        nb::gil_scoped_release release;
        status = ebs_vote(nnf.data(), int32_t(height), int32_t(width), &source, patch, error ? error->data() : nullptr,
                          threads, voted);
    }
    check(status);
    return ImageOut(voted, {height, width, channels}, owner);
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "The patch-matching engine; use diffsynth.engines.native.";
    nb::class_<Frame>(module, "Frame")
        .def(nb::init<const std::vector<Bytes>&>(), nb::arg("guides").noconvert())
        .def_ro("height", &Frame::height)
        .def_ro("width", &Frame::width)
        .def_ro("guides", &Frame::count)
        .def_ro("channels", &Frame::channels);
    module.def("estimate", &estimate, nb::arg("sources"), nb::arg("targets"), nb::arg("styles").noconvert(), nb::arg("inits").noconvert(),
               nb::arg("source_masks").noconvert(), nb::arg("target_masks").noconvert(), nb::arg("modulations").noconvert(), nb::arg("weights"), nb::kw_only(),
               nb::arg("preset"), nb::arg("backend"), nb::arg("start"), nb::arg("patch"), nb::arg("levels"),
               nb::arg("rounds"), nb::arg("sweeps"), nb::arg("stop_threshold"), nb::arg("extra_pass"),
               nb::arg("error_weighted"), nb::arg("threads"), nb::arg("seed"), nb::arg("uniformity").none(),
               nb::arg("style_weight"), nb::arg("want_voted"), nb::arg("bound"), nb::arg("progress") = nb::none());
    module.def("vote", &vote, nb::arg("nnf").noconvert(), nb::arg("image").noconvert(), nb::arg("patch"), nb::arg("error").noconvert() = nb::none(),
               nb::arg("threads") = 0);
    module.def("isa", [] {
        const char* name = ebs_isa();
        if (!name) fail(EBS_UNAVAILABLE, ebs_last_error());
        return std::string(name);
    });
    module.def("cuda_available", [] {
        nb::gil_scoped_release release;
        return ebs_cuda_available() != 0;
    });
    module.attr("api_version") = ebs_api_version();
}
