// Pictures in memory, and the limits that every reader keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ebsynth {

// 8-bit samples, interleaved, row by row. Channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.
struct Image {
    int width = 0;
    int height = 0;
    int channels = 0;
    std::vector<std::uint8_t> pixels;

    std::size_t pixel_count() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(height); }
};

// Why a picture can't be read or written. Readers give the reason only; `image_io.h` puts the file's name before it.
class ImageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A nearest-neighbour field holds coordinates as int16.
constexpr int max_side = 32767;
constexpr std::size_t max_pixels = std::size_t{1} << 27;

inline void check_picture_size(std::size_t width, std::size_t height) {
    const std::string size = std::to_string(width) + " x " + std::to_string(height);
    if (width == 0 || height == 0) throw ImageError("has no pixels (its header says " + size + ")");
    if (width > max_side || height > max_side || width * height > max_pixels) {
        throw ImageError("is too large (" + size + "); at most " + std::to_string(max_side) + " a side and " +
                         std::to_string(max_pixels) + " pixels are read");
    }
}

}  // namespace ebsynth
