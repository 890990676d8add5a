// Any bytes as compressed data: read, or refused with an ImageError. And any bytes compressed come back as they were.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "picture/deflate.h"
#include "picture/inflate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size >= 2) {
        // The first two bytes say how much the stream should hold.
        std::vector<std::uint8_t> out(static_cast<std::size_t>(data[0]) << 8 | data[1]);
        try {
            ebsynth::Inflater(data + 2, size - 2, out.data(), out.size()).run();
        } catch (const ebsynth::ImageError&) {
        }
    }
    const std::vector<std::uint8_t> compressed = ebsynth::Deflater::zlib(data, size);
    std::vector<std::uint8_t> back(size);
    ebsynth::Inflater(compressed.data(), compressed.size(), back.data(), size).run();
    if (!std::equal(back.begin(), back.end(), data)) std::abort();
    return 0;
}
