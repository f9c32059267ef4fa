// The one place that talks to people and scripts.
//
// stdout carries results: with --json one document (a line for each certificate, where there are
// many), on a terminal what was made and the next step, else nothing. stderr carries the rest, a
// line each, beginning with "pki: ", and on a terminal a bar while many are made.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "cli/cli.h"
#include "pki/ca.h"
#include "pki/error.h"
#include "pki/export.h"
#include "pki/report.h"

namespace spdlog {
class logger;
}

namespace pki::cli {

enum class RotationStep { begin, status, finish };

enum class Verbosity { quiet, normal, verbose };

class Output {
 public:
  explicit Output(const Environment& environment);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void set_verbosity(Verbosity verbosity);
  void set_json(bool json) { json_ = json; }

  void error(const Error& error);
  void warning(std::string_view line);  // not with --quiet
  void note(std::string_view line);     // not with --quiet
  void detail(std::string_view line);   // with --verbose

  /// What a person asked to read: help, the version.
  void text(std::string_view text);
  void usage_after_mistake(std::string_view usage);
  /// `several`: with --json a list, however many there are.
  void issued(std::span<const Issued> all, const CaFiles& files, bool several);
  /// Of many, one as soon as it is done; begin_many() goes before the first, end_many() after the
  /// last. A warning that comes again is printed once.
  void begin_many(std::size_t total);
  void issued_one(const Issued& issued, const CaFiles& files);
  void end_many(bool is_done);
  void exported(const Exported& exported);
  /// `was_all`: what is not due is counted, not listed. `is_followed`: by a command that makes
  /// servers load the new files.
  void renewed(std::span<const Renewed> all, const CaFiles& files, bool was_all, bool is_followed);
  void revoked(const Revoked& revoked);
  void rotation(const Rotation& rotation, const CaFiles& files, RotationStep step);
  void listed(const CrlFile& list);
  /// On stdout; with --quiet no more than what is wrong or could not be told, on stderr.
  void reports(std::span<const Report> reports);
  /// Text to be pasted or included as it is.
  void snippet(std::string_view name, std::string_view snippet);

  [[nodiscard]] Instant now() const { return environment_.now; }
  [[nodiscard]] bool is_terminal() const { return environment_.out_is_terminal; }
  [[nodiscard]] bool may_colour() const { return environment_.may_colour; }
  [[nodiscard]] unsigned columns() const { return environment_.columns; }
  [[nodiscard]] bool is_quiet() const { return verbosity_ == Verbosity::quiet; }
  [[nodiscard]] const Inherited& inherited() const { return environment_.inherited; }
  /// Clocks that were never set make certificates that nobody can use once they are.
  void warn_of_clock();

  /// Throws Error if stdout did not take all that was written to it.
  void finish();

 private:
  void report(const Issued& issued);
  void print_rotation(const Rotation& rotation, const CaFiles& files, RotationStep step);
  void report(const Renewed& renewed);
  void count_unchanged(std::span<const Renewed> all, const CaFiles& files);
  void print_table(const Report& report);
  [[nodiscard]] std::string painted(Finding::Level level) const;
  void write_json(const nlohmann::ordered_json& document);
  void draw_bar();
  void erase_bar();

  // What was told of many so far.
  struct Many {
    std::size_t total = 0;
    std::size_t issued = 0;
    std::size_t unchanged = 0;
    std::size_t expiring = 0;
    std::string root;  // its certificate's path
    std::unordered_set<std::string> warnings;
    std::chrono::steady_clock::time_point begin;
    std::chrono::steady_clock::time_point drawn;  // the bar, the last time
    bool has_bar = false;                         // it is on the terminal now
  };

  Environment environment_;
  std::unique_ptr<spdlog::logger> log_;
  Verbosity verbosity_ = Verbosity::normal;
  bool json_ = false;
  Many many_;
};

}  // namespace pki::cli
