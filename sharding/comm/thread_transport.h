#pragma once

#include <memory>

#include "sharding/comm/transport.h"

namespace rondo {

/// The meeting place of ranks that are threads of one process. Any thread.
class ThreadHub {
 public:
  explicit ThreadHub(int world);
  ~ThreadHub();

  /// The transport of one rank; used by one thread. Outlives the hub object: they share the mailboxes.
  std::unique_ptr<Transport> transport(int rank);

 private:
  struct Mailboxes;
  class Endpoint;
  std::shared_ptr<Mailboxes> mailboxes_;  // shared with the endpoints
};

}  // namespace rondo
