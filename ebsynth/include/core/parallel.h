// A pool of threads that lives as long as one call of the library.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace ebs {

// Cores this process may run on, which in a container or under taskset are fewer than the machine has.
inline int usable_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count ? int(count) : 1;
}

class Pool {
public:
    // The caller's thread works too, so that a pool of one starts no thread.
    explicit Pool(int threads) {
        for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
    }

    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            closing_ = true;
        }
        wake_.notify_all();
        for (auto& worker : workers_) worker.join();
    }

    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return int(workers_.size()) + 1; }

    // Calls job(index, worker) once for each index below `count`, in any order; the first exception is thrown here.
    void run(int count, const std::function<void(int index, int worker)>& job) {
        if (workers_.empty() || count <= 1) {
            for (int i = 0; i < count; ++i) job(i, 0);
            return;
        }
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            count_ = count;
            next_ = 0;
            busy_ = int(workers_.size());
            error_ = nullptr;
            ++generation_;
        }
        wake_.notify_all();
        work(0);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
        if (error_) std::rethrow_exception(error_);
    }

private:
    void work(int worker) {
        for (int i; (i = next_.fetch_add(1)) < count_;) {
            try {
                (*job_)(i, worker);
            } catch (...) {
                std::lock_guard<std::mutex> lock(mutex_);
                if (!error_) error_ = std::current_exception();
                next_ = count_;
            }
        }
    }

    void serve(int worker) {
        unsigned seen = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return closing_ || generation_ != seen; });
            if (closing_) return;
            seen = generation_;
            lock.unlock();
            work(worker);
            lock.lock();
            if (--busy_ == 0) done_.notify_one();
        }
    }

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int, int)>* job_ = nullptr;
    std::atomic<int> next_{0};
    int count_ = 0, busy_ = 0;
    unsigned generation_ = 0;
    bool closing_ = false;
    std::exception_ptr error_;
};

// Splits rows into bands of a fixed height, whatever the number of threads.
inline int bands_of(int rows, int height) { return (rows + height - 1) / height; }

// Calls job(first_row, end_row) for `pieces` pieces of the rows; for work whose result does not depend on the split.
template <class Job>
void for_pieces(Pool& pool, int rows, int pieces, const Job& job) {
    if (pieces > rows) pieces = rows;
    pool.run(pieces, [&](int i, int) { job(int(int64_t(rows) * i / pieces), int(int64_t(rows) * (i + 1) / pieces)); });
}

template <class Job>
void for_rows(Pool& pool, int rows, const Job& job) {
    for_pieces(pool, rows, pool.threads() == 1 ? 1 : 4 * pool.threads(), job);
}

// A band of votes repeats the work of a patch's height at its edges: as few as keep all threads busy.
template <class Job>
void for_vote_bands(Pool& pool, int rows, const Job& job) {
    for_pieces(pool, rows, pool.threads(), job);
}

}  // namespace ebs
