#include "ring.hpp"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "words.hpp"

namespace headwater::kernel {
namespace {

// The reader's position is told to the kernel after so many bytes, so that a writer does not wait for the end of a long copy.
constexpr std::uint64_t releaseEveryBytes = 131'072;

}  // namespace

std::unique_ptr<Ring> Ring::open(int fd, std::size_t bytes, std::string& failure) {
  const auto pageBytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* consumer = mmap(nullptr, pageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (consumer == MAP_FAILED) {
    failure = "the reader's page cannot be mapped: " + errnoInWords(errno);
    return nullptr;
  }
  // The kernel maps the data twice, one behind the other, so that a record over the end is in one piece.
  void* producer = mmap(nullptr, pageBytes + 2 * bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(pageBytes));
  if (producer == MAP_FAILED) {
    failure = "its data cannot be mapped: " + errnoInWords(errno);
    munmap(consumer, pageBytes);
    return nullptr;
  }
  return std::unique_ptr<Ring>(new Ring(fd, bytes, pageBytes, consumer, producer));
}

Ring::Ring(int fd, std::size_t bytes, std::size_t pageBytes, void* consumer, void* producer)
    : fd_(fd), bytes_(bytes), pageBytes_(pageBytes), consumer_(consumer), producer_(producer) {}

Ring::~Ring() {
  munmap(consumer_, pageBytes_);
  munmap(producer_, pageBytes_ + 2 * bytes_);
}

std::int64_t Ring::drain(std::uint8_t* into, std::size_t capacity) {
  auto* const readTo = static_cast<unsigned long*>(consumer_);
  const auto* const writtenTo = static_cast<const unsigned long*>(producer_);
  const auto* const data = static_cast<const std::uint8_t*>(producer_) + pageBytes_;
  const unsigned long mask = bytes_ - 1;
  // Only this reader moves its position. The writer's is read once, so that a call ends however fast the kernel writes.
  unsigned long at = *readTo;
  unsigned long released = at;
  const unsigned long end = __atomic_load_n(writtenTo, __ATOMIC_ACQUIRE);
  std::size_t written = 0;
  while (at < end) {
    const std::uint8_t* const record = data + (at & mask);
    const std::uint32_t word = __atomic_load_n(reinterpret_cast<const std::uint32_t*>(record), __ATOMIC_ACQUIRE);
    if ((word & BPF_RINGBUF_BUSY_BIT) != 0) break;
    const std::uint32_t length = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    const std::size_t stride = (static_cast<std::size_t>(length) + BPF_RINGBUF_HDR_SZ + 7) & ~std::size_t{7};
    if ((word & BPF_RINGBUF_DISCARD_BIT) == 0) {
      if (stride > capacity - written) {
        if (written == 0 && at == released && stride > capacity) return -static_cast<std::int64_t>(stride);
        break;
      }
      const std::uint64_t prefix = length;
      std::memcpy(into + written, &prefix, recordPrefixBytes);
      std::memcpy(into + written + recordPrefixBytes, record + BPF_RINGBUF_HDR_SZ, stride - recordPrefixBytes);
      written += stride;
    }
    at += stride;
    if (at - released >= releaseEveryBytes) {
      __atomic_store_n(readTo, at, __ATOMIC_RELEASE);
      released = at;
    }
  }
  if (at != released) __atomic_store_n(readTo, at, __ATOMIC_RELEASE);
  return static_cast<std::int64_t>(written);
}

std::uint64_t Ring::waiting() const {
  const unsigned long end = __atomic_load_n(static_cast<const unsigned long*>(producer_), __ATOMIC_ACQUIRE);
  return end - *static_cast<const unsigned long*>(consumer_);
}

}  // namespace headwater::kernel
