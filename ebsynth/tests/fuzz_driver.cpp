// Runs a fuzz target where there is no libFuzzer:
//   TARGET FILE...             each file as it is
//   TARGET -mutate N FILE...   and N changed copies of each: bytes overwritten, bits flipped, pieces cut out or doubled
// With clang, leave this file away and add -fsanitize=fuzzer instead.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::size_t below(std::mt19937& random, std::size_t limit) { return random() % limit; }

Bytes mutated(Bytes bytes, std::mt19937& random) {
    constexpr std::uint8_t telling[] = {0, 1, 2, 0x7F, 0x80, 0xC0, 0xFE, 0xFF};
    for (std::size_t changes = 1 + below(random, 4); changes > 0 && !bytes.empty(); --changes) {
        const std::size_t at = below(random, bytes.size());
        const std::size_t length = 1 + below(random, std::min<std::size_t>(bytes.size() - at, 32));
        const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        const auto last = first + static_cast<std::ptrdiff_t>(length);
        switch (below(random, 6)) {
            case 0: *first = static_cast<std::uint8_t>(random()); break;
            case 1: *first = telling[below(random, std::size(telling))]; break;
            case 2: *first = static_cast<std::uint8_t>(*first ^ (1 << below(random, 8))); break;
            case 3: bytes.erase(first, last); break;
            case 4: {
                const Bytes piece(first, last);
                bytes.insert(first, piece.begin(), piece.end());
                break;
            }
            default:
                if (below(random, 8) == 0) bytes.resize(at);
                break;
        }
    }
    return bytes;
}

// Exactly as long as its content, so that a read past its end is seen.
void run(const Bytes& bytes) {
    const Bytes exact(bytes);
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
    int first = 1;
    long copies = 0;
    if (argc > 2 && std::string(argv[1]) == "-mutate") {
        copies = std::strtol(argv[2], nullptr, 10);
        first = 3;
    }
    std::mt19937 random(1);
    long runs = 0;
    for (int i = first; i < argc; ++i) {
        std::ifstream file(argv[i], std::ios::binary);
        if (!file) {
            std::fprintf(stderr, "error: %s can't be opened\n", argv[i]);
            return 1;
        }
        const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        run(bytes);
        for (long copy = 0; copy < copies; ++copy) run(mutated(bytes, random));
        runs += 1 + copies;
    }
    std::printf("%ld inputs\n", runs);
    return 0;
}
