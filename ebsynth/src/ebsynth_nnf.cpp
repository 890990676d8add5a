// The program `ebsynth_nnf`: where in the source each pixel of the target comes from.

#include <charconv>

#include "program/program.h"

namespace {

using namespace ebsynth;

void check_output(const std::string&, const Image&) {}  // text goes into a file of any name

// For every target pixel in scanline order the source's "x y"; one line for each row of the target.
std::vector<std::uint8_t> match(const Job& job, const std::string&) {
    std::vector<std::int16_t> nnf_yx(2 * job.target_pixels());
    search(job, {nnf_yx.data(), nullptr, nullptr});
    std::vector<std::uint8_t> text;
    text.reserve(nnf_yx.size() * 5);
    const auto append = [&text](int number, char separator) {
        char digits[8];
        char* const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
        text.insert(text.end(), digits, end);
        text.push_back(static_cast<std::uint8_t>(separator));
    };
    const auto columns = static_cast<std::size_t>(job.target_width);
    for (std::size_t pixel = 0; pixel < job.target_pixels(); ++pixel) {
        append(nnf_yx[2 * pixel + 1], ' ');
        append(nnf_yx[2 * pixel], pixel % columns + 1 == columns ? '\n' : ' ');
    }
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(
        argc, argv,
        {"ebsynth_nnf",
         "Writes \"x y\" of the matching source pixel for every target pixel in scanline order. Without -style\n"
         "the guides alone decide.\n",
         "", false, check_output, match});
}
