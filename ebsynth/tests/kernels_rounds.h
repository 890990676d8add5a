// A whole search, watched launch by launch.
#pragma once

#include "kernels_scene.h"

namespace ebs_test {

// Between two votes, what decides on rest must stand still though the energies' sum moves: a pixel that rested in a round's
// first sweep has an energy from before the vote, and must not take it for current in a later one.
struct WatchingDevice : HostDevice {
    unsigned long long limit = 0, sum = 0;
    bool voted = false;
    size_t moved_limits = 0, moved_sums = 0;

    template <class Kernel>
    void launch(const Kernel& kernel, int pairs) {
        HostDevice::launch(kernel, pairs);
    }

    void launch(const Vote& vote, int pairs) {
        HostDevice::launch(vote, pairs);
        voted = true;
    }

    template <int kPatch, Reading kReading>
    void launch(const Sweep<kPatch, kReading>& sweep, int pairs) {
        const unsigned long long limit_now = *sweep.state.round_total.of(0), sum_now = *sweep.state.total.of(0);
        moved_limits += !voted && limit_now != limit;
        moved_sums += !voted && sum_now != sum;
        limit = limit_now, sum = sum_now, voted = false;
        HostDevice::launch(sweep, pairs);
    }
};

inline void check_rounds() {
    Wishes wishes;
    ebs_plan plan = plan_of(wishes, 3);
    RandomTask task(wishes, 21);
    WatchingDevice device;
    HostMemory memory(Layout::bytes(BatchShape(task.task), plan, 1));
    Search<WatchingDevice> search(device, memory.base(), &task.task, 1, plan);
    search.run(nullptr);
    std::string difference;
    if (device.moved_limits) difference = "who rests changed within " + std::to_string(device.moved_limits) + " rounds";
    if (!device.moved_sums) difference = "no sum moved within a round, so that this says nothing";
    report("rest lasts for a round", difference);
}

}  // namespace ebs_test
