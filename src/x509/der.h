// DER (X.690), as far as certificates and public keys need it: written front to back, and taken
// apart one element at a time. What certificates mean is left to OpenSSL, which reads back every
// one that is written here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace pki {

using Der = std::vector<unsigned char>;

enum class Tag : std::uint8_t {
  boolean = 0x01,
  integer = 0x02,
  bit_string = 0x03,
  octet_string = 0x04,
  null = 0x05,
  object_identifier = 0x06,
  utf8_string = 0x0c,
  utc_time = 0x17,
  generalized_time = 0x18,
  sequence = 0x30,
  set = 0x31,
};

/// [number], context-specific: around one element or several, or in place of a primitive's tag.
[[nodiscard]] constexpr Tag explicit_tag(unsigned number) {
  return static_cast<Tag>(0xa0U | number);
}
[[nodiscard]] constexpr Tag implicit_tag(unsigned number) {
  return static_cast<Tag>(0x80U | number);
}

class DerWriter {
 public:
  DerWriter() { der_.reserve(1024); }  // what most certificates fit in

  void add(Tag tag, std::span<const unsigned char> contents);
  void add(Tag tag, std::string_view contents);
  /// A positive integer, big-endian; leading zeros are dropped.
  void add_integer(std::span<const unsigned char> magnitude);
  /// An algorithm, an attribute, an extension: by OpenSSL's number for it.
  void add_object(int nid);
  /// A bit string of whole octets.
  void add_bits(std::span<const unsigned char> octets);
  /// Named bits (X.680 22.7), of which the first is the highest of the octet.
  void add_named_bits(std::uint8_t bits);
  /// What is encoded already.
  void add_encoded(std::span<const unsigned char> der);
  /// An element that holds what `write` adds.
  template <class Write>
  void wrap(Tag tag, const Write& write) {
    const std::size_t begin = der_.size();
    write();
    close(tag, begin);
  }

  [[nodiscard]] Der take() && { return std::move(der_); }

 private:
  void close(Tag tag, std::size_t begin);

  Der der_;
};

struct DerElement {
  Tag tag;
  std::span<const unsigned char> contents;
  std::span<const unsigned char> encoding;  // header and contents
};

/// Takes the first element off `der`. Nothing where there is none, or its length is not as DER has
/// it, or more than there is; tags of more than one octet are not known here.
[[nodiscard]] std::optional<DerElement> take_element(std::span<const unsigned char>& der);

}  // namespace pki
