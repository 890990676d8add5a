// A device whose memory is full: what the library does with each choice of a backend.
#include <string>

#include "ebsynth_backend.h"
#include "search_call.h"

using namespace ebs_test;

namespace {

int asked = 0;
ebs_status answer = EBS_OUT_OF_MEMORY;

int32_t device_count(char*, size_t) { return 1; }

ebs_status estimate(const ebs_task*, int32_t, const ebs_plan*, int (*)(void*, const ebs_progress*), void*, char* message,
                    size_t size) {
    ++asked;
    std::snprintf(message, size, "the device is of no use.");
    return answer;
}

int failures = 0;

void report(const char* name, bool good) {
    std::printf("%s %s\n", good ? "ok" : "FAILED", name);
    failures += !good;
}

ebs_status run(Call& call, ebs_backend_choice backend) {
    call.options.backend = backend;
    return ebs_estimate(call.pairs.data(), call.results.data(), int32_t(call.pairs.size()), &call.options);
}

}  // namespace

extern "C" const ebs_backend* ebs_cuda_backend(void) {
    static const ebs_backend backend = {EBS_BACKEND_VERSION, device_count, estimate};
    return &backend;
}

int main() {
    Call call(30, 40, 2, EBS_VIDEO, 5, 1);
    require(run(call, EBS_BACKEND_CPU));
    const auto expected = call.nnfs;
    call.nnfs[0].assign(call.nnfs[0].size(), -1);
    call.results[0].nnf_yx = call.nnfs[0].data();
    report("auto goes on with the CPU", run(call, EBS_BACKEND_AUTO) == EBS_OK && asked == 1 && call.nnfs == expected);
    report("a device that was asked for must do", run(call, EBS_BACKEND_CUDA) == EBS_OUT_OF_MEMORY);
    report("its message", std::string(ebs_last_error()) == "the device is of no use.");
    answer = EBS_DEVICE_ERROR;
    report("other errors are told", run(call, EBS_BACKEND_AUTO) == EBS_DEVICE_ERROR);
    return failures;
}
