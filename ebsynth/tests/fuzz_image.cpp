// Any bytes as a picture: read, or refused with an ImageError.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "picture/image_io.h"

namespace {

void decode(const std::uint8_t* data, std::size_t size) {
    try {
        const ebsynth::Image image = ebsynth::decode_image(data, size);
        if (image.pixels.size() != image.pixel_count() * static_cast<std::size_t>(image.channels)) std::abort();
    } catch (const ebsynth::ImageError&) {
    }
}

// Without right checksums nothing of a changed PNG would be reached but the check of checksums.
void mend_checksums(std::vector<std::uint8_t>& png) {
    std::size_t at = ebsynth::png_signature.size();
    while (png.size() >= 12 && at <= png.size() - 12) {
        const std::size_t length = ebsynth::detail::big_endian_32(png.data() + at);
        if (length > png.size() - at - 12) return;
        const std::uint32_t sum = ebsynth::crc32(png.data() + at + 4, length + 4);
        for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
        at += 12 + length;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    decode(data, size);
    if (ebsynth::type_by_content(data, size) == ebsynth::PictureType::png) {
        std::vector<std::uint8_t> mended(data, data + size);
        mend_checksums(mended);
        decode(mended.data(), mended.size());
    }
    return 0;
}
