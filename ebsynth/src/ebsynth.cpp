// The program `ebsynth`: paints the target in the manner of the style.

#include "program/program.h"

namespace {

using namespace ebsynth;

void check_output(const std::string& path, const Image& style) {
    const PictureType type = type_by_suffix(path);
    if (type == PictureType::unknown) {
        throw ProgramError(path + " can't be written: its suffix must be .png, .jpg or .jpeg");
    }
    if (type == PictureType::jpeg && style.channels % 2 == 0) {
        throw ProgramError(path + " can't hold the style's alpha, because it is a JPEG; write a .png");
    }
}

std::vector<std::uint8_t> paint(const Job& job, const std::string& path) {
    Image painted;
    painted.width = job.target_width;
    painted.height = job.target_height;
    painted.channels = job.style.channels;
    painted.pixels.resize(painted.pixel_count() * static_cast<std::size_t>(painted.channels));
    search(job, {nullptr, nullptr, painted.pixels.data()});
    return encode_image(painted, type_by_suffix(path));
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(argc, argv,
                       {"ebsynth", "Paints TARGET's picture with patches of the style; FILE is .png, .jpg or .jpeg.\n",
                        "output.png", true, check_output, paint});
}
