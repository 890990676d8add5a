// The command line of `ebsynth` and `ebsynth_nnf`. No file is opened here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../ebsynth.h"

namespace ebsynth {

// Something the user can mend: one line, told on stderr.
class ProgramError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct GuideFiles {
    std::string source;
    std::string target;
    std::optional<float> weight;
};

// What was not given is empty: its default is the preset's, or depends on the pictures.
struct Arguments {
    bool help = false;
    std::string style;
    std::optional<float> style_weight;
    std::vector<GuideFiles> guides;
    std::string output;
    ebs_preset preset = EBS_GENERIC;
    ebs_backend_choice backend = EBS_BACKEND_AUTO;
    std::optional<float> uniformity;
    int patch_size = 5;
    std::optional<int> pyramid_levels;
    std::optional<int> search_vote_iters;
    std::optional<int> patch_match_iters;
    std::optional<int> stop_threshold;
    bool extra_pass_3x3 = false;
    int threads = 0;
    std::uint32_t seed = 0;
};

namespace detail {

inline const std::vector<std::string>& option_names() {
    static const std::vector<std::string> names{
        "-style",           "-guide",         "-weight",        "-output",
        "-uniformity",      "-patchsize",     "-pyramidlevels", "-searchvoteiters",
        "-patchmatchiters", "-stopthreshold", "-extrapass3x3",  "-backend",
        "-preset",          "-threads",       "-seed",          "-help"};
    return names;
}

// The least number of single letters to insert, delete or replace.
inline std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t corner = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = corner + (a[i - 1] == b[j - 1] ? 0 : 1);
            corner = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

inline std::string nearest_option(const std::string& wrong) {
    if (wrong.size() > 32) return "";
    std::string nearest;
    std::size_t least = 4;
    for (const std::string& name : option_names()) {
        const std::size_t distance = edit_distance(wrong, name);
        if (distance < least) {
            least = distance;
            nearest = name;
        }
    }
    return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

}  // namespace detail

class ArgumentParser {
public:
    explicit ArgumentParser(std::vector<std::string> words) : words_(std::move(words)) {}

    Arguments parse() {
        while (next_ < words_.size()) {
            option_ = words_[next_++];
            if (!read_file_option() && !read_setting()) {
                throw ProgramError("unknown option '" + option_ + "'" + detail::nearest_option(option_));
            }
        }
        return arguments_;
    }

private:
    bool read_file_option() {
        if (option_ == "-style") {
            if (!arguments_.style.empty()) throw ProgramError("-style is given twice; one picture is painted from");
            arguments_.style = file_name();
            weight_ = Weight::style;
        } else if (option_ == "-guide") {
            GuideFiles guide;
            guide.source = file_name();
            guide.target = file_name();
            arguments_.guides.push_back(guide);
            weight_ = Weight::guide;
        } else if (option_ == "-weight") {
            const float weight = number();
            if (weight_ == Weight::none)
                throw ProgramError("-weight must follow the -style or -guide that it belongs to");
            (weight_ == Weight::style ? arguments_.style_weight : arguments_.guides.back().weight) = weight;
        } else if (option_ == "-output") {
            arguments_.output = file_name();
        } else {
            return false;
        }
        return true;
    }

    bool read_setting() {
        if (option_ == "-uniformity") {
            arguments_.uniformity = number();
        } else if (option_ == "-patchsize") {
            arguments_.patch_size = integer(3, EBS_MAX_PATCH);
            if (arguments_.patch_size % 2 == 0)
                refuse(std::to_string(arguments_.patch_size),
                       "an odd number from 3 to " + std::to_string(EBS_MAX_PATCH));
        } else if (option_ == "-pyramidlevels") {
            if (next_ < words_.size() && words_[next_] == "max") {
                arguments_.pyramid_levels.reset();
                ++next_;
            } else {
                arguments_.pyramid_levels = integer(1, 1000);
            }
        } else if (option_ == "-searchvoteiters") {
            arguments_.search_vote_iters = integer(1, 1000);
        } else if (option_ == "-patchmatchiters") {
            arguments_.patch_match_iters = integer(1, 1000);
        } else if (option_ == "-stopthreshold") {
            arguments_.stop_threshold = integer(0, 255);
        } else if (option_ == "-extrapass3x3") {
            arguments_.extra_pass_3x3 = true;
        } else if (option_ == "-backend") {
            arguments_.backend = choice<ebs_backend_choice>(
                {{"auto", EBS_BACKEND_AUTO}, {"cpu", EBS_BACKEND_CPU}, {"cuda", EBS_BACKEND_CUDA}});
        } else if (option_ == "-preset") {
            arguments_.preset = choice<ebs_preset>({{"generic", EBS_GENERIC}, {"video", EBS_VIDEO}});
        } else if (option_ == "-threads") {
            arguments_.threads = integer(0, 4096);
        } else if (option_ == "-seed") {
            arguments_.seed = static_cast<std::uint32_t>(integer_64(0, 4294967295));
        } else if (option_ == "-help" || option_ == "--help" || option_ == "-h") {
            arguments_.help = true;
        } else {
            return false;
        }
        return true;
    }

    const std::string& value() {
        const auto& names = detail::option_names();
        if (next_ == words_.size() || std::find(names.begin(), names.end(), words_[next_]) != names.end()) {
            throw ProgramError(option_ + " needs " +
                               (option_ == "-guide" ? "two files: source and target" : "a value after it"));
        }
        return words_[next_++];
    }

    const std::string& file_name() {
        const std::string& name = value();
        if (name.empty()) throw ProgramError(option_ + " has an empty file name");
        return name;
    }

    [[noreturn]] void refuse(const std::string& found, const std::string& allowed) const {
        throw ProgramError(option_ + " is '" + found + "'; it must be " + allowed);
    }

    std::int64_t integer_64(std::int64_t least, std::int64_t most) {
        const std::string& text = value();
        const std::string allowed = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
        const std::size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
        const bool digits =
            text.size() > sign && text.size() <= 15 && text.find_first_not_of("0123456789", sign) == std::string::npos;
        if (!digits) refuse(text, allowed);
        const std::int64_t number = std::strtoll(text.c_str(), nullptr, 10);
        if (number < least || number > most) refuse(text, allowed);
        return number;
    }

    int integer(int least, int most) { return static_cast<int>(integer_64(least, most)); }

    float number() {
        const std::string& text = value();
        const std::string allowed = "a number of 0 or more";
        if (text.empty() || text.find_first_not_of("+-.0123456789eE") != std::string::npos) refuse(text, allowed);
        char* end = nullptr;
        const float number = std::strtof(text.c_str(), &end);
        if (end != text.c_str() + text.size() || !std::isfinite(number) || number < 0) refuse(text, allowed);
        return number;
    }

    template <typename T>
    T choice(const std::vector<std::pair<std::string, T>>& known) {
        const std::string& text = value();
        std::string names;
        for (const auto& [name, meaning] : known) {
            if (text == name) return meaning;
            names += (names.empty() ? "" : ", ") + name;
        }
        refuse(text, "one of " + names);
    }

    enum class Weight : std::uint8_t { none, style, guide };

    std::vector<std::string> words_;
    std::size_t next_ = 0;
    std::string option_;
    Weight weight_ = Weight::none;  // what the next -weight belongs to
    Arguments arguments_;
};

}  // namespace ebsynth
