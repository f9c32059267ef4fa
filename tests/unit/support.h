// What the unit tests share: a directory of their own, a fixed time, and the usual specifications.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "pki/error.h"
#include "pki/issuer.h"

namespace test {

/// Gone when the test ends.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "pki-unit-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  CAPTURE(path.string());
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

inline unsigned mode_of(const std::filesystem::path& path) {
  return static_cast<unsigned>(std::filesystem::status(path).permissions());
}

/// 2026-11-24T12:00:00Z.
inline constexpr pki::Instant now{std::chrono::sys_days{std::chrono::year{2026} / 11 / 24} +
                                  std::chrono::hours{12}};

inline pki::CertificateSpec root_spec() {
  return {.common_name = "test root",
          .sans = {},
          .profile = pki::profiles::root,
          .validity = pki::Validity::starting(now, pki::profiles::root.lifetime),
          .serial = pki::SerialNumber::generate()};
}

inline pki::CertificateSpec server_spec(const std::vector<pki::San>& sans) {
  return {.common_name = pki::common_name_for(sans),
          .sans = sans,
          .profile = pki::profiles::server,
          .validity = pki::Validity::starting(now, pki::profiles::server.lifetime),
          .serial = pki::SerialNumber::generate()};
}

inline pki::Issuer make_root(pki::KeyType type = pki::KeyType::p256) {
  return pki::Issuer::self_signed(root_spec(), pki::Key::generate(type));
}

/// The message and hint of the Error that `action` throws; a test failure if it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const pki::Error& error) {
    return std::string(error.what()) + "; " + error.hint();
  }
  FAIL("no Error was thrown");
  return {};
}

/// Upper-case digits, two for each octet.
inline std::string hex(std::span<const unsigned char> bytes) {
  constexpr const char* digits = "0123456789ABCDEF";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace test
