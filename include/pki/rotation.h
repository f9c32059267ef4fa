// Replacing a root while clients that have the old one and clients that have the new one keep
// connecting. See Ca::begin_rotation.
//
//   begin   makes a new root, and has it signed by the old one too: the cross-certificate,
//           minica-cross.pem. minica.pem holds the new root, then the old one.
//   renew   moves the leaves over. Their files hold the cross-certificate as well: whoever has the
//           old root alone verifies with it.
//   finish  takes the old root out of minica.pem, once nothing hangs on it any more.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pki/certificate.h"
#include "pki/key.h"

namespace pki {

struct RotationRequest {
  /// Of the new root. Nothing: that of the old one, or P-256 where it is none of KeyType.
  std::optional<KeyType> key_type = {};
  /// Whether to make the cross-certificate. Without it clients need the new minica.pem before the
  /// first leaf is moved over.
  bool cross = true;
};

/// A certificate that is still believed in, and hangs on an old root.
struct Straggler {
  std::string name;  ///< Of its directory; off the disk the subject's common name.
  SerialNumber serial;
  Instant not_after;
  bool is_on_disk;  ///< Otherwise only the ledger knows it.
};

struct Rotation {
  bool is_under_way;
  Certificate root;                       ///< What signs now.
  std::vector<Certificate> predecessors;  ///< What is trusted besides.
  std::optional<Certificate> cross;
  std::vector<Straggler> stragglers;
  /// The old root's certificate and key, while a rotation is under way.
  std::vector<std::filesystem::path> kept;
};

}  // namespace pki
