// How often the source's patches are used, kept up to date while the search moves them.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "parallel.h"
#include "types.h"

namespace ebs {

// For every source pixel n: the sum over the patch around n of how many used patches cover that pixel. Two patches at
// distance (dy, dx) share (P - |dy|) (P - |dx|) pixels, so that a patch which moves in or out changes (2P - 1)^2 entries,
// and the cost of a candidate is one look. Floats, because a crowd on one spot would overflow 32-bit integers; entries up
// to 2^24 are exact.
class Occupancy {
public:
    Occupancy() = default;

    Occupancy(Size source, int patch)
        : source_(source), patch_(patch), pitch_(source.width + 2 * (patch - 1)),
          overlap_(size_t(pitch_) * (source.height + 2 * (patch - 1))) {}

    void move(Point from, Point to) {
        const auto row = [this](int y) { return &overlap_[size_t(y) * pitch_]; };
        add(patch_, from, -1, row);
        add(patch_, to, 1, row);
    }

    // What the patch at n shares with all used ones but the one that now sits at `own`.
    float others_at(Point n, Point own) const {
        return others(patch_, &overlap_[size_t(n.y + patch_ - 1) * size_t(pitch_)], n, own);
    }

    void count(const std::vector<Point>& nnf) {
        // Two box filters of the histogram are the triangle-shaped overlap.
        std::vector<float> used(overlap_.size()), line(overlap_.size());
        for (Point n : nnf) used[size_t(n.y + patch_ - 1) * pitch_ + n.x + patch_ - 1] += 1.0f;
        const int rows = source_.height + 2 * (patch_ - 1);
        for (int y = 0; y < rows; ++y) triangle(&used[size_t(y) * pitch_], &line[size_t(y) * pitch_], pitch_);
        triangle_down(line, rows);
    }

private:
    friend class OccupancyView;

    static float others(int patch, const float* row, Point n, Point own) {
        const int dy = std::abs(n.y - own.y), dx = std::abs(n.x - own.x);
        const float self = dy < patch && dx < patch ? float((patch - dy) * (patch - dx)) : 0.0f;
        return row[n.x + patch - 1] - self;
    }

    // The patch at n, in the rows that `row_at` gives.
    template <class RowAt>
    static void add(int patch, Point n, float sign, const RowAt& row_at) {
        const int reach = patch - 1;
        for (int dy = -reach; dy <= reach; ++dy) {
            float* row = row_at(n.y + dy + reach) + n.x;
            const float height = sign * float(patch - (dy < 0 ? -dy : dy));
            for (int i = 0; i < reach; ++i) row[i] += height * float(i + 1);
            for (int i = reach; i <= 2 * reach; ++i) row[i] += height * float(2 * reach + 1 - i);
        }
    }

    // The overlap's second difference is +1, -2, +1 at distances -P, 0, P: two running sums rebuild it exactly.
    void triangle(const float* in, float* out, int count) const {
        double slope = 0, value = 0;
        for (int i = 0; i < count + patch_; ++i) {
            const auto get = [&](int k) { return k >= 0 && k < count ? double(in[k]) : 0.0; };
            if (i - patch_ >= 0 && i - patch_ < count) out[i - patch_] = float(value);
            slope += get(i) - 2 * get(i - patch_) + get(i - 2 * patch_);
            value += slope;
        }
    }

    void triangle_down(const std::vector<float>& in, int rows) {
        std::vector<double> slope(pitch_), value(pitch_);
        for (int i = 0; i < rows + patch_; ++i) {
            if (i >= patch_)
                for (int x = 0; x < pitch_; ++x) overlap_[size_t(i - patch_) * pitch_ + x] = float(value[x]);
            const auto add_row = [&](int row, double factor) {
                if (row < 0 || row >= rows) return;
                const float* from = &in[size_t(row) * pitch_];
                for (int x = 0; x < pitch_; ++x) slope[x] += factor * double(from[x]);
            };
            add_row(i, 1);
            add_row(i - patch_, -2);
            add_row(i - 2 * patch_, 1);
            for (int x = 0; x < pitch_; ++x) value[x] += slope[x];
        }
    }

    Size source_{0, 0};
    int patch_ = 0, pitch_ = 0;
    std::vector<float> overlap_;
};

// The occupancy as a part of the search sees it that moves patches while others read what they left: rows are copied when
// they are first written. Moves stay near, so that few are.
class OccupancyView {
public:
    explicit OccupancyView(const Occupancy& shared)
        : shared_(shared), rows_(shared.overlap_.size() / size_t(shared.pitch_)), own_(new float[shared.overlap_.size()]) {
        for (size_t y = 0; y < rows_.size(); ++y) rows_[y] = &shared.overlap_[y * size_t(shared.pitch_)];
    }

    // Back to the shared one.
    void reset() {
        for (int y : written_) rows_[size_t(y)] = &shared_.overlap_[size_t(y) * size_t(shared_.pitch_)];
        written_.clear();
    }

    float others_at(Point n, Point own) const {
        return Occupancy::others(shared_.patch_, rows_[size_t(n.y + shared_.patch_ - 1)], n, own);
    }

    void move(Point from, Point to) {
        const auto row = [this](int y) { return writable(y); };
        Occupancy::add(shared_.patch_, from, -1, row);
        Occupancy::add(shared_.patch_, to, 1, row);
    }

private:
    float* writable(int y) {
        float* own = &own_[size_t(y) * size_t(shared_.pitch_)];
        if (rows_[size_t(y)] != own) {
            std::memcpy(own, rows_[size_t(y)], size_t(shared_.pitch_) * sizeof(float));
            rows_[size_t(y)] = own;
            written_.push_back(y);
        }
        return own;
    }

    const Occupancy& shared_;
    std::vector<const float*> rows_;
    std::unique_ptr<float[]> own_;
    std::vector<int> written_;
};

}  // namespace ebs
