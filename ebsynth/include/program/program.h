// What the two programs share: usage, checks that come before the work, and errors in one line.
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "arguments.h"
#include "job.h"
#include "output_file.h"

namespace ebsynth {

struct Program {
    const char* name;
    const char* effect;          // the usage's first paragraph
    const char* default_output;  // empty: -output must be given
    bool needs_style;
    void (*check_output)(const std::string& path, const Image& style);  // before the search; throws
    std::vector<std::uint8_t> (*run)(const Job& job, const std::string& path);
};

namespace detail {

inline void print_usage(const Program& program) {
    std::printf(
        "usage: %s -style FILE [-weight W] -guide SOURCE TARGET [-weight W] ... -output FILE [options]\n\n%s\n"
        "  -style FILE             the painted picture, as large as the source guides\n"
        "  -guide SOURCE TARGET    what the style's picture and the result look like; any number of pairs\n"
        "  -weight W               of the -style or -guide before it (style: 1, guide: 1 / number of guides)\n"
        "  -output FILE            the result%s%s\n"
        "  -uniformity W           how evenly the style is used up (3500; preset video: 0)\n"
        "  -patchsize N            odd, 3 to %d (5)\n"
        "  -pyramidlevels N        coarse-to-fine levels, or max (max)\n"
        "  -searchvoteiters N      rounds of search and vote a level (the preset's)\n"
        "  -patchmatchiters N      sweeps of search a round (the preset's)\n"
        "  -stopthreshold N        pixels that changed by no more are not searched again (5)\n"
        "  -extrapass3x3           a last pass with patches of 3x3\n"
        "  -backend NAME           auto, cpu or cuda (auto: cuda where there is a device)\n"
        "  -preset NAME            generic, or video for two frames of one clip (generic)\n"
        "  -threads N              0: all cores (0); the result does not depend on it\n"
        "  -seed N                 of the random search (0)\n\n"
        "Pictures are read as PNG or JPEG, whatever their names; a camera's note to turn one (EXIF) is ignored.\n"
        "Errors are told on stderr, and the exit status is then 1.\n",
        program.name, program.effect, *program.default_output != '\0' ? " (" : "",
        *program.default_output != '\0' ? (std::string(program.default_output) + ")").c_str() : "", EBS_MAX_PATCH);
}

inline void check_arguments(const Arguments& arguments, const Program& program) {
    if (program.needs_style && arguments.style.empty()) throw ProgramError("no style is given; add -style FILE");
    if (arguments.guides.empty()) throw ProgramError("no guide is given; add -guide SOURCE TARGET");
    if (arguments.output.empty()) throw ProgramError("no output is given; add -output FILE");
    if (arguments.backend == EBS_BACKEND_CUDA && ebs_cuda_available() == 0) {
        throw ProgramError(
            "-backend is cuda, but this program was built without CUDA or sees no device; use cpu or auto");
    }
    if (ebs_isa() == nullptr) throw ProgramError(ebs_last_error());
}

inline void print_settings(const Arguments& arguments, const Job& job) {
    const auto iterations = [](int count) { return count > 0 ? std::to_string(count) : std::string("preset"); };
    const bool cuda = arguments.backend != EBS_BACKEND_CPU && ebs_cuda_available() != 0;
    const bool fell_back = arguments.backend == EBS_BACKEND_AUTO && !cuda;
    std::printf("uniformity: %.0f\npatchsize: %d\npyramidlevels: %d\nsearchvoteiters: %s\npatchmatchiters: %s\n",
                static_cast<double>(job.options.uniformity), job.options.patch_size, job.options.pyramid_levels,
                iterations(job.options.search_vote_iters).c_str(), iterations(job.options.patch_match_iters).c_str());
    std::printf("stopthreshold: %d\nextrapass3x3: %s\nbackend: %s\n", job.options.stop_threshold,
                job.options.extra_pass_3x3 != 0 ? "yes" : "no",
                cuda        ? "cuda"
                : fell_back ? "cpu (no CUDA device was found)"
                            : "cpu");
    std::fflush(stdout);
}

// Paths and values come back in messages; a line break in one must not make two lines.
inline int report(std::string message) {
    for (char& c : message) {
        if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
    }
    std::fprintf(stderr, "error: %s\n", message.c_str());
    return 1;
}

}  // namespace detail

inline int run_program(int argc, char** argv, const Program& program) {
    try {
        if (argc < 2) {
            detail::print_usage(program);
            return 1;
        }
        Arguments arguments = ArgumentParser(std::vector<std::string>(argv + 1, argv + argc)).parse();
        if (arguments.help) {
            detail::print_usage(program);
            return 0;
        }
        if (arguments.output.empty()) arguments.output = program.default_output;
        detail::check_arguments(arguments, program);
        OutputFile output(arguments.output);
        const Job job = load_job(arguments);
        program.check_output(arguments.output, job.style);
        detail::print_settings(arguments, job);
        output.write(program.run(job, arguments.output));
        std::printf("result was written to %s\n", arguments.output.c_str());
        return 0;
    } catch (const std::bad_alloc&) {
        return detail::report("the pictures do not fit into memory");
    } catch (const std::exception& error) {
        return detail::report(error.what());
    }
}

}  // namespace ebsynth
