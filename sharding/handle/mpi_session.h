#pragma once

#include <memory>
#include <vector>

namespace rondo {

/// The MPI library of this process, from its initialisation to its end. One object a process; the main thread makes,
/// finalises and destroys it.
///
/// Only `finalize` ends it in peace, and it waits for all ranks; on an error path call `abort`, or a rank that is
/// blocked elsewhere would hold everybody.
class MpiSession {
 public:
  /// Starts MPI. Works alone, too: a process without mpirun is a world of one.
  /// Throws ConfigError if the library does not grant MPI_THREAD_MULTIPLE (the watchdog aborts from its own thread).
  MpiSession();

  /// REQUIRES: finalised. Aborts the job with code 70 if it is not.
  ~MpiSession();

  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Rank among, and number of, the processes of this node.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }

  /// Orderly end: returns once every rank has called it. No communicator may be alive.
  void finalize();

  /// Ends all ranks at once; `code` becomes the status of mpirun and srun. Any thread, also while another one is stuck
  /// in MPI.
  [[noreturn]] void abort(int code) noexcept;

  /// Keeps memory that a transfer without an end may still touch, until MPI has ended.
  void keep(std::shared_ptr<void> memory) { kept_.push_back(std::move(memory)); }

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  bool finalized_ = false;
  std::vector<std::shared_ptr<void>> kept_;  // shared with nobody who lives: the last owner of each
};

}  // namespace rondo
