// A program that brings its own certificate authority: in files, as the command does, and in
// memory, for a test that wants a server certificate and nothing on the disk.
#include <pki/ca.h>
#include <pki/error.h>
#include <pki/issuer.h>

#include <chrono>
#include <iostream>

namespace {

pki::Instant now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

void in_files(const std::filesystem::path& directory) {
  pki::Ca ca({.certificate = directory / "root.pem",
              .key = directory / "root-key.pem",
              .leaves = directory});
  pki::LeafRequest request;
  request.sans = {pki::DnsName::parse("bouncerhost"), pki::IpAddress::parse("10.0.0.5")};
  const pki::Issued leaf = ca.issue(request, now());
  std::cout << leaf.certificate_file.string() << " until "
            << pki::text(leaf.certificate.validity().not_after) << '\n';
}

void in_memory() {
  const auto spec = [](std::string name, const pki::Profile& profile) {
    return pki::CertificateSpec{.common_name = std::move(name),
                                .sans = {},
                                .profile = profile,
                                .validity = pki::Validity::starting(now(), profile.lifetime),
                                .serial = pki::SerialNumber::generate()};
  };
  const pki::Issuer root = pki::Issuer::self_signed(spec("test root", pki::profiles::root),
                                                    pki::Key::generate(pki::KeyType::p256));
  const pki::Key key = pki::Key::generate(pki::KeyType::p256);
  pki::CertificateSpec server = spec("localhost", pki::profiles::server);
  server.sans = {pki::DnsName::parse("localhost")};
  server.validity.not_after = server.validity.not_before + std::chrono::hours{1};
  const pki::Certificate certificate = root.sign(server, key.public_key());
  std::cout << pki::as_text(certificate.pem());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    in_files(argc > 1 ? argv[1] : ".");
    in_memory();
  } catch (const pki::Error& error) {
    std::cerr << error.what() << "; " << error.hint() << '\n';
    return 1;
  }
}
