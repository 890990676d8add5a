// Which instruction set the kernels use: the best the machine has, or the one EBSYNTH_ISA names.
#pragma once

#include <cstdlib>
#include <string>

#include "types.h"

namespace ebs {

enum class Isa { portable, avx2, avxvnni, avx512 };

inline const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx512: return "avx512";
        case Isa::avxvnni: return "avxvnni";
        case Isa::avx2: return "avx2";
        case Isa::portable: break;
    }
    return "portable";
}

#if defined(__x86_64__) && defined(__GNUC__)
#define EBS_X86 1
}  // namespace ebs
#include <cpuid.h>
namespace ebs {

// AVX-VNNI has no name in the compiler's builtin of GCC 11 to 13: leaf 7, subleaf 1, EAX bit 4.
inline bool cpu_has_avxvnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

inline bool machine_has(Isa isa) {
    __builtin_cpu_init();
    switch (isa) {
        case Isa::avx512:
            return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512vnni");
        case Isa::avxvnni: return cpu_has_avxvnni();
        case Isa::avx2: return __builtin_cpu_supports("avx2");
        case Isa::portable: break;
    }
    return true;
}
#else
inline bool machine_has(Isa isa) { return isa == Isa::portable; }
#endif

// Read at every call, so that a test can try one path after the other in one process.
inline Isa choose_isa() {
    static const bool has[] = {true, machine_has(Isa::avx2), machine_has(Isa::avxvnni), machine_has(Isa::avx512)};
    const char* wish = std::getenv("EBSYNTH_ISA");
    for (Isa isa : {Isa::avx512, Isa::avxvnni, Isa::avx2, Isa::portable}) {
        if (!wish || !*wish) {
            if (has[int(isa)]) return isa;
        } else if (wish == std::string(isa_name(isa))) {
            if (has[int(isa)]) return isa;
            throw Failure(EBS_UNAVAILABLE, "EBSYNTH_ISA is \"" + std::string(wish) +
                                               "\", which this machine lacks. Unset it to use the best there is.");
        }
    }
    throw Failure(EBS_BAD_ARGUMENT, "EBSYNTH_ISA is \"" + std::string(wish) +
                                        "\", which is unknown. Known: avx512, avxvnni, avx2, portable.");
}

}  // namespace ebs
