// verdict_table: what the library says of certificates and clients.
//
// Reads requests from stdin, a line each: a file with a server's chain, a file of roots, and a
// host, between tabs. Answers each with a line of fields between tabs: for each client its name and
// the reason why it refuses, which is empty if it does not.
#include <chrono>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "postgres/verdicts.h"

namespace {

std::vector<pki::Certificate> read_chain(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return pki::Certificate::chain_from_pem(text);
}

std::string answer(const std::string& line) {
  std::istringstream fields(line);
  std::string chain;
  std::string roots;
  std::string host;
  std::getline(std::getline(std::getline(fields, chain, '\t'), roots, '\t'), host);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  std::string text;
  for (const pki::Verdict& verdict :
       pki::client_verdicts(read_chain(chain), read_chain(roots), host, now)) {
    if (!text.empty()) text += '\t';
    text += verdict.client + '\t' + verdict.reason;
  }
  return text;
}

}  // namespace

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) std::cout << answer(line) << '\n';
  } catch (const std::exception& error) {
    std::cerr << "verdict_table: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
