// Randomness as a function of place and time: no state, so neither threads nor their order can change it.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace ebs {

// A bijection of 32 bits whose every output bit depends on every input bit.
EBS_HD uint32_t scramble(uint32_t v) {
    v ^= v >> 16;
    v *= 0x21f0aaadu;
    v ^= v >> 15;
    v *= 0x735a2d97u;
    v ^= v >> 15;
    return v;
}

EBS_HD uint32_t scramble(uint32_t a, uint32_t b) { return scramble(a * 0x9e3779b9u ^ scramble(b)); }

// Uniform in [low, high] from 16 random bits.
EBS_HD int pick(uint32_t bits, int low, int high) {
    return low + int((bits & 0xffffu) * uint32_t(high - low + 1) >> 16);
}

}  // namespace ebs
