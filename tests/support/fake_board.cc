#include "tests/support/fake_board.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sharding/base/check.h"

namespace rondo::testing {
namespace {

/// A note in the file: this, then key, text, agreement and data.
struct NoteHeader {
  FakeNote::Kind kind;
  int32_t device, rank, value, source, target;
  int64_t number;
  uint64_t key_bytes, text_bytes, agreement_bytes, data_bytes;
};

int64_t size_of(int file) {
  struct stat state{};
  RONDO_CHECK_EQ(::fstat(file, &state), 0, "board of the doubles");
  return state.st_size;
}

void append(std::vector<std::byte>& to, const void* from, size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(from);
  to.insert(to.end(), begin, begin + bytes);
}

}  // namespace

FakeBoard::FakeBoard(const std::string& path, int device)
    : file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)), device_(device) {
  RONDO_CHECK(file_ >= 0, "cannot open the board of the doubles ", path);
}

FakeBoard::~FakeBoard() { ::close(file_); }

void FakeBoard::enter(const std::function<void(const FakeNote&)>& read) {
  while (::flock(file_, LOCK_EX) != 0) RONDO_CHECK_EQ(errno, EINTR, "board of the doubles");
  const int64_t end = size_of(file_);
  while (position_ < end) {
    const FakeNote note = read_note();
    if (note.device != device_) read(note);
  }
}

void FakeBoard::leave() { ::flock(file_, LOCK_UN); }

void FakeBoard::write(FakeNote note) {
  const NoteHeader header{note.kind,       device_,     note.rank,       note.value,       note.source,
                          note.target,     note.number, note.key.size(), note.text.size(), note.agreement.size(),
                          note.data.size()};
  std::vector<std::byte> bytes;
  append(bytes, &header, sizeof(header));
  append(bytes, note.key.data(), note.key.size());
  append(bytes, note.text.data(), note.text.size());
  append(bytes, note.agreement.data(), note.agreement.size());
  append(bytes, note.data.data(), note.data.size());
  const int64_t end = size_of(file_);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote = ::pwrite(file_, bytes.data() + done, bytes.size() - done, end + static_cast<int64_t>(done));
    RONDO_CHECK_GT(wrote, 0, "board of the doubles");
    done += static_cast<size_t>(wrote);
  }
  if (position_ == end) position_ += static_cast<int64_t>(bytes.size());  // in the midst of reading, it is further on
}

bool FakeBoard::has_news() const { return size_of(file_) > position_; }

void FakeBoard::read_bytes(void* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(file_, static_cast<std::byte*>(to) + done, bytes - done, position_);
    RONDO_CHECK_GT(got, 0, "board of the doubles");
    done += static_cast<size_t>(got);
    position_ += got;
  }
}

FakeNote FakeBoard::read_note() {
  NoteHeader header{};
  read_bytes(&header, sizeof(header));
  FakeNote note{header.kind,
                header.device,
                header.rank,
                header.value,
                header.source,
                header.target,
                header.number,
                std::string(header.key_bytes, 0),
                std::string(header.text_bytes, 0),
                std::string(header.agreement_bytes, 0),
                std::vector<std::byte>(header.data_bytes)};
  read_bytes(note.key.data(), note.key.size());
  read_bytes(note.text.data(), note.text.size());
  read_bytes(note.agreement.data(), note.agreement.size());
  read_bytes(note.data.data(), note.data.size());
  return note;
}

}  // namespace rondo::testing
