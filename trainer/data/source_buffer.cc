#include "trainer/data/source_buffer.h"

#include <cstring>

namespace rondo {

bool SourceBuffer::more() {
  if (at_end_) return false;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (buffer_.size() - end_ < limits_.block_bytes) buffer_.resize(2 * buffer_.size());
  const size_t count = source_.read(std::span(buffer_).subspan(end_, limits_.block_bytes));
  end_ += count;
  at_end_ = count == 0;
  return count > 0;
}

}  // namespace rondo
