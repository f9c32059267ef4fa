// Bytes that may hold a private key: their memory is cleansed before it is given back.
//
// A vector, not a string: a string keeps short contents inside itself, where no allocator sees
// them.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace pki {

/// Overwrites `size` bytes at `memory` in a way that no optimiser removes (OPENSSL_cleanse).
void cleanse(void* memory, std::size_t size) noexcept;

template <class T>
struct CleansingAllocator {
  using value_type = T;

  CleansingAllocator() noexcept = default;
  template <class U>
  CleansingAllocator(const CleansingAllocator<U>&) noexcept {}  // NOLINT: allocators convert

  [[nodiscard]] T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* p, std::size_t n) noexcept {
    cleanse(p, n * sizeof(T));
    std::allocator<T>{}.deallocate(p, n);
  }

  template <class U>
  bool operator==(const CleansingAllocator<U>&) const noexcept {
    return true;
  }
};

using SecretBytes = std::vector<unsigned char, CleansingAllocator<unsigned char>>;

/// The bytes as text, without a copy. Valid while `bytes` is.
[[nodiscard]] inline std::string_view as_text(const SecretBytes& bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace pki
