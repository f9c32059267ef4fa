// Texts that a person or another program made: whole files of any kind, pipes too.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace pki {

/// All of a file, which may be a pipe; links are followed. Throws Error, also if there are more
/// than `most` bytes.
[[nodiscard]] std::string read_input(const std::filesystem::path& path, std::size_t most);
/// The same of an open descriptor, which `name` is for in messages.
[[nodiscard]] std::string read_input(int descriptor, const std::string& name, std::size_t most);

}  // namespace pki
