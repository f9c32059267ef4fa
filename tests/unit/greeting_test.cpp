#include "postgres/greeting.h"

#include "support.h"

using namespace pki;
using namespace std::string_literals;

namespace {

std::string message(char type, const std::string& body) {
  const auto length = static_cast<std::uint32_t>(body.size() + 4);
  std::string bytes(1, type);
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes += static_cast<char>(length >> shift);
  return bytes + body;
}

// Zero bytes stand between the fields of messages: these are written with '|'.
std::string zeros(std::string text) {
  std::ranges::replace(text, '|', '\0');
  return text;
}

}  // namespace

TEST_CASE("greeting: the byte that answers an SSLRequest") {
  CHECK(read_greeting('S') == Greeting::tls);
  CHECK(read_greeting('N') == Greeting::no_tls);
  CHECK(read_greeting('E') == Greeting::error);
  for (const char c : "sneGHR2JVv*-\x15\x16\x7f\xff") CHECK(read_greeting(c) == Greeting::other);
}

TEST_CASE("greeting: other protocols are told by how they begin") {
  for (const auto& [bytes, protocol] : std::vector<std::pair<std::string, std::string>>{
           {"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"},
           {"HTTP/1.1 400 Bad Request\r\n", "HTTP"},
           {"220 mail.example ESMTP\r\n", "SMTP or FTP"},
           {"* OK IMAP4rev1 ready\r\n", "IMAP"},
           {"-ERR unknown command\r\n", "Redis"},
           {"\x15\x03\x01\0\x02\x02\x16"s, "TLS from the first byte"},
           {"J\0\0\0\x0a"s + "8.0.32", "MySQL"},
           {"", ""},
           {"S", ""},
           {"SSH", ""},
           {"S\x16\x03\x03", ""},
           {"J\0\0\0"s, ""},
           {"E\0\0\0\x0a"s, ""},
           {message('E', zeros("SFATAL||")), ""},
           {message('R', "\0\0\0\x0a"s), ""},
       }) {
    CAPTURE(bytes);
    CHECK(foreign_protocol(bytes) == protocol);
  }
}

TEST_CASE("greeting: errors and notices") {
  const auto fatal = parse_message(
      message('E', zeros("SFATALE|VFATAL|C28000|Mno pg_hba.conf entry|Fauth.c|L543|Rf||")));
  REQUIRE(fatal.has_value());
  CHECK(fatal->type == 'E');
  CHECK(fatal->severity == "FATAL");
  CHECK(fatal->code == "28000");
  CHECK(fatal->message == "no pg_hba.conf entry");

  const auto notice = parse_message(message('N', zeros("SNOTICE|Mhello||")) + "what follows");
  REQUIRE(notice.has_value());
  CHECK(notice->type == 'N');
  CHECK(notice->severity == "NOTICE");
  CHECK(notice->code.empty());
  CHECK(notice->message == "hello");

  const auto none = parse_message(message('E', zeros("|")));
  REQUIRE(none.has_value());
  CHECK(none->message.empty());
}

TEST_CASE("greeting: an error without a length") {
  for (const std::string& text : {
           "Ecould not fork new process for connection: no memory\n\0"s,
           "Ecould not fork new process for connection: no memory"s,
           "Ecould not fork new process for connection: no memory\n\0SFATAL"s,
       }) {
    const auto error = parse_message(text);
    REQUIRE(error.has_value());
    CHECK(error->message == "could not fork new process for connection: no memory");
    CHECK(error->severity.empty());
  }
}

TEST_CASE("greeting: authentication") {
  for (const auto& [body, code, mechanisms] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"\0\0\0\0"s, "ok", ""},
           {"\0\0\0\x03"s, "password", ""},
           {"\0\0\0\x05salt"s, "md5", ""},
           {"\0\0\0\x07"s, "gss", ""},
           {"\0\0\0\x09"s, "sspi", ""},
           {"\0\0\0\x0a\0"s, "sasl", ""},
           {"\0\0\0\x0aSCRAM-SHA-256\0\0"s, "sasl", "SCRAM-SHA-256"},
           {"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s, "sasl",
            "SCRAM-SHA-256-PLUS SCRAM-SHA-256"},
           {"\0\0\0\x63"s, "99", ""},
           {"\xff\xff\xff\xff", "4294967295", ""},
       }) {
    const auto asked = parse_message(message('R', body));
    REQUIRE(asked.has_value());
    CHECK(asked->type == 'R');
    CHECK(asked->code == code);
    CHECK(asked->message == mechanisms);
  }
  REQUIRE(parse_message(message('v', "\0\3\0\0\0\0\0\0"s)).has_value());
}

TEST_CASE("greeting: a message that is not whole, or none, is refused") {
  const std::string whole = message('E', zeros("SFATAL|C28000|Mno||"));
  REQUIRE(parse_message(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(!parse_message(std::string_view(whole).substr(0, size)).has_value());
  }
  for (const std::string& bytes : {
           message('E', ""),                      // no end of the fields
           message('E', "SFATAL"),                // a field without its end
           message('E', zeros("SFATAL|")),        // fields without their end
           message('E', zeros("SFATAL|M")),       // a field's name alone
           message('R', "\0\0"s),                 // half a number
           message('R', "\0\0\0\x0aSCRAM"s),      // a mechanism without its end
           message('R', "\0\0\0\x0aSCRAM\0"s),    // mechanisms without their end
           message('R', "\0\0\0\x0a"s),           // no mechanisms at all
           message('Z', "I"),                     // too early
           "R\0\0\0\x03"s,                        // shorter than its own length
           "R\x7f\xff\xff\xff"s + zeros("||||"),  // longer than can be
           "R\xff\xff\xff\xff"s + zeros("||||"),
           "HTTP/1.1 400 Bad Request\r\n"s,
       }) {
    CAPTURE(bytes);
    CHECK(!parse_message(bytes).has_value());
  }
}

TEST_CASE("greeting: the size of a message is bounded") {
  CHECK(message_size(message('E', "1234")) == 9);
  CHECK(message_size(message('E', std::string(29'996, 'x'))) == 30'001);
  CHECK(!message_size(message('E', std::string(29'997, 'x'))).has_value());
  CHECK(!message_size("E\0\0\0\x03"s).has_value());
  CHECK(!message_size("E\0\0\0"s).has_value());
}

TEST_CASE("greeting: text is a line of printable ASCII, and no novel") {
  CHECK(one_line("plain \"text\" \\ ~") == "plain \"text\" \\ ~");
  CHECK(one_line("\n a\r\nb\tc \n") == "a  b c");
  CHECK(one_line("\x1b[2J\x9b\xc2\x9b\x7f\0"s) == "?[2J?????");
  CHECK(one_line(std::string(500, 'x')) == std::string(500, 'x'));
  CHECK(one_line(std::string(501, 'x')) == std::string(500, 'x') + "...");
  CHECK(one_line("").empty());
  CHECK(one_line(" \n").empty());
  const auto hostile = parse_message(message('E', zeros("S\x1b]0;x\x07|M\nFAKE: line||")));
  REQUIRE(hostile.has_value());
  CHECK(hostile->severity == "?]0;x?");
  CHECK(hostile->message == "FAKE: line");
}
