#include "store/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "pki/error.h"
#include "store/directory.h"

namespace pki {
namespace {

[[noreturn]] void fail(const std::string& name, int error) {
  throw Error(fmt::format("cannot read {}: {}", name, std::generic_category().message(error)),
              "name a file that is there and can be read");
}

}  // namespace

std::string read_input(const std::filesystem::path& path, std::size_t most) {
  int fd = -1;
  do {  // a pipe may be waited for
    fd = ::open(path.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  const Descriptor opened(fd);
  if (!opened.is_open()) fail(path.string(), errno);
  return read_input(opened.get(), path.string(), most);
}

std::string read_input(int descriptor, const std::string& name, std::size_t most) {
  std::string text;
  for (std::size_t size = 0;;) {
    constexpr std::size_t least = 65536;
    text.resize(std::max(least, 2 * size));
    while (size < text.size()) {
      const ssize_t got = ::read(descriptor, text.data() + size, text.size() - size);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(name, errno);
      if (got == 0) {
        text.resize(size);
        text.shrink_to_fit();
        return text;
      }
      size += static_cast<std::size_t>(got);
      if (size > most) {
        throw Error(fmt::format("{} is larger than {} MiB", name, most >> 20U),
                    "name the right file, or share it out to several");
      }
    }
  }
}

}  // namespace pki
