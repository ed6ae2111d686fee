#include "trainer/storage/digest.h"

#include <openssl/evp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "sharding/base/check.h"

namespace rondo {
namespace {

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

struct Sha256::Impl {
  std::unique_ptr<EVP_MD_CTX, ContextDeleter> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  RONDO_CHECK(impl_->context != nullptr && EVP_DigestInit_ex(impl_->context.get(), EVP_sha256(), nullptr) == 1,
              "OpenSSL has no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  RONDO_CHECK_EQ(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()), 1);
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  RONDO_CHECK_EQ(EVP_DigestFinal_ex(impl_->context.get(), digest, &size), 1);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    out += kDigits[digest[i] >> 4];
    out += kDigits[digest[i] & 15];
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 sha;
  sha.update(bytes);
  return sha.hex();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw StorageError(concat("cannot read ", path.string(), ": ", std::strerror(errno)));
  Sha256 sha;
  std::vector<char> block(1 << 20);
  while (const size_t count = std::fread(block.data(), 1, block.size(), file.get())) sha.update({block.data(), count});
  if (std::ferror(file.get()) != 0)
    throw StorageError(concat("cannot read ", path.string(), ": ", std::strerror(errno)));
  return sha.hex();
}

}  // namespace rondo
