#include "support.h"

// A name from a hostile file or argument must never reach a terminal raw.
TEST_CASE("quote: control bytes, quotes and non-ASCII are escaped") {
  CHECK(pki::quote("bouncerhost") == "\"bouncerhost\"");
  CHECK(pki::quote("") == "\"\"");
  CHECK(pki::quote("a\nb\r\t\x1b[2J\x7f") == R"("a\nb\r\t\x1b[2J\x7f")");
  CHECK(pki::quote("m\xc3\xbcnchen") == R"("m\xc3\xbcnchen")");
  CHECK(pki::quote(R"(say "hi" \ bye)") == R"("say \"hi\" \\ bye")");
  CHECK(pki::quote(std::string("a\0b", 3)) == R"("a\x00b")");
}

TEST_CASE("quote: a long value is cut short") {
  const std::string text = pki::quote(std::string(100'000, 'a'));
  CHECK(text.size() < 300);
  CHECK(text.ends_with("...\""));
}
