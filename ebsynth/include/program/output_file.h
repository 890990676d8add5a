// A file that is there whole or not at all.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "../picture/image.h"

namespace ebsynth {

// Writes aside and renames. The constructor finds out whether that can work, before any expensive computation, and
// leaves nothing behind: a program that is killed half-way leaves no stray file.
class OutputFile {
public:
    explicit OutputFile(const std::string& path) : name_(path) {
        namespace fs = std::filesystem;
        std::error_code error;
        const fs::file_status status = fs::status(path, error);
        if (path.empty()) fail("no file name was given");
        if (fs::is_directory(status)) fail("it is a folder");
        // A pipe or a device can't be replaced; it is written to as it stands.
        direct_ = fs::exists(status) && !fs::is_regular_file(status);
        // Through a symbolic link the file behind it is replaced, not the link.
        const fs::path behind = fs::exists(status) && !direct_ ? fs::canonical(path, error) : fs::path();
        target_ = behind.empty() ? path : behind.string();
        if (direct_) return;
        if (fs::exists(status)) {
            std::FILE* existing = std::fopen(target_.c_str(), "r+b");
            if (existing == nullptr) fail(std::strerror(errno));
            std::fclose(existing);
        }
        std::fclose(open_aside());
        std::remove(aside_.c_str());
    }

    void write(const std::vector<std::uint8_t>& bytes) {
        std::FILE* file = direct_ ? std::fopen(target_.c_str(), "wb") : open_aside();
        if (file == nullptr) fail(std::strerror(errno));
        errno = 0;
        const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0;
        const int write_error = errno;
        const bool closed = std::fclose(file) == 0;
        if (!written || !closed) {
            const std::string reason = std::strerror(written ? errno : write_error);
            if (!direct_) std::remove(aside_.c_str());
            fail(reason);
        }
        if (direct_) return;
        std::error_code error;
        std::filesystem::rename(aside_, target_, error);
        if (error) {
            std::remove(aside_.c_str());
            fail(error.message());
        }
    }

private:
    [[noreturn]] void fail(const std::string& reason) const {
        throw ImageError(name_ + " can't be written: " + reason);
    }

    // Beside the target, so that the rename stays on one file system.
    std::FILE* open_aside() {
        std::random_device random;
        for (int attempt = 0; attempt < 16; ++attempt) {
            aside_ = target_ + "." + std::to_string(random()) + ".part";
            std::FILE* file = std::fopen(aside_.c_str(), "wbx");
            if (file != nullptr) return file;
            if (errno != EEXIST) break;
        }
        fail(std::strerror(errno));
    }

    std::string name_;
    std::string target_;
    std::string aside_;
    bool direct_ = false;
};

}  // namespace ebsynth
