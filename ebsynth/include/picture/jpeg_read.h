// Reads baseline, extended sequential and progressive JPEG of 8 bits a sample, Huffman coded: grey, YCbCr, RGB, CMYK
// and YCCK, with any subsampling and restart intervals. EXIF is ignored, its orientation included.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "image.h"
#include "jpeg_entropy.h"
#include "jpeg_frame.h"
#include "jpeg_planes.h"

namespace ebsynth {

class JpegReader {
public:
    JpegReader(const std::uint8_t* data, std::size_t size) : start_(data), next_(data), end_(data + size) {}

    Image read() {
        next_ += 2;  // the start marker, which told that this is a JPEG
        for (int marker = next_marker(); marker != end_of_image; marker = next_marker()) read_segment(marker);
        if (frame_.components.empty()) throw ImageError("holds no picture");
        std::vector<JpegPlane> planes;
        for (JpegComponent& component : frame_.components) planes.push_back(component.to_plane());
        return merge_planes(planes, colour(), frame_.width, frame_.height);
    }

private:
    static constexpr int end_of_image = 0xD9;

    struct Segment {
        const std::uint8_t* data;
        std::size_t size;

        std::uint8_t byte() {
            if (size == 0) throw ImageError("is damaged (a segment that is too short)");
            --size;
            return *data++;
        }
        int word() {
            const int high = byte();
            return high << 8 | byte();
        }
    };

    int next_marker() {
        if (next_ < end_ && *next_ != 0xFF) throw ImageError("is damaged (no marker where one is due)");
        while (next_ < end_ && *next_ == 0xFF) ++next_;
        if (next_ == end_) throw ImageError("ends before its end marker (truncated)");
        return *next_++;
    }

    Segment take_segment() {
        Segment head{next_, static_cast<std::size_t>(end_ - next_)};
        if (head.size < 2) throw ImageError("ends before its end marker (truncated)");
        const auto length = static_cast<std::size_t>(head.word());
        if (length < 2) throw ImageError("is damaged (a segment that is too short)");
        if (length - 2 > head.size) throw ImageError("ends inside a segment (truncated)");
        next_ += length;
        return {head.data, length - 2};
    }

    void read_segment(int marker) {
        const bool known = (marker >= 0xC0 && marker <= 0xC2) || marker == 0xC4 || marker == 0xDA || marker == 0xDB ||
                           marker == 0xDD || (marker >= 0xE0 && marker <= 0xEF) || marker == 0xFE;
        if (!known) refuse(marker);
        Segment segment = take_segment();
        switch (marker) {
            case 0xC0:
            case 0xC1:
            case 0xC2: read_frame(segment, marker == 0xC2); break;
            case 0xC4: read_codes(segment); break;
            case 0xDA: read_scan(segment); break;
            case 0xDB: read_quantisation(segment); break;
            case 0xDD: restart_interval_ = static_cast<std::size_t>(segment.word()); break;
            case 0xE0: jfif_ = jfif_ || begins_with(segment, "JFIF"); break;
            case 0xEE:
                if (segment.size >= 12 && begins_with(segment, "Adobe")) adobe_transform_ = segment.data[11];
                break;
            default: break;  // comments, EXIF and the like
        }
    }

    static bool begins_with(const Segment& segment, const char* text) {
        return segment.size >= std::strlen(text) && std::memcmp(segment.data, text, std::strlen(text)) == 0;
    }

    [[noreturn]] static void refuse(int marker) {
        if (marker == 0xC3 || (marker >= 0xC5 && marker <= 0xCF)) {
            throw ImageError(
                "is a kind of JPEG that is not read (lossless, hierarchical or arithmetic); "
                "baseline and progressive are");
        }
        throw ImageError("is damaged (an unexpected marker)");
    }

    void read_quantisation(Segment segment) {
        while (segment.size > 0) {
            const int head = segment.byte();
            if (head >> 4 > 1 || (head & 15) > 3) throw ImageError("is damaged (an unknown quantisation table)");
            auto& table = quantisation_[static_cast<std::size_t>(head & 15)];
            for (std::uint8_t place : jpeg_zigzag) {
                table[place] = static_cast<std::uint16_t>(head >> 4 == 1 ? segment.word() : segment.byte());
                if (table[place] == 0) throw ImageError("is damaged (a quantisation step of zero)");
            }
        }
    }

    void read_codes(Segment segment) {
        while (segment.size > 0) {
            const int head = segment.byte();
            if (head >> 4 > 1 || (head & 15) > 3) throw ImageError("is damaged (an unknown Huffman table)");
            std::array<std::uint8_t, 16> counts{};
            std::size_t total = 0;
            for (std::uint8_t& count : counts) {
                count = segment.byte();
                total += count;
            }
            if (total > 256 || total > segment.size) throw ImageError("is damaged (a Huffman table of odd length)");
            auto& codes = head >> 4 == 0 ? dc_codes_ : ac_codes_;
            codes[static_cast<std::size_t>(head & 15)].fill(counts.data(), segment.data);
            segment.data += total;
            segment.size -= total;
        }
    }

    void read_frame(Segment segment, bool progressive) {
        if (!frame_.components.empty()) throw ImageError("is damaged (a second frame header)");
        JpegFrame frame;
        frame.progressive = progressive;
        const int precision = segment.byte();
        if (precision != 8) {
            throw ImageError("has " + std::to_string(precision) + " bits a sample; JPEG of 8 bits is read");
        }
        frame.height = segment.word();
        frame.width = segment.word();
        check_picture_size(static_cast<std::size_t>(frame.width), static_cast<std::size_t>(frame.height));
        const int count = segment.byte();
        if (count != 1 && count != 3 && count != 4) {
            throw ImageError("has " + std::to_string(count) + " components; 1, 3 or 4 are read");
        }
        frame.components.resize(static_cast<std::size_t>(count));
        for (JpegComponent& component : frame.components) {
            component.id = segment.byte();
            const int sampling = segment.byte();
            component.across = static_cast<std::size_t>(sampling >> 4);
            component.down = static_cast<std::size_t>(sampling & 15);
            component.table = segment.byte();
            if (component.across < 1 || component.across > 4 || component.down < 1 || component.down > 4 ||
                component.table > 3) {
                throw ImageError("is damaged (impossible sampling factors)");
            }
        }
        frame.lay_out(static_cast<std::size_t>(end_ - start_));
        frame_ = std::move(frame);
    }

    void read_scan(Segment segment) {
        if (frame_.components.empty()) throw ImageError("is damaged (a scan before the frame header)");
        const int count = segment.byte();
        if (count < 1 || count > 4) throw ImageError("is damaged (a scan of " + std::to_string(count) + " components)");
        std::vector<JpegComponent*> scanned;
        std::vector<std::uint8_t> codes;
        for (int i = 0; i < count; ++i) {
            const int id = segment.byte();
            const auto found = std::find_if(frame_.components.begin(), frame_.components.end(),
                                            [&](const auto& c) { return c.id == id; });
            const bool known = found != frame_.components.end();
            if (!known || std::find(scanned.begin(), scanned.end(), &*found) != scanned.end()) {
                throw ImageError("is damaged (a scan of an unknown component)");
            }
            scanned.push_back(&*found);
            codes.push_back(segment.byte());
        }
        JpegBand band;
        band.first = segment.byte();
        band.last = segment.byte();
        const int bits = segment.byte();
        band.high = bits >> 4;
        band.low = bits & 15;
        if (!frame_.progressive) band = JpegBand();  // what sequential files say here has no effect
        check_band(band, scanned.size());
        for (std::size_t i = 0; i < scanned.size(); ++i) {
            scanned[i]->take_up(band, quantisation_[scanned[i]->table]);
            choose_codes(*scanned[i], band, codes[i]);
        }
        next_ = scanned.size() == 1 ? read_lone_scan(*scanned[0], band) : read_interleaved_scan(scanned, band);
    }

    void check_band(const JpegBand& band, std::size_t components) const {
        const bool dc = band.first == 0 && band.last == 0;
        const bool ac = band.first > 0 && band.first <= band.last && band.last < 64 && components == 1;
        if (frame_.progressive && (!(dc || ac) || band.low > 13))
            throw ImageError("is damaged (an impossible progressive scan)");
    }

    void choose_codes(JpegComponent& component, const JpegBand& band, int selectors) const {
        const auto dc = static_cast<std::size_t>(selectors >> 4);
        const auto ac = static_cast<std::size_t>(selectors & 15);
        const bool needs_dc = band.first == 0 && band.high == 0;
        const bool needs_ac = band.last > 0;
        if ((needs_dc && (dc > 3 || !dc_codes_[dc].present())) || (needs_ac && (ac > 3 || !ac_codes_[ac].present()))) {
            throw ImageError("is damaged (a Huffman table is missing)");
        }
        component.dc = needs_dc ? &dc_codes_[dc] : nullptr;
        component.ac = needs_ac ? &ac_codes_[ac] : nullptr;
    }

    void read_block(JpegBits& bits, JpegComponent& component, const JpegBand& band, std::int16_t* block) {
        if (!frame_.progressive) {
            detail::read_dc(bits, *component.dc, 0, component.predicted, block);
            detail::read_ac(bits, *component.ac, block);
        } else if (band.first == 0 && band.high == 0) {
            detail::read_dc(bits, *component.dc, band.low, component.predicted, block);
        } else if (band.first == 0) {
            if (bits.take(1) != 0) block[0] = static_cast<std::int16_t>(block[0] | (1 << band.low));
        } else if (band.high == 0) {
            detail::read_ac_first(bits, *component.ac, band, to_skip_, block);
        } else {
            detail::read_ac_refinement(bits, *component.ac, band, to_skip_, block);
        }
        bits.check();
    }

    // Calls `unit` for each of `count` units, with a restart wherever one is due.
    template <typename Unit>
    const std::uint8_t* read_units(const std::vector<JpegComponent*>& scanned, std::size_t count, Unit unit) {
        JpegBits bits(next_, end_);
        for (std::size_t i = 0; i < count; ++i) {
            const bool due = restart_interval_ > 0 && i % restart_interval_ == 0;
            if (due && i > 0) bits.restart(static_cast<int>((i / restart_interval_ - 1) % 8));
            if (due || i == 0) {
                to_skip_ = 0;
                for (JpegComponent* component : scanned) component->predicted = 0;
            }
            unit(bits, i);
        }
        return bits.finish();
    }

    const std::uint8_t* read_lone_scan(JpegComponent& component, const JpegBand& band) {
        return read_units({&component}, component.columns * component.rows, [&](JpegBits& bits, std::size_t i) {
            read_block(bits, component, band, component.block(i % component.columns, i / component.columns));
        });
    }

    const std::uint8_t* read_interleaved_scan(const std::vector<JpegComponent*>& scanned, const JpegBand& band) {
        return read_units(scanned, frame_.unit_columns * frame_.unit_rows, [&](JpegBits& bits, std::size_t i) {
            for (JpegComponent* c : scanned) {
                for (std::size_t block = 0; block < c->across * c->down; ++block) {
                    const std::size_t column = i % frame_.unit_columns * c->across + block % c->across;
                    const std::size_t row = i / frame_.unit_columns * c->down + block / c->across;
                    read_block(bits, *c, band, c->block(column, row));
                }
            }
        });
    }

    JpegColour colour() const {
        if (frame_.components.size() == 1) return JpegColour::grey;
        if (frame_.components.size() == 4) return adobe_transform_ == 2 ? JpegColour::ycck : JpegColour::cmyk;
        if (jfif_) return JpegColour::ycc;
        if (adobe_transform_ >= 0) return adobe_transform_ == 0 ? JpegColour::rgb : JpegColour::ycc;
        const bool named =
            frame_.components[0].id == 'R' && frame_.components[1].id == 'G' && frame_.components[2].id == 'B';
        return named ? JpegColour::rgb : JpegColour::ycc;
    }

    const std::uint8_t* start_;
    const std::uint8_t* next_;
    const std::uint8_t* end_;
    bool jfif_ = false;
    int adobe_transform_ = -1;
    std::size_t restart_interval_ = 0;
    int to_skip_ = 0;
    std::array<std::array<std::uint16_t, 64>, 4> quantisation_{};
    std::array<JpegCode, 4> dc_codes_{};
    std::array<JpegCode, 4> ac_codes_{};
    JpegFrame frame_;
};

}  // namespace ebsynth
