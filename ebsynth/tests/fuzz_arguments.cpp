// Any words as a command line: parsed, or refused with a ProgramError. Words are separated by line breaks.
#include <cstdlib>
#include <string>
#include <vector>

#include "program/arguments.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<std::string> words(1);
    for (std::size_t i = 0; i < size; ++i) {
        if (data[i] == '\n') {
            words.emplace_back();
        } else if (data[i] != 0) {
            words.back().push_back(static_cast<char>(data[i]));
        }
    }
    try {
        const ebsynth::Arguments arguments = ebsynth::ArgumentParser(words).parse();
        if (arguments.patch_size % 2 == 0 || arguments.patch_size < 3 || arguments.patch_size > EBS_MAX_PATCH)
            std::abort();
        if (arguments.style_weight.value_or(1) < 0) std::abort();
    } catch (const ebsynth::ProgramError&) {
    }
    return 0;
}
