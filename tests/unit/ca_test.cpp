#include "pki/ca.h"

#include <unistd.h>

#include "support.h"

using namespace pki;
using namespace std::chrono;
namespace fs = std::filesystem;

namespace {

CaFiles files_in(const fs::path& directory) {
  return {directory / "minica.pem", directory / "minica-key.pem", directory};
}

LeafRequest for_host(const char* name) {
  LeafRequest request;
  request.sans = {DnsName::parse(name)};
  return request;
}

Issued issue(const fs::path& directory, const LeafRequest& request, Instant now = test::now) {
  return Ca(files_in(directory)).issue(request, now);
}

std::size_t count_entries(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("ca: the first run makes a root, a leaf and a ledger; the second changes nothing") {
  const test::TemporaryDirectory home;
  const Issued first = issue(home.path(), for_host("bouncerhost"));
  CHECK(first.status == Issued::Status::issued);
  CHECK(first.root_is_new);
  CHECK(first.warnings.empty());
  CHECK(count_entries(home.path()) == 4);
  CHECK(test::mode_of(home.path() / "minica-key.pem") == 0600);
  CHECK(test::mode_of(home.path() / "minica.pem") == 0644);
  CHECK(test::mode_of(home.path() / "bouncerhost") == 0755);
  CHECK(test::mode_of(first.key_file) == 0600);
  CHECK(test::mode_of(first.certificate_file) == 0644);
  const std::string ledger = test::read_file(home.path() / "minica-index.txt");
  CHECK(std::ranges::count(ledger, '\n') == 2);
  CHECK(test::contains(ledger, first.certificate.serial().text()));

  const Issued second = issue(home.path(), for_host("bouncerhost"), test::now + days{300});
  CHECK(second.status == Issued::Status::unchanged);
  CHECK(!second.root_is_new);
  CHECK(second.certificate.fingerprint() == first.certificate.fingerprint());
  CHECK(test::read_file(home.path() / "minica-index.txt") == ledger);
}

TEST_CASE("ca: several leaves under one Ca, all in the ledger") {
  const test::TemporaryDirectory home;
  Ca ca(files_in(home.path()));
  for (const char* name : {"a", "b", "c"}) {
    CHECK(ca.issue(for_host(name), test::now).root_is_new == (std::string_view(name) == "a"));
  }
  CHECK(std::ranges::count(test::read_file(home.path() / "minica-index.txt"), '\n') == 4);
}

TEST_CASE("ca: default lifetimes, and dates a little in the past") {
  const test::TemporaryDirectory home;
  const Issued leaf = issue(home.path(), for_host("a"));
  const Validity validity = leaf.certificate.validity();
  CHECK(validity.not_before == test::now - minutes{5});
  CHECK(validity.not_after == sys_days{2028y / 12 / 24} + hours{12} - minutes{5} - seconds{1});
  LeafRequest request = for_host("b");
  request.lifetime = days{90};
  CHECK(issue(home.path(), request).certificate.validity().length() == days{90});
}

TEST_CASE("ca: an expiring leaf is said so, within 30 days or a third of its lifetime") {
  struct Row {
    int lifetime;
    int age;
    Issued::Status status;
  };
  const Row rows[] = {{760, 729, Issued::Status::unchanged}, {760, 731, Issued::Status::expiring},
                      {760, 761, Issued::Status::expiring},  {9, 0, Issued::Status::unchanged},
                      {9, 5, Issued::Status::unchanged},     {9, 7, Issued::Status::expiring}};
  for (const Row& row : rows) {
    CAPTURE(row.lifetime);
    CAPTURE(row.age);
    const test::TemporaryDirectory home;
    LeafRequest request = for_host("a");
    request.lifetime = days{row.lifetime};
    (void)issue(home.path(), request);
    CHECK(issue(home.path(), request, test::now + days{row.age}).status == row.status);
  }
}

TEST_CASE("ca: a leaf that differs from the request is named and left alone") {
  const test::TemporaryDirectory home;
  LeafRequest request = for_host("a.test");
  request.lifetime = days{90};
  const Issued made = issue(home.path(), request);
  const std::string before = test::read_file(made.certificate_file);

  const auto refusal = [&](const LeafRequest& other) {
    return test::error_of([&] { (void)issue(home.path(), other); });
  };
  LeafRequest names = request;
  names.sans.emplace_back(IpAddress::parse("::1"));
  CHECK(test::contains(refusal(names), "names a.test there, a.test,::1 asked for"));
  LeafRequest key = request;
  key.key_type = KeyType::rsa2048;
  CHECK(test::contains(refusal(key), "key type p256 there, rsa2048 asked for"));
  LeafRequest lifetime = request;
  lifetime.lifetime = days{91};
  CHECK(test::contains(refusal(lifetime), "lifetime 90 days there, 91 days asked for"));
  LeafRequest usage = request;
  usage.profile = profiles::peer;
  CHECK(test::contains(refusal(usage), "usage server there, server and client asked for"));
  CHECK(test::read_file(made.certificate_file) == before);

  // What was not asked for does not differ.
  LeafRequest open = for_host("A.TEST");
  fs::rename(home.path() / "a.test", home.path() / "A.TEST");
  CHECK(issue(home.path(), open).status == Issued::Status::unchanged);
}

TEST_CASE("ca: another root's leaf, or a key that does not match, is not taken for ours") {
  const test::TemporaryDirectory home;
  const test::TemporaryDirectory other;
  (void)issue(home.path(), for_host("a"));
  (void)issue(other.path(), for_host("a"));
  fs::remove_all(home.path() / "a");
  fs::copy(other.path() / "a", home.path() / "a");
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), for_host("a")); }),
                       "not signed by this root"));
  const Issued b = issue(home.path(), for_host("b"));
  fs::copy_file(other.path() / "a" / "key.pem", b.key_file, fs::copy_options::overwrite_existing);
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), for_host("b")); }),
                       "does not match"));
}

TEST_CASE("ca: without its root a leaf that is there is refused, and no root is made") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  fs::remove(home.path() / "minica.pem");
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), for_host("a")); }),
                       "minica.pem is missing"));
  fs::remove(home.path() / "minica-key.pem");
  CHECK(
      test::contains(test::error_of([&] { (void)issue(home.path(), for_host("a")); }), "its root"));
  CHECK(!fs::exists(home.path() / "minica.pem"));
}

TEST_CASE(
    "ca: a leaf goes into a directory that provisioning made, and leaves the rest of it alone") {
  const test::TemporaryDirectory home;
  fs::create_directory(home.path() / "a");
  fs::permissions(home.path() / "a", fs::perms(0750));
  test::write_file(home.path() / "a" / "dh.pem", "mine");
  const Issued made = issue(home.path(), for_host("a"));
  CHECK(test::mode_of(home.path() / "a") == 0750);
  CHECK(test::mode_of(made.key_file) == 0600);
  CHECK(test::read_file(home.path() / "a" / "dh.pem") == "mine");
  CHECK(count_entries(home.path() / "a") == 3);
  CHECK(issue(home.path(), for_host("a")).status == Issued::Status::unchanged);
}

// What a run that was killed between two renames leaves behind.
TEST_CASE("ca: an interrupted publication is finished when it matches, and else refused") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  const fs::path key = home.path() / "minica-key.pem";
  const fs::path pending = home.path() / ".minica-key.pem.new";
  const std::string root = test::read_file(home.path() / "minica.pem");

  fs::rename(key, pending);
  CHECK(issue(home.path(), for_host("b")).status == Issued::Status::issued);
  CHECK(fs::exists(key));
  CHECK(!fs::exists(pending));

  fs::rename(home.path() / "minica.pem", home.path() / ".minica.pem.new");
  CHECK(issue(home.path(), for_host("b")).status == Issued::Status::unchanged);
  CHECK(test::read_file(home.path() / "minica.pem") == root);

  fs::remove(key);
  fs::copy_file(home.path() / "a" / "key.pem", pending);  // not the root's
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), for_host("b")); }),
                       "minica-key.pem is missing"));
  CHECK(fs::exists(pending));
}

TEST_CASE("ca: pending files that belong to nothing are cleared") {
  const test::TemporaryDirectory home;
  test::write_file(home.path() / ".minica.pem.new", "half");
  test::write_file(home.path() / ".minica-key.pem.new", "half");
  (void)issue(home.path(), for_host("a"));
  CHECK(count_entries(home.path()) == 4);
}

TEST_CASE("ca: a leaf ends with its root, and an expired or future root signs nothing") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  const Instant end = sys_days{2126y / 11 / 24} + hours{12} - minutes{5} - seconds{1};
  const Issued late = issue(home.path(), for_host("b"), end - days{100});
  CHECK(late.certificate.validity().not_after == end);
  CHECK(late.warnings.size() == 1);
  CHECK(test::contains(
      test::error_of([&] { (void)issue(home.path(), for_host("c"), end + seconds{1}); }),
      "expired"));
  CHECK(test::contains(
      test::error_of([&] { (void)issue(home.path(), for_host("c"), test::now - days{1}); }),
      "not valid before"));
  CHECK(!fs::exists(home.path() / "c"));
}

TEST_CASE("ca: two roots share a directory, each with its own ledger") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  const CaFiles second{home.path() / "db.pem", home.path() / "db-key.pem", home.path()};
  (void)Ca(second).issue(for_host("b"), test::now);
  CHECK(fs::exists(home.path() / "db-index.txt"));
  const CaFiles clash{home.path() / "x.pem", home.path() / "x-index.txt", home.path()};
  CHECK_THROWS_AS(Ca{clash}, Error);
}

TEST_CASE("ca: a new root has the type that is asked for") {
  const test::TemporaryDirectory home;
  (void)Ca(files_in(home.path()), KeyType::p384).issue(for_host("a"), test::now);
  const Certificate root = Certificate::from_pem(test::read_file(home.path() / "minica.pem"));
  CHECK(root.public_key().type() == KeyType::p384);
}

TEST_CASE("ca: a database user's certificate has the role as its only name") {
  const test::TemporaryDirectory home;
  LeafRequest request;
  request.role = RoleName::parse("app.user_1");
  request.profile = profiles::client;
  const Issued made = issue(home.path(), request);
  CHECK(made.directory == home.path() / "app.user_1");
  CHECK(made.certificate.common_name() == "app.user_1");
  CHECK(made.certificate.sans().empty());
  CHECK(made.certificate.allows_client_auth());
  CHECK(!made.certificate.allows_server_auth());
  CHECK(issue(home.path(), request).status == Issued::Status::unchanged);
  LeafRequest host = for_host("app.user");
  host.role = request.role;
  CHECK_THROWS_AS((void)issue(home.path(), host), Error);
  CHECK_THROWS_AS((void)issue(home.path(), LeafRequest{}), Error);
}

TEST_CASE("ca: a role and a host of the same name do not pass for each other") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("alice"));
  LeafRequest request;
  request.role = RoleName::parse("alice");
  request.profile = profiles::client;
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), request); }),
                       "usage server there, client asked for"));
}

TEST_CASE("ca: a group may read the key if no user but root owns it") {
  const test::TemporaryDirectory home;
  LeafRequest request = for_host("a");
  request.owner.group = ::getegid();
  const Issued shared = issue(home.path(), request);
  CHECK(test::mode_of(shared.key_file) == 0640);
  CHECK(issue(home.path(), request).status == Issued::Status::unchanged);
  LeafRequest alone = for_host("b");
  alone.owner.user = ::geteuid();
  CHECK(test::mode_of(issue(home.path(), alone).key_file) == 0600);
  fs::permissions(shared.key_file, fs::perms(0600));
  CHECK(test::contains(test::error_of([&] { (void)issue(home.path(), request); }),
                       "mode 0600, not 0640"));
}

namespace {

// What a Batch told.
struct Told {
  std::vector<std::size_t> order;
  std::vector<Issued> leaves;
  std::vector<std::pair<std::size_t, std::string>> refusals;
  bool is_done = false;

  [[nodiscard]] long count(Issued::Status status) const {
    return std::ranges::count(leaves, status, &Issued::status);
  }
};

Told issue_many(const fs::path& directory, const std::vector<LeafRequest>& requests,
                std::size_t jobs, Instant now = test::now) {
  Told told;
  Ca ca(files_in(directory));
  told.is_done = ca.issue(
      {.size = requests.size(),
       .request = [&](std::size_t number) { return requests[number]; },
       .refused = [&](std::size_t number,
                      const Error& why) { told.refusals.emplace_back(number, why.what()); },
       .done =
           [&](std::size_t number, const Issued& leaf) {
             CHECK(fs::exists(leaf.key_file));
             told.order.push_back(number);
             told.leaves.push_back(leaf);
           },
       .jobs = jobs},
      now);
  return told;
}

std::vector<LeafRequest> hosts(std::size_t count) {
  std::vector<LeafRequest> requests;
  for (std::size_t i = 0; i < count; ++i) {
    requests.push_back(for_host(("host" + std::to_string(i)).c_str()));
  }
  return requests;
}

}  // namespace

TEST_CASE("ca: many leaves, in several groups, by one thread and by several") {
  for (const std::size_t jobs : {1U, 2U, 5U}) {
    CAPTURE(jobs);
    const test::TemporaryDirectory home;
    const std::vector<LeafRequest> requests = hosts(50);
    const Told first = issue_many(home.path(), requests, jobs);
    CHECK(first.is_done);
    CHECK(first.count(Issued::Status::issued) == 50);
    CHECK(std::ranges::is_sorted(first.order));
    CHECK(count_entries(home.path()) == 53);
    const std::string ledger = test::read_file(home.path() / "minica-index.txt");
    CHECK(std::ranges::count(ledger, '\n') == 51);
    const Certificate root = Certificate::from_pem(test::read_file(home.path() / "minica.pem"));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Issued& leaf = first.leaves[i];
      CHECK(leaf.root_is_new);
      CHECK(leaf.certificate.sans() == requests[i].sans);
      CHECK(leaf.certificate.is_signed_by(root));
      CHECK(test::contains(ledger, leaf.certificate.serial().text()));
      CHECK(test::mode_of(leaf.key_file) == 0600);
      const Key key = Key::from_pem(test::read_file(leaf.key_file));
      CHECK(key.public_key() == leaf.certificate.public_key());
    }

    // Applied again, with a gap and an addition.
    fs::remove_all(home.path() / "host7");
    std::vector<LeafRequest> more = requests;
    more.push_back(for_host("another"));
    const Told second = issue_many(home.path(), more, jobs);
    CHECK(second.count(Issued::Status::unchanged) == 49);
    CHECK(second.count(Issued::Status::issued) == 2);
    CHECK(!second.leaves.back().root_is_new);
    CHECK(second.order[49] == 7);  // what is there is told first
    CHECK(second.order[50] == 50);
    const Told late = issue_many(home.path(), more, jobs, test::now + days{740});
    CHECK(late.count(Issued::Status::expiring) == 51);
  }
}

TEST_CASE("ca: of many none is made if one is refused, and all that are refused are told") {
  const test::TemporaryDirectory home;
  LeafRequest taken = for_host("host3");
  taken.lifetime = days{90};
  (void)issue(home.path(), taken);
  std::vector<LeafRequest> requests = hosts(20);
  for (LeafRequest& request : requests) request.lifetime = days{91};
  requests[11] = for_host("minica.pem");
  requests[15] = {};
  const Told told = issue_many(home.path(), requests, 2);
  CHECK(!told.is_done);
  CHECK(told.leaves.empty());
  REQUIRE(told.refusals.size() == 3);
  CHECK(told.refusals[0].first == 3);
  CHECK(test::contains(told.refusals[0].second, "lifetime 90 days there, 91 days asked for"));
  CHECK(told.refusals[1].first == 11);
  CHECK(told.refusals[2].first == 15);
  CHECK(count_entries(home.path()) == 4);
}

TEST_CASE("ca: many, some into directories that are there already") {
  const test::TemporaryDirectory home;
  std::vector<LeafRequest> requests = hosts(130);
  for (std::size_t i = 0; i < requests.size(); i += 2) {
    const fs::path directory = home.path() / ("host" + std::to_string(i));
    fs::create_directory(directory);
    fs::permissions(directory, fs::perms(0750));
    test::write_file(directory / "dh.pem", "mine");
  }
  const Told told = issue_many(home.path(), requests, 2);
  CHECK(told.count(Issued::Status::issued) == 130);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const fs::path directory = home.path() / ("host" + std::to_string(i));
    CHECK(test::mode_of(directory) == (i % 2 == 0 ? 0750U : 0755U));
    CHECK(count_entries(directory) == (i % 2 == 0 ? 3U : 2U));
  }
  CHECK(issue_many(home.path(), requests, 2).count(Issued::Status::unchanged) == 130);
}

TEST_CASE("ca: a failure leaves what was published, and nothing staged; the next run goes on") {
  const test::TemporaryDirectory home;
  const std::vector<LeafRequest> requests = hosts(60);
  const fs::path taken = home.path() / "host59";
  std::size_t done = 0;
  {
    Ca ca(files_in(home.path()));
    // Something else takes the last one's name when it has been looked at.
    CHECK_THROWS_AS((void)ca.issue({.size = requests.size(),
                                    .request = [&](std::size_t i) { return requests[i]; },
                                    .refused = [](std::size_t, const Error&) { FAIL("refused"); },
                                    .done =
                                        [&](std::size_t, const Issued&) {
                                          if (done++ == 0) test::write_file(taken, "not ours");
                                        },
                                    .jobs = 2},
                                   test::now),
                    Error);
  }
  CHECK(done > 0);
  CHECK(done < 60);
  CHECK(!fs::exists(home.path() / ".pki.new"));
  CHECK(count_entries(home.path()) >= done + 4);
  CHECK(test::read_file(taken) == "not ours");
  fs::remove(taken);
  const Told told = issue_many(home.path(), requests, 2);
  CHECK(told.count(Issued::Status::issued) + told.count(Issued::Status::unchanged) == 60);
  CHECK(told.count(Issued::Status::unchanged) >= static_cast<long>(done));
}

TEST_CASE("ca: what a killed run staged of many is cleared") {
  const test::TemporaryDirectory home;
  (void)issue(home.path(), for_host("a"));
  fs::create_directory(home.path() / ".pki.new");
  fs::create_directory(home.path() / ".pki.new" / "b");
  test::write_file(home.path() / ".pki.new" / "b" / "cert.pem", "half");
  fs::create_directory(home.path() / ".pki.new" / "c");
  (void)issue(home.path(), for_host("b"));
  CHECK(count_entries(home.path()) == 5);
}
