// login_table: what a login shows, as lines of fields between tabs, for the tests.
//
//     login_table target                            where the connection string on stdin leads
//     login_table login ROOT MILLISECONDS [ADDRESS]    the report of a login
//
// The string ends with a newline. An Error is one line, too: "error", what, hint.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>
#include <span>
#include <string>

#include "pki/error.h"
#include "pki/login.h"

namespace {

const char* text(pki::Finding::Level level) {
  switch (level) {
    case pki::Finding::Level::problem: return "problem";
    case pki::Finding::Level::unknown: return "unknown";
    case pki::Finding::Level::note: return "note";
  }
  return "";
}

void print(const pki::ConnectionTarget& target) {
  const auto path = [](const auto& optional) { return optional.value_or("").string(); };
  std::cout << "host\t" << target.host << "\naddress\t" << target.address.value_or("") << "\nport\t"
            << target.port << "\nroot\t" << path(target.root) << "\ncertificate\t"
            << path(target.certificate) << "\nkey\t" << path(target.key) << '\n';
}

void print(const pki::Report& report) {
  std::cout << "target\t" << report.target << "\ncommand\t" << report.command << '\n';
  for (const auto& [name, value] : report.facts) {
    std::cout << "fact\t" << name << '\t' << value << '\n';
  }
  for (const auto& [level, id, what, remedy] : report.findings) {
    std::cout << "finding\t" << text(level) << '\t' << id << '\t' << what << '\t' << remedy << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  std::string conninfo;
  std::getline(std::cin, conninfo);
  try {
    if (argc == 2) {
      print(pki::read_conninfo(conninfo));
    } else {
      pki::LoginCheck check;
      check.conninfo = conninfo;
      check.root = arguments[2];
      check.timeout = std::chrono::milliseconds(std::stoi(arguments[3]));
      if (argc > 4) check.address = arguments[4];
      print(pki::check_login(check));
    }
  } catch (const pki::Error& error) {
    std::cout << "error\t" << error.what() << '\t' << error.hint() << '\n';
  }
  return 0;
}
