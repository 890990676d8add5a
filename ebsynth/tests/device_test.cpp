// The CUDA backend on a real device against its own kernels run by the CPU: the same bytes.
//
//   device_test            all checks; exits with 77 and the reason where there is no device
//   device_test obstacle   prints why there is no device
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "kernels/on_host.h"
#include "random_task.h"

using ebs_test::RandomTask;
using ebs_test::Wishes;

namespace {

constexpr int kSkip = 77;
int failures = 0;

void report(const std::string& name, const std::string& difference) {
    std::printf("%s %s%s%s\n", difference.empty() ? "ok" : "FAILED", name.c_str(), difference.empty() ? "" : ": ",
                difference.c_str());
    failures += !difference.empty();
}

template <class T>
std::string first_difference(const char* what, const std::vector<T>& device, const std::vector<T>& host) {
    size_t count = 0, first = 0;
    for (size_t i = device.size(); i-- > 0;)
        if (device[i] != host[i]) ++count, first = i;
    if (!count) return "";
    return std::string(what) + " differs in " + std::to_string(count) + " of " + std::to_string(device.size()) +
           " values, first in number " + std::to_string(first) + ": " + std::to_string(device[first]) + ", not " +
           std::to_string(host[first]) + "; ";
}

struct Tasks {
    std::vector<std::unique_ptr<RandomTask>> owners;
    std::vector<ebs_task> tasks;

    Tasks(const Wishes& wishes, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
            owners.push_back(std::make_unique<RandomTask>(wishes, 100 + i));
            tasks.push_back(owners.back()->task);
        }
    }
};

std::string compare(const ebs_backend& backend, const Wishes& wishes, uint32_t count) {
    const ebs_plan plan = ebs_test::plan_of(wishes, 5);
    Tasks device(wishes, count), host(wishes, count);
    char message[512] = "";
    if (backend.estimate(device.tasks.data(), int32_t(count), &plan, nullptr, nullptr, message, sizeof message) !=
        EBS_OK)
        return message;
    ebs::kernels::search_on_host(host.tasks.data(), int(count), plan, 4);
    std::string difference;
    for (size_t i = 0; i < count; ++i) {
        difference += first_difference("the NNF", device.owners[i]->nnf, host.owners[i]->nnf);
        difference += first_difference("the error", device.owners[i]->error, host.owners[i]->error);
        difference += first_difference("the voted image", device.owners[i]->voted, host.owners[i]->voted);
    }
    return difference;
}

int stop_at_second(void* calls, const ebs_progress* state) {
    auto& count = *static_cast<int*>(calls);
    return ++count == 2 || state->fraction < 0 || state->fraction > 1;
}

std::string check_cancelling(const ebs_backend& backend) {
    Wishes wishes;
    const ebs_plan plan = ebs_test::plan_of(wishes, 5);
    Tasks tasks(wishes, 3);
    int calls = 0;
    char message[512] = "";
    const ebs_status status =
        backend.estimate(tasks.tasks.data(), 3, &plan, stop_at_second, &calls, message, sizeof message);
    if (status != EBS_CANCELLED) return "status " + std::to_string(status) + ", not cancelled";
    return calls == 2 ? "" : std::to_string(calls) + " calls";
}

// Half a terabyte is more than any card has, so that the refusal is exercised and what follows works again.
std::string check_too_large(const ebs_backend& backend) {
    Wishes wishes;
    wishes.guide_lanes = 24, wishes.style_channels = 8;
    const ebs_plan plan = ebs_test::plan_of(wishes, 5);
    RandomTask small(wishes, 1);
    ebs_task task = small.task;
    task.height = task.width = task.source_height = task.source_width = EBS_MAX_SIDE;
    char message[512] = "";
    const ebs_status status = backend.estimate(&task, 1, &plan, nullptr, nullptr, message, sizeof message);
    if (status != EBS_OUT_OF_MEMORY) return "status " + std::to_string(status) + ": " + message;
    std::printf("  (%s)\n", message);
    return compare(backend, wishes, 1);
}

}  // namespace

int main(int count, char** arguments) {
    const ebs_backend* backend = ebs_cuda_backend();
    char message[512] = "";
    const int devices = backend->device_count(message, sizeof message);
    if (count > 1 && std::strcmp(arguments[1], "obstacle") == 0) {
        std::printf("%s\n", devices ? "" : message);
        return 0;
    }
    if (!devices) {
        std::printf("skipped: %s\n", message);
        return kSkip;
    }
    for (const Wishes& wishes : ebs_test::all_kinds()) report(wishes.name, compare(*backend, wishes, 2));
    Wishes larger;
    larger.height = 131, larger.width = 160, larger.source_height = 120, larger.source_width = 170, larger.levels = 3;
    report("larger, 35 pairs in three batches", compare(*backend, larger, 35));
    report("cancelling", check_cancelling(*backend));
    report("too large for the device", check_too_large(*backend));
    return failures;
}
