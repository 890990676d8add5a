// Stands in for the CUDA backend where there is no device: the same kernels in the same order, run by the CPU. Slow.
#include <cstdio>

#include "kernels/on_host.h"

namespace {

int32_t device_count(char*, size_t) { return 1; }

ebs_status estimate(const ebs_task* tasks, int32_t count, const ebs_plan* plan, int (*)(void*, const ebs_progress*),
                    void*, char* message, size_t message_size) {
    try {
        ebs::kernels::search_on_host(tasks, count, *plan, 2);
        return EBS_OK;
    } catch (const ebs::Failure& failure) {
        std::snprintf(message, message_size, "%s", failure.what());
        return failure.status;
    }
}

}  // namespace

extern "C" const ebs_backend* ebs_cuda_backend(void) {
    static const ebs_backend backend = {EBS_BACKEND_VERSION, device_count, estimate};
    return &backend;
}
