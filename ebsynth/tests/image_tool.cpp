// Drives the codecs from the tests:
//   image_tool decode PICTURE RAW    RAW receives "width height channels\n" and the samples
//   image_tool encode RAW PICTURE    the type by PICTURE's suffix
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>

#include "picture/image_io.h"
#include "program/output_file.h"

namespace {

void decode(const std::string& picture, const std::string& raw) {
    const ebsynth::Image image = ebsynth::read_image(picture);
    std::ofstream out(raw, std::ios::binary);
    out << image.width << ' ' << image.height << ' ' << image.channels << '\n';
    out.write(reinterpret_cast<const char*>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size()));
}

void encode(const std::string& raw, const std::string& picture) {
    std::ifstream in(raw, std::ios::binary);
    ebsynth::Image image;
    in >> image.width >> image.height >> image.channels;
    in.get();
    image.pixels.assign(std::istreambuf_iterator<char>(in), {});
    const auto expected = image.pixel_count() * static_cast<std::size_t>(image.channels);
    if (image.pixels.size() != expected) throw ebsynth::ImageError(raw + " is not as long as its first line says");
    ebsynth::OutputFile file(picture);
    file.write(ebsynth::encode_image(image, ebsynth::type_by_suffix(picture)));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::string action = argc == 4 ? argv[1] : "";
        if (action == "decode") {
            decode(argv[2], argv[3]);
        } else if (action == "encode") {
            encode(argv[2], argv[3]);
        } else {
            std::fprintf(stderr, "usage: image_tool decode PICTURE RAW | encode RAW PICTURE\n");
            return 2;
        }
        return 0;
    } catch (const ebsynth::ImageError& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
