// Picture files: reading finds the type in the content, writing in the file's suffix. Errors name the file.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "image.h"
#include "jpeg_read.h"
#include "jpeg_write.h"
#include "png_read.h"
#include "png_write.h"

namespace ebsynth {

enum class PictureType : std::uint8_t { unknown, png, jpeg };

inline PictureType type_by_content(const std::uint8_t* data, std::size_t size) {
    if (size >= png_signature.size() && std::equal(png_signature.begin(), png_signature.end(), data))
        return PictureType::png;
    if (size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF) return PictureType::jpeg;
    return PictureType::unknown;
}

inline PictureType type_by_suffix(const std::string& path) {
    const std::size_t name = path.find_last_of("/\\");
    const std::size_t dot = path.rfind('.');
    if (dot == std::string::npos || (name != std::string::npos && dot < name)) return PictureType::unknown;
    std::string suffix = path.substr(dot + 1);
    for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (suffix == "png") return PictureType::png;
    return suffix == "jpg" || suffix == "jpeg" ? PictureType::jpeg : PictureType::unknown;
}

inline Image decode_image(const std::uint8_t* data, std::size_t size) {
    switch (type_by_content(data, size)) {
        case PictureType::png: return PngReader(data, size).read();
        case PictureType::jpeg: return JpegReader(data, size).read();
        default: break;
    }
    if (size == 0) throw ImageError("is empty (0 bytes)");
    std::string start;
    for (std::size_t i = 0; i < std::min<std::size_t>(size, 4); ++i) {
        char hex[4];
        std::snprintf(hex, sizeof hex, " %02x", data[i]);
        start += hex;
    }
    throw ImageError("is neither PNG nor JPEG (it starts with" + start + ")");
}

inline std::vector<std::uint8_t> encode_image(const Image& image, PictureType type) {
    if (type == PictureType::png) return encode_png(image);
    if (type == PictureType::jpeg) return encode_jpeg(image);
    throw ImageError("has an unknown suffix; .png, .jpg and .jpeg can be written");
}

namespace detail {

constexpr std::size_t largest_file = std::size_t{1} << 30;

// Stops after the first bytes of anything that is no picture, so that a device or a film is not read whole.
inline std::vector<std::uint8_t> read_picture_bytes(const std::string& path) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) throw ImageError(std::string("can't be opened: ") + std::strerror(errno));
    std::vector<std::uint8_t> bytes(16);
    std::size_t size = 0;
    for (;;) {
        errno = 0;
        size += std::fread(bytes.data() + size, 1, bytes.size() - size, file.get());
        if (std::ferror(file.get()) != 0) throw ImageError(std::string("can't be read: ") + std::strerror(errno));
        if (size < bytes.size() || type_by_content(bytes.data(), size) == PictureType::unknown) break;
        if (size >= largest_file) throw ImageError("is larger than " + std::to_string(largest_file) + " bytes");
        bytes.resize(std::max<std::size_t>(2 * size, 1 << 16));
    }
    bytes.resize(size);
    return bytes;
}

}  // namespace detail

inline Image read_image(const std::string& path) {
    try {
        const std::vector<std::uint8_t> bytes = detail::read_picture_bytes(path);
        return decode_image(bytes.data(), bytes.size());
    } catch (const ImageError& error) {
        throw ImageError(path + " " + error.what());
    } catch (const std::bad_alloc&) {
        throw ImageError(path + " does not fit into memory");
    }
}

}  // namespace ebsynth
