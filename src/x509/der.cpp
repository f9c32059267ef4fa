#include "x509/der.h"

#include <openssl/objects.h>

#include <array>
#include <bit>

#include "base/openssl.h"

namespace pki {
namespace {

constexpr std::size_t longest_header = 1 + 1 + sizeof(std::size_t);

// Tag and length.
class Header {
 public:
  Header(Tag tag, std::size_t length) {
    put(static_cast<unsigned char>(tag));
    if (length < 0x80) {
      put(static_cast<unsigned char>(length));
      return;
    }
    const int octets = static_cast<int>(std::bit_width(length) + 7) / 8;
    put(static_cast<unsigned char>(0x80 | octets));
    for (int i = octets; i-- > 0;) put(static_cast<unsigned char>(length >> (8 * i)));
  }

  [[nodiscard]] std::span<const unsigned char> bytes() const {
    return std::span(bytes_).first(size_);
  }

 private:
  void put(unsigned char byte) { bytes_.at(size_++) = byte; }

  std::array<unsigned char, longest_header> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace

void DerWriter::add(Tag tag, std::span<const unsigned char> contents) {
  add_encoded(Header(tag, contents.size()).bytes());
  add_encoded(contents);
}

void DerWriter::add(Tag tag, std::string_view contents) {
  add(tag, {reinterpret_cast<const unsigned char*>(contents.data()), contents.size()});
}

void DerWriter::add_integer(std::span<const unsigned char> magnitude) {
  while (magnitude.size() > 1 && magnitude.front() == 0) magnitude = magnitude.subspan(1);
  // A first octet with its high bit set would make it negative.
  const bool is_padded = magnitude.empty() || (magnitude.front() & 0x80U) != 0;
  add_encoded(Header(Tag::integer, magnitude.size() + (is_padded ? 1 : 0)).bytes());
  if (is_padded) der_.push_back(0);
  add_encoded(magnitude);
}

void DerWriter::add_object(int nid) {
  const ASN1_OBJECT* const object = OBJ_nid2obj(nid);
  if (object == nullptr) throw_openssl_error("naming an object");
  add(Tag::object_identifier, {OBJ_get0_data(object), OBJ_length(object)});
}

void DerWriter::add_bits(std::span<const unsigned char> octets) {
  add_encoded(Header(Tag::bit_string, 1 + octets.size()).bytes());
  der_.push_back(0);  // unused bits
  add_encoded(octets);
}

void DerWriter::add_named_bits(std::uint8_t bits) {
  const auto unused = static_cast<unsigned char>(bits == 0 ? 0 : std::countr_zero(bits));
  const std::array<unsigned char, 2> contents = {unused, bits};
  add(Tag::bit_string, std::span(contents).first(bits == 0 ? 1 : 2));
}

void DerWriter::add_encoded(std::span<const unsigned char> der) {
  der_.insert(der_.end(), der.begin(), der.end());
}

void DerWriter::close(Tag tag, std::size_t begin) {
  const Header header(tag, der_.size() - begin);
  der_.insert(der_.begin() + static_cast<std::ptrdiff_t>(begin), header.bytes().begin(),
              header.bytes().end());
}

std::optional<DerElement> take_element(std::span<const unsigned char>& der) {
  constexpr unsigned char long_tag = 0x1f;
  if (der.size() < 2 || (der[0] & long_tag) == long_tag) return std::nullopt;
  std::size_t header = 2;
  std::size_t length = der[1];
  if ((length & 0x80U) != 0) {
    const std::size_t octets = length & 0x7fU;
    header += octets;
    if (octets == 0 || octets > sizeof length || header > der.size() || der[2] == 0) {
      return std::nullopt;
    }
    length = 0;
    for (const unsigned char octet : der.subspan(2, octets)) length = length << 8U | octet;
    if (length < 0x80) return std::nullopt;
  }
  if (length > der.size() - header) return std::nullopt;
  const DerElement element{static_cast<Tag>(der[0]), der.subspan(header, length),
                           der.first(header + length)};
  der = der.subspan(header + length);
  return element;
}

}  // namespace pki
