#include <cstdio>

int main() {
  std::puts("rondo");
  return 0;
}
